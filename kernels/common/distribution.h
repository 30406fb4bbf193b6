// Box sides as distributions over distances (Li et al., "Generalized Focal Loss", 2020).
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/head.h"

namespace edgecv {

// Writes the boxes of `count` anchors. `logits` shows, per anchor of the head, the distances to the
// left, top, right and bottom, in strides, as 4 distributions of `num_bins` logits, one after the
// other; a distance is the expected bin, the sum of k * softmax(logits)[k]. `points` holds x, y and
// stride in pixels per anchor of the head.
void DistributionBoxes(HeadView logits, std::size_t num_bins, const float* points,
                       const std::uint32_t* anchors, std::size_t count, Box* boxes);

}  // namespace edgecv
