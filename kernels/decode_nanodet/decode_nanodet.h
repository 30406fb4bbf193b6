// Detections of a NanoDet-Plus head in its ONNX form.
//
// Contract of every implementation in this folder:
//   - `head` shows, per anchor, `num_classes` class probabilities and 4 * `num_bins` logits, the
//     distributions of the distances to the left, top, right and bottom in strides
//     (common/distribution.h); `points` holds x, y and stride in pixels per anchor;
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

std::size_t DecodeNanodetCpu(HeadView head, const float* points, std::size_t num_anchors,
                             std::size_t num_bins, const Selection& selection,
                             const Suppression& suppression, const Detections& out);

}  // namespace edgecv
