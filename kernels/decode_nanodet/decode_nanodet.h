// Candidates of a NanoDet-Plus head in its ONNX form.
//
// Contract of every implementation in this folder:
//   - `head` holds, per anchor and row-major, `num_classes` class probabilities and 4 * `num_bins`
//     logits, the distributions of the distances to the left, top, right and bottom in strides
//     (common/distribution.h); `points` holds x, y and stride in pixels per anchor;
//   - candidates, their order and the buffers are those of common/candidates.h; the best class of
//     an anchor is the lowest of those with the largest probability;
//   - num_anchors == 0 is valid and touches no memory.
//
// The definition is edgecv/kernels/reference.py; the tests hold both to it.
#pragma once

#include <cstddef>

#include "common/candidates.h"

namespace edgecv {

std::size_t DecodeNanodetCpu(const float* head, const float* points, std::size_t num_anchors,
                             std::size_t num_bins, const Selection& selection, Candidates out);

}  // namespace edgecv
