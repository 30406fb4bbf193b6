// Where the outputs along one axis sample the source along that axis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "letterbox/fixed_point.h"
#include "letterbox/letterbox.h"

namespace edgecv {

// One axis of a resize, and the outputs of it that are wanted.
struct Axis {
  std::ptrdiff_t source, resized;  // pixels
  std::ptrdiff_t first, count;     // wanted outputs, counted from the resized frame's corner
};

// Output k is `Blend(source[low[k]], source[high[k]], weight[k])`.
struct Taps {
  std::vector<std::int32_t> low, high;
  std::vector<Weight> weight;
  bool is_blended;  // false: every weight is 0 and `high` need not be read

  std::size_t size() const { return low.size(); }
};

// `is_area`: as area interpolation does where it enlarges, see letterbox.h.
Taps LinearTaps(const Axis& axis, bool is_area);

// One tap without a weight for every source pixel from `first` to `first + count`.
Taps IdentityTaps(std::ptrdiff_t first, std::ptrdiff_t count);

// Output k is the sum of `weights[offset[k] + i] * source[first[k] + i]`, i < offset[k + 1] -
// offset[k].
struct Spans {
  std::vector<std::ptrdiff_t> first;
  std::vector<std::size_t> offset;  // one more than outputs
  std::vector<float> weights;

  std::size_t size() const { return first.size(); }
  std::size_t length(std::size_t k) const { return offset[k + 1] - offset[k]; }
};

Spans AreaSpans(const Axis& axis);

}  // namespace edgecv
