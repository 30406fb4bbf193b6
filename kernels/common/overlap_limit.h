// Whether a box suppresses another: IoU > threshold, strictly, with IoU computed in double, each step
// rounded. The same decision on every device.
//
// Most pairs are decided in float32, by the area that they share:
//   Let I, A, B be the true areas of the intersection and of two boxes, t the threshold, u = 2^-24.
//   In double every step rounds by at most 2^-53 and A + B - I >= (A + B) / 2, so that an IoU that
//   comes out above t means I / (A + B - I) > t (1 - 2^-48), hence I > c (1 - 2^-48) (A + B) with
//   c = t / (1 + t). In float32, two sides and their product give at least I (1 - 3u), and what it
//   is compared with, L = k A + k B with k = c (1 - 2^-20) = c (1 - 16u), two products and a sum,
//   gives at most c (1 - 16u) (1 + 2u) (A + B). The former is larger, as 16 > 3 + 2: an area that is
//   not above L decides that the IoU is not above t.
//   Conversely L (1 + 2^-19) is at least c (1 - 16u) (1 - 2u) (1 + 32u) (1 - u) (A + B), which is more
//   than c (1 + 12u) (A + B), and the area at most I (1 + 3u): an area above it means that I exceeds
//   c (1 + 8u) (A + B) and so that the IoU exceeds t by 8u t and more, which double does not miss.
//   This needs products that neither overflow nor lose bits to underflow. It holds for t >= 2^-20
//   and sides in [2^-50, 2^60]; a box with another side gets the limit -infinity, so that nothing is
//   decided, and below t = 2^-20 every box does.
#pragma once

#include <cmath>

#include "common/host_device.h"

namespace edgecv {

// A box of positive, finite area; any other overlaps nothing.
struct AreaBox {
  float x1, y1, x2, y2;
  float limit;  // k times the area, see above
  double area;
};

// What turns an IoU threshold into limits.
struct OverlapLimit {
  bool any_overlap;  // the threshold is too small for limits: any shared area is a hit
  double scale;      // k

  EDGECV_HOST_DEVICE explicit OverlapLimit(double iou_threshold)
      : any_overlap(iou_threshold < 0x1p-20),
        scale(iou_threshold / (1.0 + iou_threshold) * (1.0 - 0x1p-20)) {}
};

constexpr float kUndecided = -__builtin_inff();  // the limit of a box whose pairs double decides

// Reads a box into `box`; false if its area is not positive and finite, NaN included. With floats
// for coordinates, the area is finite in double if and only if they are.
EDGECV_HOST_DEVICE bool ReadBox(const float* xyxy, const OverlapLimit& limit, AreaBox* box) {
  const float x1 = xyxy[0], y1 = xyxy[1], x2 = xyxy[2], y2 = xyxy[3];
  const double width = static_cast<double>(x2) - x1, height = static_cast<double>(y2) - y1;
  const double area = width * height;
  // Infinite sides are refused below with infinite areas; both sides negative must not pass.
  if (!(width > 0.0 && height > 0.0 && area < __builtin_inf())) return false;
  const bool is_plain = width >= 0x1p-50 && width <= 0x1p60 && height >= 0x1p-50 && height <= 0x1p60;
  *box = {x1, y1, x2, y2, is_plain ? static_cast<float>(limit.scale * area) : kUndecided, area};
  return true;
}

// |P ∩ Q| / |P ∪ Q| of a box and the box x1, y1, x2, y2, each step rounded in double.
EDGECV_HOST_DEVICE double Iou(const AreaBox& p, double x1, double y1, double x2, double y2) {
  const double left = p.x1 > x1 ? p.x1 : x1, top = p.y1 > y1 ? p.y1 : y1;
  const double right = p.x2 < x2 ? p.x2 : x2, bottom = p.y2 < y2 ? p.y2 : y2;
  const double width = right > left ? right - left : 0.0;
  const double height = bottom > top ? bottom - top : 0.0;
  const double inter = width * height;
  return inter / (p.area + (x2 - x1) * (y2 - y1) - inter);
}

// Any box, as a processor without wide vectors compares them: one by one.
struct LimitedBox {
  float x1, y1, x2, y2;
  float limit;  // NaN if the box overlaps nothing
};

EDGECV_HOST_DEVICE LimitedBox Limited(float x1, float y1, float x2, float y2,
                                      const OverlapLimit& limit) {
  const float xyxy[4] = {x1, y1, x2, y2};
  AreaBox box;
  if (!ReadBox(xyxy, limit, &box)) return {x1, y1, x2, y2, __builtin_nanf("")};
  return {x1, y1, x2, y2, limit.any_overlap ? kUndecided : box.limit};
}

// Whether either of two boxes suppresses the other. The division is left to the few pairs whose IoU
// is within a millionth of the threshold, and to extreme boxes and thresholds.
EDGECV_HOST_DEVICE bool Suppresses(const LimitedBox& p, const LimitedBox& q, double iou_threshold) {
  const float width = fminf(p.x2, q.x2) - fmaxf(p.x1, q.x1);
  const float height = fminf(p.y2, q.y2) - fmaxf(p.y1, q.y1);
  const float limit = p.limit + q.limit;
  // Two negative sides must not pass; NaN compares false, and an area that vanished exceeds -infinity.
  if (!(width > 0.0f && height > 0.0f && width * height > limit)) return false;
  if (limit > 0.0f && width * height > limit * (1.0f + 0x1p-19f)) return true;
  const double p_area = (static_cast<double>(p.x2) - p.x1) * (static_cast<double>(p.y2) - p.y1);
  return Iou({p.x1, p.y1, p.x2, p.y2, p.limit, p_area}, q.x1, q.y1, q.x2, q.y2) > iou_threshold;
}

}  // namespace edgecv
