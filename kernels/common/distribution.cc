// One box a lane: the sums of every lane are taken bin by bin, so that they round as in one box alone.

#include "common/distribution.h"

#include <algorithm>

#include "common/exp.h"
#include "common/simd.h"

namespace edgecv {
namespace {

constexpr std::size_t kLanes = 16;

// The expected bin of the distributions that begin at `logits`.
EDGECV_INLINE
void ExpectedBins(const float* const* logits, std::size_t bin_stride, std::size_t num_bins,
                  float* __restrict__ expected) {
  float peak[kLanes], sum[kLanes], moment[kLanes], value[kLanes];
  for (std::size_t j = 0; j < kLanes; ++j) peak[j] = logits[j][0], sum[j] = moment[j] = 0.0f;
  for (std::size_t k = 1; k < num_bins; ++k) {
    for (std::size_t j = 0; j < kLanes; ++j)
      peak[j] = std::max(peak[j], logits[j][k * bin_stride]);
  }
  for (std::size_t k = 0; k < num_bins; ++k) {
    for (std::size_t j = 0; j < kLanes; ++j) value[j] = logits[j][k * bin_stride];
    const auto bin = static_cast<float>(k);
    for (std::size_t j = 0; j < kLanes; ++j) {
      const float mass = Exp(value[j] - peak[j]);
      sum[j] += mass;
      moment[j] += bin * mass;
    }
  }
  for (std::size_t j = 0; j < kLanes; ++j) expected[j] = moment[j] / sum[j];
}

EDGECV_INLINE
void DistributionBoxesBody(HeadView logits, std::size_t num_bins, const float* points,
                           const std::uint32_t* anchors, std::size_t count, Box* boxes) {
  for (std::size_t first = 0; first < count; first += kLanes) {
    float distance[4][kLanes];
    for (std::size_t side = 0; side < 4; ++side) {
      const float* begin[kLanes];  // the last lanes of the last boxes repeat one
      for (std::size_t j = 0; j < kLanes; ++j)
        begin[j] =
            logits.From(side * num_bins, anchors[std::min(first + j, count - 1)]).data;
      ExpectedBins(static_cast<const float* const*>(begin), logits.channel_stride, num_bins,
                   static_cast<float*>(distance[side]));
    }
    const std::size_t size = std::min(kLanes, count - first);
    for (std::size_t j = 0; j < size; ++j) {
      const float* const point = points + std::size_t{3} * anchors[first + j];
      const float x = point[0], y = point[1], stride = point[2];
      boxes[first + j] = {x - distance[0][j] * stride, y - distance[1][j] * stride,
                          x + distance[2][j] * stride, y + distance[3][j] * stride};
    }
  }
}

}  // namespace

void DistributionBoxes(HeadView logits, std::size_t num_bins, const float* points,
                       const std::uint32_t* anchors, std::size_t count, Box* boxes) {
  Dispatch<DistributionBoxesBody>(logits, num_bins, points, anchors, count, boxes);
}

}  // namespace edgecv
