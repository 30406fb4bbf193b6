// CPU implementation of decode_ssd.h. Nearly every anchor is background, and for those the softmax
// is not computed: p(class) <= exp(logit(class) - logit(background)), which is one comparison.

#include "decode_ssd/decode_ssd.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace edgecv {
namespace {

Box BoxOf(const SsdHead& head, std::size_t i) {
  const float* offset = head.offsets + 4 * i;
  const float* anchor = head.anchors_cxcywh + 4 * i;
  const float cx = offset[0] * head.centre_variance * anchor[2] + anchor[0];
  const float cy = offset[1] * head.centre_variance * anchor[3] + anchor[1];
  const float half_w = 0.5f * std::exp(offset[2] * head.size_variance) * anchor[2];
  const float half_h = 0.5f * std::exp(offset[3] * head.size_variance) * anchor[3];
  return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
}

}  // namespace

std::size_t DecodeSsdCpu(const SsdHead& head, float score_threshold, Candidates out) {
  const std::size_t num_logits = head.num_classes + 1;
  // Lowered by more than the softmax's rounding: it is the rounded score that is compared in the
  // end. A threshold of 0 gives -infinity: nothing is skipped.
  const float log_threshold = std::log(score_threshold) - 1e-5f;
  std::vector<float> mass(num_logits);
  for (std::size_t i = 0; i < head.num_anchors; ++i) {
    const float* logit = head.logits + i * num_logits;
    float best = logit[1];
    for (std::size_t c = 2; c < num_logits; ++c) best = std::max(best, logit[c]);
    if (best - logit[0] <= log_threshold) continue;

    const float peak = std::max(best, logit[0]);
    float sum = 0.0f;
    for (std::size_t c = 0; c < num_logits; ++c) sum += mass[c] = std::exp(logit[c] - peak);
    bool has_box = false;
    Box box{};
    for (std::size_t c = 1; c < num_logits; ++c) {
      const float score = mass[c] / sum;
      if (!(score > score_threshold)) continue;
      if (!has_box) box = BoxOf(head, i), has_box = true;
      out.Add(box, score, c - 1);
    }
  }
  return out.count;
}

}  // namespace edgecv
