// CPU implementation of decode_ssd.h. Nearly every anchor is background, and for those neither the
// sigmoids nor the softmax is computed: p(class) <= exp(logit(class) - logit(background)), which is one comparison a
// logit, a vector at a time.

#include "decode_ssd/decode_ssd.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/exp.h"
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

constexpr std::size_t kLanes = 16;

// Writes scores[c * kLanes + j] = p(class c) of anchor j, from the softmax, and to num_above[j] how
// many of them exceed `threshold`. An anchor a lane: the sum of each is taken class by class.
EDGECV_INLINE
void Softmax(HeadView logits, std::size_t num_classes, const std::uint32_t* anchors,
             std::size_t count, float threshold, float* __restrict__ scores,
             std::int32_t* __restrict__ num_above) {
  const float* row[kLanes];  // the last lanes of the last anchors repeat one
  for (std::size_t j = 0; j < kLanes; ++j)
    row[j] = logits.From(0, anchors[std::min(j, count - 1)]).data;
  float background[kLanes], peak[kLanes], sum[kLanes];
  for (std::size_t j = 0; j < kLanes; ++j) peak[j] = background[j] = row[j][0];
  for (std::size_t c = 0; c < num_classes; ++c) {
    float* const values = scores + c * kLanes;
    for (std::size_t j = 0; j < kLanes; ++j) values[j] = row[j][(c + 1) * logits.channel_stride];
    for (std::size_t j = 0; j < kLanes; ++j) peak[j] = peak[j] < values[j] ? values[j] : peak[j];
  }
  for (std::size_t j = 0; j < kLanes; ++j)
    sum[j] = Exp(background[j] - peak[j]), num_above[j] = 0;
  for (std::size_t c = 0; c < num_classes; ++c) {
    float* const values = scores + c * kLanes;
    for (std::size_t j = 0; j < kLanes; ++j) sum[j] += values[j] = Exp(values[j] - peak[j]);
  }
  for (std::size_t c = 0; c < num_classes; ++c) {
    float* const values = scores + c * kLanes;
    for (std::size_t j = 0; j < kLanes; ++j) {
      values[j] = values[j] / sum[j];
      num_above[j] += values[j] > threshold ? 1 : 0;
    }
  }
}

// Adds the candidates of `count` anchors in rising order, at most kLanes. `scores` has room for
// kLanes * num_classes.
void AddAnchors(HeadView logits, std::size_t num_classes, const std::uint32_t* anchors,
                std::size_t count, float* scores, Candidates& found) {
  std::int32_t num_above[kLanes];
  Dispatch<Softmax>(logits, num_classes, anchors, count, found.threshold(), scores,
                    static_cast<std::int32_t*>(num_above));
  Key* key = found.Room(count * num_classes);
  for (std::size_t j = 0; j < count; ++j) {
    if (num_above[j] == 0) continue;
    for (std::size_t c = 0; c < num_classes; ++c) {
      const float score = scores[c * kLanes + j];
      *key = KeyOf(score, static_cast<std::uint32_t>(anchors[j] * num_classes + c));
      key += score > found.threshold() ? 1 : 0;
    }
  }
  found.Extend(key);
}

void FindSoftmaxCandidates(const SsdHead& head, Candidates& found) {
  std::int32_t num_above[kBlock];
  std::uint32_t anchors[kBlock];
  static thread_local std::vector<float> scores;
  if (scores.size() < kLanes * head.num_classes) scores.resize(kLanes * head.num_classes);
  for (std::size_t first = 0; first < head.num_anchors; first += kBlock) {
    const std::size_t count = std::min(kBlock, head.num_anchors - first);
    // Lowered by more than the softmax's rounding: it is the rounded score that is compared in the
    // end. A threshold of 0 gives -infinity: nothing is skipped that has a score above 0.
    const float margin = std::log(found.threshold()) - 1e-5f;
    Dispatch<CountAbove>(head.logits.From(0, first), head.num_classes, count, margin,
                         static_cast<std::int32_t*>(num_above));
    std::size_t num_anchors = 0;
    for (std::size_t i = 0; i < count; ++i) {
      anchors[num_anchors] = static_cast<std::uint32_t>(first + i);
      num_anchors += num_above[i] > 0 ? 1 : 0;
    }
    for (std::size_t i = 0; i < num_anchors; i += kLanes)
      AddAnchors(head.logits, head.num_classes, anchors + i, std::min(kLanes, num_anchors - i),
                 scores.data(), found);
  }
}

}  // namespace

std::size_t DecodeSsdCpu(const SsdHead& head, float score_threshold,
                         const Suppression& suppression, const Detections& out) {
  if (head.num_anchors == 0) return 0;  // there may be no memory to point into
  Candidates& found = Candidates::Begin(score_threshold);
  const Selection selection{head.num_classes, score_threshold, true};
  if (head.activation == Activation::kSoftmax)
    FindSoftmaxCandidates(head, found);
  else
    FindSigmoidCandidates(head.logits, head.num_anchors, selection, found);
  const auto boxes_of = [&head](const std::uint32_t* anchors, std::size_t count, Box* boxes) {
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = anchors[k];
      const float* anchor = head.anchors_cxcywh + 4 * i;
      const HeadView& offset = head.offsets;
      const float cx = offset.at(0, i) * head.centre_variance * anchor[2] + anchor[0];
      const float cy = offset.at(1, i) * head.centre_variance * anchor[3] + anchor[1];
      const float half_w = 0.5f * std::exp(offset.at(2, i) * head.size_variance) * anchor[2];
      const float half_h = 0.5f * std::exp(offset.at(3, i) * head.size_variance) * anchor[3];
      boxes[k] = {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
    }
  };
  return found.Suppress(head.num_anchors, selection, suppression, boxes_of, out);
}

}  // namespace edgecv
