// Non-maximum suppression of a batch, as the ONNX operator EdgeNMS defines it
// (edgecv/export/operators/edge_nms.py).
//
// Contract of every implementation in this folder:
//   - an image has N = `num_boxes` boxes x1, y1, x2, y2 and C = `num_classes` scores for each, box by
//     box or, if `classes_first`, class by class; N * C is below 2^31;
//   - a pair of a box and a class is a candidate if its score exceeds the score threshold, strictly;
//     NaN does not. If `class_agnostic`, a box takes part with its best class only, the lowest of
//     equals. `background_class` takes no part; -1 for none;
//   - the best kMaxCandidates candidates (common/max_candidates.h) are visited by falling score, ties
//     by box, then by class. One is kept unless a box kept before it has the same class, or any if
//     `class_agnostic`, and IoU > the IoU threshold, as nms/nms.h has it: strictly, in double; a box
//     without a positive, finite area overlaps nothing;
//   - thresholds are in [0, 1], rounded to float32; NaN, which device memory may hold, as the score
//     threshold lets nothing pass and as the IoU threshold suppresses nothing;
//   - the first K = `max_detections` kept are written, best first, and their number to
//     `num_detections`. In the rows past it boxes and scores are 0, classes and box rows -1: every
//     element of every output is written;
//   - N == 0, C == 0 and num_images == 0 are valid. The outputs overlap nothing.
//
// The definition is edgecv/kernels/reference; the tests hold all to it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgecv {

struct EdgeNmsShape {
  std::size_t num_images, num_boxes, num_classes;
  bool classes_first;
  bool is_half;  // the scores are float16, else float32

  std::size_t num_pairs() const { return num_boxes * num_classes; }
};

struct EdgeNmsOptions {
  std::size_t max_detections;
  bool class_agnostic;
  std::int32_t background_class;
};

struct EdgeNmsOutputs {
  std::int32_t* num_detections;  // (B)
  float* boxes_xyxy;             // (B, K, 4)
  float* scores;                 // (B, K)
  std::int32_t* class_ids;       // (B, K)
  std::int32_t* box_rows;        // (B, K): where in the input each box is; or null
};

void EdgeNmsCpu(const float* boxes_xyxy, const void* scores, const EdgeNmsShape& shape,
                float score_threshold, float iou_threshold, const EdgeNmsOptions& options,
                const EdgeNmsOutputs& out);

}  // namespace edgecv
