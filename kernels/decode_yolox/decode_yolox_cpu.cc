// CPU implementation of decode_yolox.h. A probability is at most 1, so a score is at most its
// anchor's objectness: the classes of most anchors need no look. Where the channels of an anchor
// follow each other they are not even read.

#include "decode_yolox/decode_yolox.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/simd.h"

namespace edgecv {
namespace {

constexpr std::size_t kObjectness = 4;  // channel

// Anchors first: the rows, one after the other, whose objectness lets them score.
void FindInRows(HeadView head, std::size_t num_anchors, const Selection& selection,
                Candidates& found) {
  const HeadView objectness = head.From(kObjectness, 0), classes = head.From(kObjectness + 1, 0);
  const auto score_of = [&](std::uint32_t pair, float probability) {
    return objectness.at(0, pair / selection.num_classes) * probability;
  };
  const std::size_t longest = AnchorsPerBlock(selection.num_classes);
  std::size_t first = 0;
  while (first < num_anchors) {
    const float threshold = found.threshold();
    float highest = 0.0f;
    std::size_t end = first;
    for (; end < num_anchors && end - first < longest; ++end) {
      const float value = objectness.at(0, end);
      if (!(value > threshold)) break;
      highest = std::max(highest, value);
    }
    if (end == first) {
      ++first;
      continue;
    }
    // Lowered by more than its own rounding: it is the rounded score that is compared in the end.
    const auto floor = static_cast<float>(threshold / double{highest} * (1.0 - 1e-6));
    Key* const begin = found.Room((end - first) * selection.num_classes);
    Key* const last = FindClasses(classes.From(0, first), selection.num_classes, first, end - first,
                                  floor, selection.multi_label, begin);
    found.Extend(KeepCandidates(begin, last, threshold, score_of));
    first = end;
  }
}

EDGECV_INLINE
void Multiply(const float* __restrict__ a, const float* __restrict__ b, std::size_t count,
              float* __restrict__ product) {
  for (std::size_t i = 0; i < count; ++i) product[i] = a[i] * b[i];
}

// Channels first, several classes per anchor: the scores are computed plane by plane.
void FindInPlanes(HeadView head, std::size_t num_anchors, const Selection& selection,
                  Candidates& found) {
  constexpr std::size_t kBlock = 256;  // anchors: their scores stay in the cache
  static thread_local std::vector<float> scores;
  if (scores.size() < kBlock * selection.num_classes) scores.resize(kBlock * selection.num_classes);
  for (std::size_t first = 0; first < num_anchors; first += kBlock) {
    const std::size_t count = std::min(kBlock, num_anchors - first);
    const float* const objectness = head.From(kObjectness, first).data;
    const auto may_score = [&found](float value) { return value > found.threshold(); };
    if (std::none_of(objectness, objectness + count, may_score)) continue;
    for (std::size_t c = 0; c < selection.num_classes; ++c)
      Dispatch<Multiply>(objectness, head.From(kObjectness + 1 + c, first).data, count,
                         scores.data() + c * kBlock);
    found.Extend(FindClasses({scores.data(), kBlock, 1}, selection.num_classes, first, count,
                             found.threshold(), true, found.Room(count * selection.num_classes)));
  }
}

void FindYoloxCandidates(HeadView head, std::size_t num_anchors, const Selection& selection,
                         Candidates& found) {
  if (!head.channels_first()) return FindInRows(head, num_anchors, selection, found);
  if (selection.multi_label) return FindInPlanes(head, num_anchors, selection, found);
  // The best class is that of the largest probability, not of the largest rounded score.
  const HeadView objectness = head.From(kObjectness, 0);
  FindCandidates(
      head.From(kObjectness + 1, 0), num_anchors, selection,
      [](float threshold) { return threshold; },
      [&](std::uint32_t pair, float probability) {
        return objectness.at(0, pair / selection.num_classes) * probability;
      },
      found);
}

}  // namespace

std::size_t DecodeYoloxCpu(HeadView head, const float* points, std::size_t num_anchors,
                           const Selection& selection, const Suppression& suppression,
                           const Detections& out) {
  if (num_anchors == 0) return 0;  // there may be no memory to point into
  Candidates& found = Candidates::Begin(selection.score_threshold);
  FindYoloxCandidates(head, num_anchors, selection, found);
  const auto boxes_of = [=](const std::uint32_t* anchors, std::size_t count, Box* boxes) {
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = anchors[k];
      const float stride = points[3 * i + 2];
      const float cx = head.at(0, i) * stride + points[3 * i];
      const float cy = head.at(1, i) * stride + points[3 * i + 1];
      const float half_w = 0.5f * std::exp(head.at(2, i)) * stride;
      const float half_h = 0.5f * std::exp(head.at(3, i)) * stride;
      boxes[k] = {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
    }
  };
  return found.Suppress(num_anchors, selection, suppression, boxes_of, out);
}

}  // namespace edgecv
