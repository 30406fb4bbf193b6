// Where an output pixel lies between the logits, and the value of a class there: the arithmetic of
// resize_argmax.h on every device, in float32 and in this order (resize_argmax_lanes.inc writes the
// same for vectors).
#pragma once

#include <cstdint>

#include "common/host_device.h"
#include "resize_argmax/resize_argmax.h"

namespace edgecv::resize_argmax {

// The two logits of an axis around an output pixel, and the weight of the second.
struct Tap {
  std::int32_t low, high;
  float weight;
};

// Of output pixel `k`; `last` is the number of the axis's last logit.
EDGECV_HOST_DEVICE Tap TapOf(std::int32_t k, AxisMap map, std::int32_t last) {
  const float centre = static_cast<float>(k) + 0.5f, end = static_cast<float>(last);
  const float inside = centre * map.scale + map.bias;
  const float from_first = inside > 0.0f ? inside : 0.0f;
  const float position = from_first < end ? from_first : end;
  const auto low = static_cast<std::int32_t>(position);
  return {low, low < last ? low + 1 : last, position - static_cast<float>(low)};
}

EDGECV_HOST_DEVICE float Between(float low, float high, float weight) {
  return low * (1.0f - weight) + high * weight;
}

// A class in an output column, between two rows of logits: `base` in the first.
struct Column {
  float base, slope;
};

EDGECV_HOST_DEVICE Column ColumnOf(float low0, float high0, float low1, float high1, float weight) {
  const float base = Between(low0, high0, weight);
  return {base, Between(low1, high1, weight) - base};
}

EDGECV_HOST_DEVICE float ValueAt(Column column, float weight) {
  return column.base + weight * column.slope;
}

}  // namespace edgecv::resize_argmax
