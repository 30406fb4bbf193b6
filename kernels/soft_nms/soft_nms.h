// Suppression that lowers the scores of boxes that overlap, instead of dropping them.
//
// Contract of every implementation in this folder:
//   - `boxes_xyxy` holds `n` boxes x1, y1, x2, y2, row-major; `scores` holds `n` floats;
//     `class_ids` holds `n` integers, or is null: all boxes are of one class; `n` is below 2^32;
//   - again and again the box of the best current score is kept, the lowest row among equals, and
//     the current scores of all boxes of its class that are not yet kept are multiplied by
//       linear:   1 - IoU, if IoU > `iou_threshold`, strictly; otherwise they stay;
//       gaussian: exp(-(IoU * IoU) / `sigma`);
//     until `max_detections` are kept or no current score is greater than `score_threshold`;
//   - current scores are doubles; they begin as `scores` and are multiplied once for every box kept,
//     in the order in which those are kept. `exp` is the C library's;
//   - a box with a NaN score is never kept; an empty or inverted box, or one with a coordinate that
//     is not finite, has IoU 0 with everything. IoU is computed in double, by division;
//   - `iou_threshold` is in [0, 1], `sigma` positive, `score_threshold` not negative;
//   - `kept` and `kept_scores` have room for min(n, max_detections) rows and receive the rows and
//     their last scores, best first; the count is returned and what follows is left alone;
//   - n == 0 is valid and touches no memory.
//
// The definition is edgecv/kernels/reference; the tests hold both to it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgecv {

struct SoftNmsDecay {
  bool gaussian;         // or linear
  double sigma;          // of the gaussian one
  double iou_threshold;  // of the linear one
};

std::size_t SoftNmsCpu(const float* boxes_xyxy, const float* scores, const std::int32_t* class_ids,
                       std::size_t n, const SoftNmsDecay& decay, double score_threshold,
                       std::size_t max_detections, std::int64_t* kept, float* kept_scores);

}  // namespace edgecv
