// Detections of a YOLOX head (Ge et al., "YOLOX", 2021) exported without its decoding.
//
// Contract of every implementation in this folder:
//   - `head` shows, per anchor, x, y, w, h, objectness and `num_classes` class probabilities;
//     objectness and probabilities lie in [0, 1];
//   - `points` holds x, y and stride in pixels per anchor; cx = x_head * stride + x_point,
//     w = exp(w_head) * stride, y and h alike; score = objectness * probability;
//   - candidates and detections are those of common/candidates.h; the number of detections is
//     returned; the best class of an anchor is the lowest of those with the largest probability;
//   - num_anchors == 0 is valid and touches no memory.
//
// The definition is edgecv/kernels/reference; the tests hold both to it.
#pragma once

#include <cstddef>

#include "common/candidates.h"
#include "common/head.h"

namespace edgecv {

std::size_t DecodeYoloxCpu(HeadView head, const float* points, std::size_t num_anchors,
                           const Selection& selection, const Suppression& suppression,
                           const Detections& out);

}  // namespace edgecv
