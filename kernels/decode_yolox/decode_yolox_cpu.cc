// CPU implementation of decode_yolox.h. A probability is at most 1, so a score is at most its
// anchor's objectness: the classes of most anchors are never read.

#include "decode_yolox/decode_yolox.h"

#include <algorithm>
#include <cmath>

namespace edgecv {
namespace {

constexpr std::size_t kObjectness = 4;  // channel

void FindYoloxCandidates(HeadView head, std::size_t num_anchors, const Selection& selection,
                         Candidates& found) {
  const HeadView objectness = head.From(kObjectness, 0), classes = head.From(kObjectness + 1, 0);
  const auto score_of = [&](std::uint32_t pair, float probability) {
    return objectness.at(0, pair / selection.num_classes) * probability;
  };
  const std::size_t longest = AnchorsPerBlock(selection.num_classes);
  std::size_t first = 0;
  while (first < num_anchors) {
    const float threshold = found.threshold();
    // Anchors in a row whose objectness lets them score.
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
    Key* const last = FindClasses(classes, selection.num_classes, first, end - first, floor,
                                  selection.multi_label, begin);
    found.Extend(KeepCandidates(begin, last, threshold, score_of));
    first = end;
  }
}

}  // namespace

std::size_t DecodeYoloxCpu(HeadView head, const float* points, std::size_t num_anchors,
                           const Selection& selection, const Suppression& suppression,
                           const Detections& out) {
  if (num_anchors == 0) return 0;  // there may be no memory to point into
  Candidates& found = Candidates::Begin(selection.score_threshold);
  FindYoloxCandidates(head, num_anchors, selection, found);
  const auto box_of = [=](std::size_t i) -> Box {
    const float stride = points[3 * i + 2];
    const float cx = head.at(0, i) * stride + points[3 * i];
    const float cy = head.at(1, i) * stride + points[3 * i + 1];
    const float half_w = 0.5f * std::exp(head.at(2, i)) * stride;
    const float half_h = 0.5f * std::exp(head.at(3, i)) * stride;
    return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
  };
  return found.Suppress(num_anchors, selection, suppression, box_of, out);
}

}  // namespace edgecv
