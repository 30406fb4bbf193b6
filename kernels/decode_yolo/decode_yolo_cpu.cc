// CPU implementation of decode_yolo.h: a vectorised search for the best class, then scalar work
// for the few anchors that pass the threshold.

#include "decode_yolo/decode_yolo.h"

#include <cmath>

#include "common/distribution.h"

namespace edgecv {

std::size_t DecodeYoloCpu(HeadView head, std::size_t num_anchors, const Selection& selection,
                          Candidates out) {
  const auto score_of = [](std::size_t, float probability) { return probability; };
  const auto box_of = [head](std::size_t i) -> Box {
    const float cx = head.at(0, i), cy = head.at(1, i);
    const float half_w = 0.5f * head.at(2, i), half_h = 0.5f * head.at(3, i);
    return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
  };
  AddCandidates(head.From(4, 0), num_anchors, selection, selection.score_threshold, score_of,
                box_of, out);
  return out.count;
}

std::size_t DecodeYoloDflCpu(HeadView head, const float* points, std::size_t num_anchors,
                             std::size_t num_bins, const Selection& selection, Candidates out) {
  // The threshold as a logit, so that the sigmoid is computed for survivors only. Lowered by more
  // than the sigmoid's rounding: it is the rounded score that is compared in the end.
  const double threshold = selection.score_threshold * (1.0 - 1e-5);
  const auto floor = static_cast<float>(std::log(threshold / (1.0 - threshold)));
  const auto score_of = [](std::size_t, float logit) { return 1.0f / (1.0f + std::exp(-logit)); };
  const auto box_of = [head, points, num_bins](std::size_t i) {
    return DistributionBox(head.From(0, i), num_bins, points + 3 * i);
  };
  AddCandidates(head.From(4 * num_bins, 0), num_anchors, selection, floor, score_of, box_of, out);
  return out.count;
}

}  // namespace edgecv
