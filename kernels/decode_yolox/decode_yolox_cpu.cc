#include "decode_yolox/decode_yolox.h"

#include <cmath>

namespace edgecv {

std::size_t DecodeYoloxCpu(const float* head, const float* points, std::size_t num_anchors,
                           const Selection& selection, Candidates out) {
  const std::size_t row = 5 + selection.num_classes;
  const auto score_of = [=](std::size_t i, float probability) {
    return head[i * row + 4] * probability;
  };
  const auto box_of = [=](std::size_t i) -> Box {
    const float* raw = head + i * row;
    const float stride = points[3 * i + 2];
    const float cx = raw[0] * stride + points[3 * i], cy = raw[1] * stride + points[3 * i + 1];
    const float half_w = 0.5f * std::exp(raw[2]) * stride;
    const float half_h = 0.5f * std::exp(raw[3]) * stride;
    return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
  };
  // Objectness is at most 1: a probability at or below the threshold cannot score above it.
  const HeadView classes{head + 5, 1, row};
  AddCandidates(classes, num_anchors, selection, selection.score_threshold, score_of, box_of, out);
  return out.count;
}

}  // namespace edgecv
