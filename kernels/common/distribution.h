// Box sides as distributions over distances (Li et al., "Generalized Focal Loss", 2020).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "common/head.h"

namespace edgecv {

// The expected bin of a distribution given by `num_bins` logits: sum of k * softmax(logits)[k].
inline float ExpectedBin(HeadView logits, std::size_t num_bins) {
  float peak = logits.at(0, 0);
  for (std::size_t k = 1; k < num_bins; ++k) peak = std::max(peak, logits.at(k, 0));
  float sum = 0.0f, moment = 0.0f;
  for (std::size_t k = 0; k < num_bins; ++k) {
    const float mass = std::exp(logits.at(k, 0) - peak);
    sum += mass;
    moment += static_cast<float>(k) * mass;
  }
  return moment / sum;
}

// The box of an anchor point (x, y, stride in pixels) whose distances left, top, right, bottom,
// in strides, are 4 distributions of `num_bins` logits, one after the other.
inline Box DistributionBox(HeadView logits, std::size_t num_bins, const float* point) {
  std::array<float, 4> distance;  // pixels
  for (std::size_t side = 0; side < 4; ++side)
    distance[side] = ExpectedBin(logits.From(side * num_bins, 0), num_bins) * point[2];
  return {point[0] - distance[0], point[1] - distance[1], point[0] + distance[2],
          point[1] + distance[3]};
}

}  // namespace edgecv
