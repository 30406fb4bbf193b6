#include "decode_nanodet/decode_nanodet.h"

#include "common/distribution.h"

namespace edgecv {

std::size_t DecodeNanodetCpu(HeadView head, const float* points, std::size_t num_anchors,
                             std::size_t num_bins, const Selection& selection,
                             const Suppression& suppression, const Detections& out) {
  if (num_anchors == 0) return 0;  // there may be no memory to point into
  Candidates& found = Candidates::Begin(selection.score_threshold);
  FindCandidates(head, num_anchors, selection, found);
  const HeadView sides = head.From(selection.num_classes, 0);
  const auto boxes_of = [=](const std::uint32_t* anchors, std::size_t count, Box* boxes) {
    DistributionBoxes(sides, num_bins, points, anchors, count, boxes);
  };
  return found.Suppress(num_anchors, selection, suppression, boxes_of, out);
}

}  // namespace edgecv
