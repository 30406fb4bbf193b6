// CPU implementation of paste_masks.h, from the runs of common/mask_runs.h: pixels are only touched
// to be filled, and not at all for run lengths, whose lines are the columns.

#include "paste_masks/paste_masks.h"

#include <atomic>
#include <cstring>
#include <new>

#include "common/mask_runs.h"
#include "common/parallel.h"
#include "paste_masks/rle.h"

namespace edgecv {
namespace {

constexpr std::size_t kMasksPerThread = 4;
// Calls `paste(index, mask)` for every mask, in parallel, with a buffer per thread.
template <typename Paste>
void ForEachMask(const InstanceMasks& masks, Paste paste) {
  std::atomic<bool> is_out_of_memory{false};
  ParallelFor(masks.count, kMasksPerThread, [&](std::size_t begin, std::size_t end) {
    try {
      BorderedMask mask(masks.side);
      for (std::size_t i = begin; i < end; ++i) paste(i, mask);
    } catch (const std::bad_alloc&) {
      is_out_of_memory = true;
    }
  });
  if (is_out_of_memory) throw std::bad_alloc();
}

}  // namespace

void PasteMasksCpu(const InstanceMasks& masks, std::size_t height, std::size_t width,
                   float threshold, bool is_zero, std::uint8_t* out) {
  const std::size_t num_pixels = height * width;
  if (!is_zero) {
    // All planes of a thread at once: memset fills large blocks without reading them first.
    ParallelFor(masks.count, 1, [&](std::size_t begin, std::size_t end) {
      std::memset(out + begin * num_pixels, 0, (end - begin) * num_pixels);
    });
  }
  ForEachMask(masks, [&](std::size_t index, BorderedMask& mask) {
    std::uint8_t* pixels = out + index * num_pixels;
    const Placed placed = PlaceMask(masks, index, height, width);
    if (placed.IsEmpty()) return;
    mask.Load(masks.probabilities + index * masks.side * masks.side, false);
    mask.ForEachRun(placed.rows, placed.columns, static_cast<std::int64_t>(width), threshold,
                    [&](std::int64_t begin, std::int64_t end) {
                      std::memset(pixels + begin, 1, static_cast<std::size_t>(end - begin));
                    });
  });
}

std::vector<std::string> PasteMasksRleCpu(const InstanceMasks& masks, std::size_t height,
                                          std::size_t width, float threshold) {
  std::vector<std::string> counts(masks.count);
  ForEachMask(masks, [&](std::size_t index, BorderedMask& mask) {
    RleWriter writer;
    const Placed placed = PlaceMask(masks, index, height, width);
    if (!placed.IsEmpty()) {
      mask.Load(masks.probabilities + index * masks.side * masks.side, true);
      mask.ForEachRun(placed.columns, placed.rows, static_cast<std::int64_t>(height), threshold,
                      [&](std::int64_t begin, std::int64_t end) { writer.Add(begin, end); });
    }
    counts[index] = writer.Finish(static_cast<std::int64_t>(height * width));
  });
  return counts;
}

}  // namespace edgecv
