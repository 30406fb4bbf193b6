// CPU implementation of decode_ssd.h. Nearly every anchor is background, and for those the softmax
// is not computed: p(class) <= exp(logit(class) - logit(background)), which is one comparison a
// logit, a vector at a time.

#include "decode_ssd/decode_ssd.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/simd.h"

namespace edgecv {
namespace {

constexpr std::size_t kBlock = 256;  // anchors

// Counts for each of `count` anchors the classes whose logit exceeds the background's by more than
// `margin`.
EDGECV_INLINE
void CountAbove(HeadView logits, std::size_t num_classes, std::size_t count, float margin,
                std::int32_t* __restrict__ num_above) {
  if (logits.channels_first()) {
    const float* __restrict__ background = logits.data;
    for (std::size_t i = 0; i < count; ++i) num_above[i] = 0;
    for (std::size_t c = 1; c <= num_classes; ++c) {
      const float* __restrict__ values = logits.data + c * logits.channel_stride;
      for (std::size_t i = 0; i < count; ++i)
        num_above[i] += values[i] - background[i] > margin ? 1 : 0;
    }
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const float* __restrict__ row = logits.data + i * logits.anchor_stride;
    const float background = row[0];
    std::int32_t above = 0;
    for (std::size_t c = 1; c <= num_classes; ++c) above += row[c] - background > margin ? 1 : 0;
    num_above[i] = above;
  }
}

// Writes the candidates of one anchor, with scores from the softmax, and returns their end.
Key* AddAnchor(HeadView logits, std::size_t num_classes, std::size_t anchor, float threshold,
               float* mass, Key* keys) {
  float peak = logits.at(0, anchor);
  for (std::size_t c = 1; c <= num_classes; ++c) peak = std::max(peak, logits.at(c, anchor));
  float sum = 0.0f;
  for (std::size_t c = 0; c <= num_classes; ++c)
    sum += mass[c] = std::exp(logits.at(c, anchor) - peak);
  for (std::size_t c = 0; c < num_classes; ++c) {
    const float score = mass[c + 1] / sum;
    *keys = KeyOf(score, static_cast<std::uint32_t>(anchor * num_classes + c));
    keys += score > threshold ? 1 : 0;
  }
  return keys;
}

void FindSsdCandidates(const SsdHead& head, Candidates& found) {
  std::int32_t num_above[kBlock];
  std::vector<float> mass(head.num_classes + 1);
  for (std::size_t first = 0; first < head.num_anchors; first += kBlock) {
    const std::size_t count = std::min(kBlock, head.num_anchors - first);
    // Lowered by more than the softmax's rounding: it is the rounded score that is compared in the
    // end. A threshold of 0 gives -infinity: nothing is skipped that has a score above 0.
    const float margin = std::log(found.threshold()) - 1e-5f;
    Dispatch<CountAbove>(head.logits.From(0, first), head.num_classes, count, margin,
                         static_cast<std::int32_t*>(num_above));
    for (std::size_t i = 0; i < count; ++i) {
      if (num_above[i] == 0) continue;
      found.Extend(AddAnchor(head.logits, head.num_classes, first + i, found.threshold(),
                             mass.data(), found.Room(head.num_classes)));
    }
  }
}

}  // namespace

std::size_t DecodeSsdCpu(const SsdHead& head, float score_threshold,
                         const Suppression& suppression, const Detections& out) {
  if (head.num_anchors == 0) return 0;  // there may be no memory to point into
  Candidates& found = Candidates::Begin(score_threshold);
  FindSsdCandidates(head, found);
  const auto box_of = [&head](std::size_t i) -> Box {
    const float* anchor = head.anchors_cxcywh + 4 * i;
    const HeadView& offset = head.offsets;
    const float cx = offset.at(0, i) * head.centre_variance * anchor[2] + anchor[0];
    const float cy = offset.at(1, i) * head.centre_variance * anchor[3] + anchor[1];
    const float half_w = 0.5f * std::exp(offset.at(2, i) * head.size_variance) * anchor[2];
    const float half_h = 0.5f * std::exp(offset.at(3, i) * head.size_variance) * anchor[3];
    return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
  };
  const Selection selection{head.num_classes, score_threshold, true};
  return found.Suppress(head.num_anchors, selection, suppression, box_of, out);
}

}  // namespace edgecv
