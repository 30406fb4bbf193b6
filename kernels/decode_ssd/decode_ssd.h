// Detections of a head with anchor boxes: offsets from them, and scores of the classes from a softmax
// with the background first (Liu et al., "SSD", ECCV 2016), or each from a sigmoid of its own (Lin et
// al., "Focal Loss for Dense Object Detection", ICCV 2017).
//
// Contract of every implementation in this folder:
//   - per anchor, `offsets` shows dx, dy, dw, dh and `logits` 1 + `num_classes` values, or
//     `num_classes` if they are sigmoids', in either layout; `anchors_cxcywh` holds cx, cy, w, h in
//     pixels, row-major;
//   - cx = dx * centre_variance * w_a + cx_a, w = exp(dw * size_variance) * w_a, y and h alike;
//   - every (anchor, class) pair above `score_threshold` is a candidate; the background is none and
//     class ids start after it. Candidates and detections are those of common/candidates.h; the
//     number of detections is returned;
//   - an anchor whose logits hold a NaN or +infinity has no candidates of a softmax; of sigmoids, a
//     NaN is no candidate and +infinity scores 1;
//   - num_anchors == 0 is valid and touches no memory.
//
// The definition is edgecv/kernels/reference; the tests hold both to it.
#pragma once

#include <cstddef>

#include "common/candidates.h"
#include "common/head.h"

namespace edgecv {

enum class Activation { kSoftmax, kSigmoid };

struct SsdHead {
  HeadView offsets, logits;
  const float* anchors_cxcywh;
  std::size_t num_anchors, num_classes;
  float centre_variance, size_variance;
  Activation activation;
};

std::size_t DecodeSsdCpu(const SsdHead& head, float score_threshold,
                         const Suppression& suppression, const Detections& out);

}  // namespace edgecv
