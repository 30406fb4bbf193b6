// CPU implementation of decode_yolo.h: a vectorised search of the class channels, then work for the
// few pairs that are candidates and the boxes that suppression comes to.

#include "decode_yolo/decode_yolo.h"

#include "common/distribution.h"

namespace edgecv {

std::size_t DecodeYoloCpu(HeadView head, std::size_t num_anchors, const Selection& selection,
                          const Suppression& suppression, const Detections& out) {
  if (num_anchors == 0) return 0;  // there may be no memory to point into
  Candidates& found = Candidates::Begin(selection.score_threshold);
  FindCandidates(head.From(4, 0), num_anchors, selection, found);
  const auto boxes_of = [head](const std::uint32_t* anchors, std::size_t count, Box* boxes) {
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = anchors[k];
      const float cx = head.at(0, i), cy = head.at(1, i);
      const float half_w = 0.5f * head.at(2, i), half_h = 0.5f * head.at(3, i);
      boxes[k] = {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
    }
  };
  return found.Suppress(num_anchors, selection, suppression, boxes_of, out);
}

std::size_t DecodeYoloDflCpu(HeadView head, const float* points, std::size_t num_anchors,
                             std::size_t num_bins, const Selection& selection,
                             const Suppression& suppression, const Detections& out) {
  if (num_anchors == 0) return 0;  // there may be no memory to point into
  Candidates& found = Candidates::Begin(selection.score_threshold);
  FindSigmoidCandidates(head.From(4 * num_bins, 0), num_anchors, selection, found);
  const auto boxes_of = [=](const std::uint32_t* anchors, std::size_t count, Box* boxes) {
    DistributionBoxes(head, num_bins, points, anchors, count, boxes);
  };
  return found.Suppress(num_anchors, selection, suppression, boxes_of, out);
}

}  // namespace edgecv
