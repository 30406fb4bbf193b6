// Greedy non-maximum suppression, class by class.
//
// Contract of every implementation in this folder:
//   - `boxes_xyxy` holds `n` boxes x1, y1, x2, y2, row-major; `scores` holds `n` floats;
//     `class_ids` holds `n` integers, or is null: all boxes are of one class;
//   - boxes are visited by falling score, equal scores by rising index; a box is kept unless a box
//     kept before it has the same class and IoU > `iou_threshold`, strictly;
//   - a box with a NaN score is never kept; an empty or inverted box, or one with a coordinate that
//     is not finite, has IoU 0 with everything, so that it is kept and suppresses nothing;
//   - IoU is computed in double, by division: coordinates of any finite size are compared as they
//     are, and an IoU that equals the threshold does not suppress;
//   - `iou_threshold` is in [0, 1]; `n` is below 2^32;
//   - `kept` has room for min(n, max_detections) rows and receives the kept indices, best first;
//     the count is returned and the rest of `kept` is left alone;
//   - n == 0 is valid and touches no memory.
//
// The definition is edgecv/kernels/reference; the tests hold both to it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgecv {

std::size_t NmsCpu(const float* boxes_xyxy, const float* scores, const std::int32_t* class_ids,
                   std::size_t n, double iou_threshold, std::size_t max_detections,
                   std::int64_t* kept);

}  // namespace edgecv
