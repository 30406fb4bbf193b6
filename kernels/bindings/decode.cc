#include "bindings/bindings.h"

#include <cstddef>
#include <cstdint>

#include "decode_nanodet/decode_nanodet.h"
#include "decode_ssd/decode_ssd.h"
#include "decode_yolo/decode_yolo.h"
#include "decode_yolox/decode_yolox.h"

namespace edgecv::bindings {
namespace {

using Points = nb::ndarray<const float, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using OutBoxes = nb::ndarray<float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using OutScores = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutClassIds = nb::ndarray<std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The three buffers of a decoder's output, which must have `rows` rows each.
Candidates CandidatesIn(const OutBoxes& boxes, const OutScores& scores,
                                const OutClassIds& class_ids, std::size_t rows) {
  Require(boxes.shape(0) == rows && scores.shape(0) == rows && class_ids.shape(0) == rows,
          "decode: `boxes`, `scores` and `class_ids` must have a row per possible candidate.");
  return {boxes.data(), scores.data(), class_ids.data()};
}

std::size_t RowsNeeded(std::size_t num_anchors, const Selection& selection) {
  return selection.multi_label ? num_anchors * selection.num_classes : num_anchors;
}

// `head` with anchors as rows, or as columns if `channels_first`.
HeadView View(const Matrix& head, bool channels_first) {
  const std::size_t columns = head.shape(1);
  return channels_first ? HeadView{head.data(), columns, 1}
                        : HeadView{head.data(), 1, columns};
}

}  // namespace

void BindDecode(nb::module_& m) {
  m.def(
      "decode_ssd_cpu",
      [](Boxes offsets, Matrix logits, Boxes anchors_cxcywh, float centre_variance,
         float size_variance, float score_threshold, OutBoxes boxes, OutScores scores,
         OutClassIds class_ids) {
        const std::size_t n = offsets.shape(0);
        Require(logits.shape(0) == n && anchors_cxcywh.shape(0) == n && logits.shape(1) >= 2,
                "decode_ssd_cpu: `logits` and `anchors_cxcywh` must have a row per anchor, and "
                "`logits` a background and a class.");
        const SsdHead head{offsets.data(), logits.data(),       anchors_cxcywh.data(), n,
                                   logits.shape(1) - 1, centre_variance, size_variance};
        const auto out = CandidatesIn(boxes, scores, class_ids, n * head.num_classes);
        const WithoutGil nogil;
        return DecodeSsdCpu(head, score_threshold, out);
      },
      "offsets"_a.noconvert(), "logits"_a.noconvert(), "anchors_cxcywh"_a.noconvert(),
      "centre_variance"_a, "size_variance"_a, "score_threshold"_a, "boxes"_a.noconvert(),
      "scores"_a.noconvert(), "class_ids"_a.noconvert());

  m.def(
      "decode_yolo_cpu",
      [](Matrix head, bool channels_first, float score_threshold, bool multi_label, OutBoxes boxes,
         OutScores scores, OutClassIds class_ids) {
        const std::size_t channels = head.shape(channels_first ? 0 : 1);
        const std::size_t n = head.shape(channels_first ? 1 : 0);
        Require(channels > 4, "decode_yolo_cpu: `head` must have more than 4 channels.");
        const Selection selection{channels - 4, score_threshold, multi_label};
        const auto out = CandidatesIn(boxes, scores, class_ids, RowsNeeded(n, selection));
        const WithoutGil nogil;
        return DecodeYoloCpu(View(head, channels_first), n, selection, out);
      },
      "head"_a.noconvert(), "channels_first"_a, "score_threshold"_a, "multi_label"_a,
      "boxes"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert());

  m.def(
      "decode_yolo_dfl_cpu",
      [](Matrix head, bool channels_first, Points points, std::size_t num_bins,
         float score_threshold, bool multi_label, OutBoxes boxes, OutScores scores,
         OutClassIds class_ids) {
        const std::size_t channels = head.shape(channels_first ? 0 : 1);
        const std::size_t n = points.shape(0);
        Require(num_bins > 0 && channels > 4 * num_bins && head.shape(channels_first ? 1 : 0) == n,
                "decode_yolo_dfl_cpu: `head` must have more than 4 * num_bins channels and an "
                "anchor per point.");
        const Selection selection{channels - 4 * num_bins, score_threshold, multi_label};
        const auto out = CandidatesIn(boxes, scores, class_ids, RowsNeeded(n, selection));
        const WithoutGil nogil;
        return DecodeYoloDflCpu(View(head, channels_first), points.data(), n, num_bins,
                                        selection, out);
      },
      "head"_a.noconvert(), "channels_first"_a, "points"_a.noconvert(), "num_bins"_a,
      "score_threshold"_a, "multi_label"_a, "boxes"_a.noconvert(), "scores"_a.noconvert(),
      "class_ids"_a.noconvert());

  m.def(
      "decode_yolox_cpu",
      [](Matrix head, Points points, float score_threshold, bool multi_label, OutBoxes boxes,
         OutScores scores, OutClassIds class_ids) {
        const std::size_t n = points.shape(0);
        Require(head.shape(0) == n && head.shape(1) > 5,
                "decode_yolox_cpu: `head` must have a row per point and more than 5 columns.");
        const Selection selection{head.shape(1) - 5, score_threshold, multi_label};
        const auto out = CandidatesIn(boxes, scores, class_ids, RowsNeeded(n, selection));
        const WithoutGil nogil;
        return DecodeYoloxCpu(head.data(), points.data(), n, selection, out);
      },
      "head"_a.noconvert(), "points"_a.noconvert(), "score_threshold"_a, "multi_label"_a,
      "boxes"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert());

  m.def(
      "decode_nanodet_cpu",
      [](Matrix head, Points points, std::size_t num_bins, float score_threshold, bool multi_label,
         OutBoxes boxes, OutScores scores, OutClassIds class_ids) {
        const std::size_t n = points.shape(0);
        Require(num_bins > 0 && head.shape(0) == n && head.shape(1) > 4 * num_bins,
                "decode_nanodet_cpu: `head` must have a row per point and more than 4 * num_bins "
                "columns.");
        const Selection selection{head.shape(1) - 4 * num_bins, score_threshold,
                                          multi_label};
        const auto out = CandidatesIn(boxes, scores, class_ids, RowsNeeded(n, selection));
        const WithoutGil nogil;
        return DecodeNanodetCpu(head.data(), points.data(), n, num_bins, selection, out);
      },
      "head"_a.noconvert(), "points"_a.noconvert(), "num_bins"_a, "score_threshold"_a,
      "multi_label"_a, "boxes"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert());
}

}  // namespace edgecv::bindings
