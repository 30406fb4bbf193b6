// Detections of an anchor-free YOLO head as Ultralytics exports it since v8.
//
// Contract of every implementation in this folder:
//   - `head` shows the channels of `num_anchors` anchors, boxes first, then one per class;
//   - DecodeYoloCpu: 4 box channels cx, cy, w, h in input pixels, then class probabilities;
//   - DecodeYoloDflCpu: 4 * `num_bins` box channels, distributions of the distances to the left,
//     top, right and bottom in strides (common/distribution.h), then class logits; `points` holds
//     x, y and stride in pixels per anchor;
//   - candidates and detections are those of common/candidates.h; the number of detections is
//     returned; the best class of an anchor is the lowest of those with the largest channel value;
//   - num_anchors == 0 is valid and touches no memory.
//
// The definition is edgecv/kernels/reference; the tests hold both to it.
#pragma once

#include <cstddef>

#include "common/candidates.h"
#include "common/head.h"

namespace edgecv {

std::size_t DecodeYoloCpu(HeadView head, std::size_t num_anchors, const Selection& selection,
                          const Suppression& suppression, const Detections& out);

std::size_t DecodeYoloDflCpu(HeadView head, const float* points, std::size_t num_anchors,
                             std::size_t num_bins, const Selection& selection,
                             const Suppression& suppression, const Detections& out);

}  // namespace edgecv
