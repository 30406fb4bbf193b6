#include "decode_nanodet/decode_nanodet.h"

#include "common/distribution.h"

namespace edgecv {

std::size_t DecodeNanodetCpu(const float* head, const float* points, std::size_t num_anchors,
                             std::size_t num_bins, const Selection& selection, Candidates out) {
  const HeadView classes{head, 1, selection.num_classes + 4 * num_bins};
  const HeadView sides{head + selection.num_classes, 1, classes.anchor_stride};
  const auto score_of = [](std::size_t, float probability) { return probability; };
  const auto box_of = [=](std::size_t i) {
    return DistributionBox(sides.From(0, i), num_bins, points + 3 * i);
  };
  AddCandidates(classes, num_anchors, selection, selection.score_threshold, score_of, box_of, out);
  return out.count;
}

}  // namespace edgecv
