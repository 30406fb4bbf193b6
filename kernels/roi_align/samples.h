// The samples of a RoI along one axis: the arithmetic of roi_align.h on every device.
//
// The weight of a cell is separable, a product of one weight per axis, and what is here concerns
// one axis: how bins lie, which of their samples are inside the map, and between which cells.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "common/host_device.h"
#include "common/rois.h"
#include "roi_align/roi_align.h"

namespace edgecv {

// One axis of a RoI, in cells.
struct RoiSide {
  float start, end;

  EDGECV_HOST_DEVICE bool IsNear() const {
    return std::fabs(start) < kFarCells && std::fabs(end) < kFarCells;
  }
};

// From `start` and `end` in pixels.
EDGECV_HOST_DEVICE RoiSide SideOf(float start, float end, float spatial_scale, bool aligned) {
  const float offset = aligned ? 0.5f : 0.0f;
  return {start * spatial_scale - offset, end * spatial_scale - offset};
}

struct SampleRange {
  std::uint32_t begin, end;
};

// The samples of one bin along one axis. Their positions rise or fall with their index, never both,
// also after rounding.
struct Samples {
  float start, bin_size;
  std::uint32_t count;

  EDGECV_HOST_DEVICE bool Rise() const { return bin_size >= 0.0f; }

  EDGECV_HOST_DEVICE float at(std::uint32_t i) const {
    return start + (static_cast<float>(i) + 0.5f) * bin_size / static_cast<float>(count);
  }

  // The first sample from `begin` on that fails `holds`, which no later one passes.
  template <typename Holds>
  EDGECV_HOST_DEVICE std::uint32_t Until(std::uint32_t begin, Holds holds) const {
    std::uint32_t end = count;
    while (begin < end) {
      const std::uint32_t middle = begin + (end - begin) / 2;
      if (holds(at(middle))) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  }

  // Calls `visit(position, times)` for the samples of `range`. Far from the origin many samples
  // round to one position; they are counted, not visited.
  template <typename Visit>
  EDGECV_HOST_DEVICE void ForEach(SampleRange range, Visit visit) const {
    for (std::uint32_t i = range.begin; i < range.end;) {
      const float position = at(i);
      const std::uint32_t next = i + 1 < range.end && at(i + 1) == position
                                     ? Until(i, [&](float p) { return p == position; })
                                     : i + 1;
      visit(position, static_cast<float>(next - i));
      i = next;
    }
  }
};

// The samples that are inside a map of `num_cells`.
EDGECV_HOST_DEVICE SampleRange InsideOf(const Samples& samples, std::uint32_t num_cells) {
  const bool rises = samples.Rise();
  const float extent = static_cast<float>(num_cells);
  const std::uint32_t begin =
      samples.Until(0, [&](float p) { return rises ? p < -1.0f : p > extent; });
  const std::uint32_t end =
      samples.Until(begin, [&](float p) { return rises ? p <= extent : p >= -1.0f; });
  return {begin, end};
}

// What one sample that is inside gives the cells `low` and, unless that is the last, `low + 1`.
struct Shares {
  std::uint32_t low;
  float of_low, of_next;
};

EDGECV_HOST_DEVICE Shares SharesOf(float position, std::uint32_t num_cells) {
  const float inside = position < 0.0f ? 0.0f : position;
  const std::uint32_t low = static_cast<std::uint32_t>(inside);
  if (low + 1 >= num_cells) return {num_cells - 1, 1.0f, 0.0f};
  const float share = inside - static_cast<float>(low);
  return {low, 1.0f - share, share};
}

// Adds to a cell of `list`, the cells of one bin. Only the last two are looked at: samples move on,
// and a cell that is listed twice is folded twice to the same sum.
template <typename List>
EDGECV_HOST_DEVICE void AddWeight(std::uint32_t cell, float weight, List& list) {
  if (weight == 0.0f) return;
  for (std::size_t back = 1; back <= 2 && back <= list.size(); ++back) {
    if (list.cell(list.size() - back) == cell) {
      list.weight(list.size() - back) += weight;
      return;
    }
  }
  list.push(cell, weight);
}

// Appends the cells of a bin to `list`, which is empty, with their weights.
template <typename List>
EDGECV_HOST_DEVICE void ListCells(const Samples& samples, std::uint32_t num_cells, List& list) {
  samples.ForEach(InsideOf(samples, num_cells), [&](float position, float times) {
    const Shares shares = SharesOf(position, num_cells);
    AddWeight(shares.low, times * shares.of_low, list);
    AddWeight(shares.low + 1, times * shares.of_next, list);
  });
  for (std::size_t k = 0; k < list.size(); ++k)
    list.weight(k) /= static_cast<float>(samples.count);
}

// The cells that the samples of `inside` are between, at least.
EDGECV_HOST_DEVICE CellRange HullOf(const Samples& samples, SampleRange inside,
                                    std::uint32_t num_cells) {
  if (inside.begin >= inside.end) return {0, 0};
  const std::uint32_t first = SharesOf(samples.at(inside.begin), num_cells).low;
  const std::uint32_t last = SharesOf(samples.at(inside.end - 1), num_cells).low;
  const std::uint32_t low = first < last ? first : last, high = first < last ? last : first;
  return {low, high + 1 < num_cells ? high + 2 : num_cells};
}

// The weight that the samples of `inside` give one cell, as `ListCells` lists it: by bisection.
EDGECV_HOST_DEVICE float WeightOfCell(const Samples& samples, SampleRange inside,
                                      std::uint32_t num_cells, std::uint32_t cell) {
  const bool rises = samples.Rise();
  const auto low = [&](float p) { return SharesOf(p, num_cells).low; };
  const std::uint32_t begin = samples.Until(
      inside.begin, [&](float p) { return rises ? low(p) + 1 < cell : low(p) > cell; });
  const std::uint32_t end = samples.Until(
      begin, [&](float p) { return rises ? low(p) <= cell : low(p) + 1 >= cell; });
  float weight = 0.0f;
  samples.ForEach({begin, end < inside.end ? end : inside.end}, [&](float position, float times) {
    const Shares shares = SharesOf(position, num_cells);
    weight += times * (shares.low == cell ? shares.of_low : shares.of_next);
  });
  return weight / static_cast<float>(samples.count);
}

// The bins of a RoI along one axis of a map.
struct SampledAxis {
  float start, bin_size;
  std::uint32_t count;  // samples of a bin
  std::uint32_t num_cells;

  EDGECV_HOST_DEVICE Samples Bin(std::uint32_t bin) const {
    return {start + static_cast<float>(bin) * bin_size, bin_size, count};
  }
};

EDGECV_HOST_DEVICE SampledAxis AxisOf(RoiSide side, std::uint32_t num_cells,
                                      std::uint32_t num_bins, const RoiAlignOptions& options) {
  float size = side.end - side.start;
  if (!options.aligned && size < 1.0f) size = 1.0f;
  const float bin_size = size / static_cast<float>(num_bins);
  const std::uint32_t adaptive =
      bin_size > 0.0f ? static_cast<std::uint32_t>(std::ceil(bin_size)) : 0;
  const std::uint32_t fixed = static_cast<std::uint32_t>(options.sampling_ratio);
  return {side.start, bin_size, fixed > 0 ? fixed : adaptive, num_cells};
}

}  // namespace edgecv
