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
  const auto box_of = [=](std::size_t i) {
    return DistributionBox(sides.From(0, i), num_bins, points + 3 * i);
  };
  return found.Suppress(num_anchors, selection, suppression, box_of, out);
}

}  // namespace edgecv
