// CPU implementation of draw_masks.h, from the runs of common/mask_runs.h. In a full plane a run is
// blended in 16 bits with a row of its colour. In subsampled planes the pixels of two rows that lie
// under each sample are counted first; the samples between the outermost are then blended, those of
// which nothing is covered with a weight of 0, which leaves them as they are.

#include "draw_masks/draw_masks.h"

#include <algorithm>
#include <vector>

#include "common/simd.h"

namespace edgecv {
namespace {

// x -> (x * keep + paint) / 256, where `paint` repeats the channels of the colour.
EDGECV_INLINE void BlendRun(std::uint8_t* __restrict__ samples,
                            const std::uint16_t* __restrict__ paint, std::size_t count,
                            std::uint16_t keep) {
  for (std::size_t i = 0; i < count; ++i) {
    samples[i] = static_cast<std::uint8_t>(
        static_cast<std::uint16_t>(samples[i] * keep + paint[i]) >> 8);
  }
}

// Samples [first, end) of 1 << shift pixels, of which `covered` are covered.
template <std::size_t kChannels>
EDGECV_INLINE void BlendCovered(std::uint8_t* __restrict__ samples,
                                const std::uint8_t* __restrict__ covered, std::size_t first,
                                std::size_t end, std::uint32_t shift, std::uint32_t alpha,
                                const std::uint8_t* __restrict__ colour) {
  const std::uint32_t whole = 256U << shift;
  for (std::size_t x = first; x < end; ++x) {
    const std::uint32_t paint = alpha * covered[x];
    for (std::size_t c = 0; c < kChannels; ++c) {
      std::uint8_t& sample = samples[kChannels * x + c];
      sample = static_cast<std::uint8_t>(
          (sample * (whole - paint) + colour[c] * paint + whole / 2) >> (8 + shift));
    }
  }
}

// counts[x / 2] += 1 for x in [begin, end).
EDGECV_INLINE void CountPixels(std::uint8_t* counts, std::size_t begin, std::size_t end) {
  if (begin % 2 != 0 && begin < end) ++counts[begin++ / 2];
  if (end % 2 != 0 && begin < end) ++counts[--end / 2];
  for (std::size_t x = begin / 2; x < end / 2; ++x)
    counts[x] = static_cast<std::uint8_t>(counts[x] + 2);
}

// Blends what is covered of the half planes, two rows of pixels at a time.
class HalfPlanes {
 public:
  HalfPlanes(const Canvas& canvas, std::uint32_t alpha)
      : canvas_(canvas), alpha_(alpha), counts_(static_cast<std::size_t>(canvas.width + 1) / 2) {}

  // The runs of one mask come in order.
  void Add(std::ptrdiff_t y, std::size_t begin, std::size_t end, const std::uint8_t* colour) {
    if (y / 2 != row_) {
      Finish(colour);
      row_ = y / 2;
    }
    first_ = std::min(first_, begin / 2);
    end_ = std::max(end_, (end + 1) / 2);
    Dispatch<CountPixels>(counts_.data(), begin, end);
  }

  void Finish(const std::uint8_t* colour) {
    if (first_ < end_) {
      for (std::size_t p = 1; p < canvas_.num_planes; ++p) {
        const CanvasPlane& plane = canvas_.planes[p];
        std::uint8_t* samples = plane.samples + row_ * plane.row_stride;
        if (plane.channels == 2) {
          Blend<2>(samples, colour + p);
        } else {
          Blend<1>(samples, colour + p);
        }
      }
      std::fill(counts_.data() + first_, counts_.data() + end_, std::uint8_t{0});
    }
    first_ = counts_.size();
    end_ = 0;
  }

 private:
  // The last sample of an odd width stands for half as many pixels as the others.
  template <std::size_t kChannels>
  void Blend(std::uint8_t* samples, const std::uint8_t* colour) {
    const std::uint32_t tall = 2 * row_ + 2 <= canvas_.height ? 1 : 0;
    const std::size_t paired = std::min(end_, static_cast<std::size_t>(canvas_.width) / 2);
    Dispatch<BlendCovered<kChannels>>(samples, counts_.data(), first_, paired, 1 + tall, alpha_,
                                      colour);
    Dispatch<BlendCovered<kChannels>>(samples, counts_.data(), std::max(first_, paired), end_,
                                      tall, alpha_, colour);
  }

  const Canvas& canvas_;
  const std::uint32_t alpha_;
  std::vector<std::uint8_t> counts_;
  std::ptrdiff_t row_ = 0;
  std::size_t first_ = counts_.size(), end_ = 0;  // samples with covered pixels in row_
};

}  // namespace

void DrawMasksCpu(const Canvas& canvas, const InstanceMasks& masks, const std::uint8_t* colours,
                  float threshold, std::uint32_t alpha_256) {
  if (masks.count == 0) return;
  const CanvasPlane& full = canvas.planes[0];
  const auto width = static_cast<std::size_t>(canvas.width);
  const auto keep = static_cast<std::uint16_t>(256 - alpha_256);
  BorderedMask mask(masks.side);
  std::vector<std::uint16_t> paint(full.channels * width);
  HalfPlanes halves(canvas, alpha_256);
  for (std::size_t i = masks.count; i-- > 0;) {
    const Placed placed = PlaceMask(masks, i, static_cast<std::size_t>(canvas.height), width);
    if (placed.IsEmpty()) continue;
    const std::uint8_t* colour = colours + kMaxChannels * i;
    const auto reach = static_cast<std::size_t>(placed.columns.last - placed.columns.first);
    for (std::size_t k = 0; k < full.channels * reach; ++k)
      paint[k] = static_cast<std::uint16_t>(colour[k % full.channels] * alpha_256 + 128);
    mask.Load(masks.probabilities + i * masks.side * masks.side, false);
    mask.ForEachRun(placed.rows, placed.columns, static_cast<std::int64_t>(width), threshold,
                    [&](std::int64_t begin, std::int64_t end) {
                      if (begin >= end) return;
                      const std::ptrdiff_t y = begin / canvas.width, x = begin % canvas.width;
                      const auto count = static_cast<std::size_t>(end - begin);
                      Dispatch<BlendRun>(
                          full.samples + y * full.row_stride +
                              static_cast<std::ptrdiff_t>(full.channels) * x,
                          static_cast<const std::uint16_t*>(paint.data()), full.channels * count,
                          keep);
                      if (canvas.num_planes > 1)
                        halves.Add(y, static_cast<std::size_t>(x),
                                   static_cast<std::size_t>(x) + count, colour);
                    });
    if (canvas.num_planes > 1) halves.Finish(colour);
  }
}

}  // namespace edgecv
