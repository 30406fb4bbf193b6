// The overlap of two boxes that have an area: the arithmetic of box_iou.h on every device.
//
// It runs in float32 unless a side or a coordinate is so large or small that a product could overflow
// or vanish; then in double.
#pragma once

#include <cmath>

#include "box_iou/box_iou.h"
#include "common/host_device.h"

namespace edgecv {

// `&`, not `&&`, here and below: loops over boxes become vectors only where nothing branches.
EDGECV_HOST_DEVICE bool HasArea(const float* box) {
  constexpr float kLargest = 0x1.fffffep127f;  // of all finite floats
  return (box[2] > box[0]) & (box[3] > box[1]) & (box[0] >= -kLargest) & (box[1] >= -kLargest) &
         (box[2] <= kLargest) & (box[3] <= kLargest);
}

// Whether squares of sums of such numbers, and products of two of them, are normal floats: sides in
// [2^-30, 2^31], so that areas are, and coordinates up to 2^30.
EDGECV_HOST_DEVICE bool FitsFloat(const float* box) {
  return (box[2] - box[0] >= 0x1p-30f) & (box[3] - box[1] >= 0x1p-30f) & (box[0] >= -0x1p30f) &
         (box[1] >= -0x1p30f) & (box[2] <= 0x1p30f) & (box[3] <= 0x1p30f);
}

// 2 / pi times the angle of the diagonal, so that v is the square of a difference.
template <typename Real>
EDGECV_HOST_DEVICE Real Angle(Real width, Real height) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  return static_cast<Real>(kTwoOverPi * std::atan(static_cast<double>(width / height)));
}

template <typename Real>
EDGECV_HOST_DEVICE Real Larger(Real a, Real b) { return a > b ? a : b; }

template <typename Real>
EDGECV_HOST_DEVICE Real Smaller(Real a, Real b) { return a < b ? a : b; }

template <typename Real>
struct MeasuredBox {
  Real x1, y1, x2, y2, area;
  Real angle;  // of kCiou alone
};

template <typename Real, Overlap kKind>
EDGECV_HOST_DEVICE MeasuredBox<Real> Measure(const float* box) {
  const Real x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
  const Real width = x2 - x1, height = y2 - y1;
  Real angle = 0;
  if constexpr (kKind == Overlap::kCiou) angle = Angle<Real>(width, height);
  return {x1, y1, x2, y2, width * height, angle};
}

template <typename Real, Overlap kKind>
EDGECV_HOST_DEVICE float OverlapOf(const MeasuredBox<Real>& p, const MeasuredBox<Real>& q) {
  const Real zero = 0;
  const Real width = Smaller(p.x2, q.x2) - Larger(p.x1, q.x1);
  const Real height = Smaller(p.y2, q.y2) - Larger(p.y1, q.y1);
  const Real inter = Larger(width, zero) * Larger(height, zero);
  const Real both = p.area + q.area - inter;
  const Real iou = inter / both;
  Real value = iou;
  if constexpr (kKind != Overlap::kIou) {
    const Real hull_width = Larger(p.x2, q.x2) - Smaller(p.x1, q.x1);
    const Real hull_height = Larger(p.y2, q.y2) - Smaller(p.y1, q.y1);
    if constexpr (kKind == Overlap::kGiou) {
      const Real hull = hull_width * hull_height;
      value = iou - (hull - both) / hull;
    } else {
      // Twice the distance, from differences of corners: these are exact where sums would round.
      const Real x = (p.x1 - q.x1) + (p.x2 - q.x2);
      const Real y = (p.y1 - q.y1) + (p.y2 - q.y2);
      const Real diagonal = hull_width * hull_width + hull_height * hull_height;
      value = iou - static_cast<Real>(0.25) * (x * x + y * y) / diagonal;
      if constexpr (kKind == Overlap::kCiou) {
        const Real turn = p.angle - q.angle, v = turn * turn;
        // Rounding may carry IoU past 1; the sum is 0 only where v is, and v / tiny gives 0 then.
        const Real rest = Larger(static_cast<Real>(1) - iou, zero) + v;
        value -= v * v / Larger(rest, static_cast<Real>(1e-30));
      }
    }
  }
  return static_cast<float>(value);
}

// What a pair has that a box without an area belongs to.
EDGECV_HOST_DEVICE float OverlapWithNothing(Overlap kind) {
  return kind == Overlap::kIou ? 0.0f : -1.0f;
}

}  // namespace edgecv
