// Candidates of an SSD head (Liu et al., "SSD", ECCV 2016): offsets from anchor boxes, softmax
// scores over the classes with the background first.
//
// Contract of every implementation in this folder:
//   - `offsets` holds dx, dy, dw, dh and `anchors_cxcywh` cx, cy, w, h in pixels, per anchor;
//     `logits` holds 1 + `num_classes` values per anchor; all row-major;
//   - cx = dx * centre_variance * w_a + cx_a, w = exp(dw * size_variance) * w_a, y and h alike;
//   - every (anchor, class) pair above `score_threshold` is a candidate; the background is none and
//     class ids start after it. See common/candidates.h for their order and the buffers;
//   - an anchor whose logits hold a NaN or +infinity has no candidates;
//   - num_anchors == 0 is valid and touches no memory.
//
// The definition is edgecv/kernels/reference.py; the tests hold both to it.
#pragma once

#include <cstddef>

#include "common/candidates.h"

namespace edgecv {

struct SsdHead {
  const float* offsets;
  const float* logits;
  const float* anchors_cxcywh;
  std::size_t num_anchors, num_classes;
  float centre_variance, size_variance;
};

std::size_t DecodeSsdCpu(const SsdHead& head, float score_threshold, Candidates out);

}  // namespace edgecv
