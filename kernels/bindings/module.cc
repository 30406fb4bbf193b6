// Python bindings. This file only translates: the array types state dtype, shape, order and
// device, so that a wrong array is refused before a kernel runs. No arithmetic belongs here.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "decode_nanodet/decode_nanodet.h"
#include "decode_ssd/decode_ssd.h"
#include "decode_yolo/decode_yolo.h"
#include "decode_yolox/decode_yolox.h"
#include "letterbox/letterbox.h"
#include "nms/nms.h"

namespace nb = nanobind;
using namespace nb::literals;

// Rows of packed pixels may lie anywhere; the caller sees to it that the pixels of a row are dense.
using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using Planes = nb::ndarray<float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Points = nb::ndarray<const float, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using ClassIds = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutBoxes = nb::ndarray<float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using OutScores = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutClassIds = nb::ndarray<std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

namespace {

void Require(bool holds, const char* message) {
  if (!holds) throw nb::value_error(message);
}

// The three buffers of a decoder's output, which must have `rows` rows each.
edgecv::Candidates CandidatesIn(const OutBoxes& boxes, const OutScores& scores,
                                const OutClassIds& class_ids, std::size_t rows) {
  Require(boxes.shape(0) == rows && scores.shape(0) == rows && class_ids.shape(0) == rows,
          "decode: `boxes`, `scores` and `class_ids` must have a row per possible candidate.");
  return {boxes.data(), scores.data(), class_ids.data()};
}

std::size_t RowsNeeded(std::size_t num_anchors, const edgecv::Selection& selection) {
  return selection.multi_label ? num_anchors * selection.num_classes : num_anchors;
}

// `head` with anchors as rows, or as columns if `channels_first`.
edgecv::HeadView View(const Matrix& head, bool channels_first) {
  const std::size_t columns = head.shape(1);
  return channels_first ? edgecv::HeadView{head.data(), columns, 1}
                        : edgecv::HeadView{head.data(), 1, columns};
}

}  // namespace

NB_MODULE(_native, m) {
  m.def(
      "letterbox_cpu",
      [](Pixels frame, std::array<std::ptrdiff_t, 2> resized_hw,
         std::array<std::ptrdiff_t, 2> offset_xy, bool reverse_channels,
         std::array<float, 3> gain, std::array<float, 3> bias, float pad, Planes out) {
        Require(frame.stride(2) == 1 && frame.stride(1) == 3,
                "letterbox_cpu: `frame` must hold each row densely.");
        const edgecv::Frame source{frame.data(), static_cast<std::ptrdiff_t>(frame.shape(0)),
                                   static_cast<std::ptrdiff_t>(frame.shape(1)), frame.stride(0)};
        const edgecv::FramePlacement placement{resized_hw[0], resized_hw[1], offset_xy[0],
                                               offset_xy[1]};
        nb::gil_scoped_release nogil;
        edgecv::LetterboxCpu(source, placement, {reverse_channels, pad, gain, bias},
                             static_cast<std::ptrdiff_t>(out.shape(1)),
                             static_cast<std::ptrdiff_t>(out.shape(2)), out.data());
      },
      "frame"_a.noconvert(), "resized_hw"_a, "offset_xy"_a, "reverse_channels"_a, "gain"_a,
      "bias"_a, "pad"_a, "out"_a.noconvert());

  m.def(
      "nms_cpu",
      [](Boxes boxes_xyxy, Scores scores, std::optional<ClassIds> class_ids, double iou_threshold,
         std::size_t max_detections, Rows kept) {
        const std::size_t n = boxes_xyxy.shape(0);
        Require(scores.shape(0) == n && (!class_ids || class_ids->shape(0) == n),
                "nms_cpu: `scores` and `class_ids` must have a row per box.");
        Require(kept.shape(0) >= (n < max_detections ? n : max_detections),
                "nms_cpu: `kept` must have room for min(len(boxes_xyxy), max_detections) rows.");
        nb::gil_scoped_release nogil;
        return edgecv::NmsCpu(boxes_xyxy.data(), scores.data(),
                              class_ids ? class_ids->data() : nullptr, n, iou_threshold,
                              max_detections, kept.data());
      },
      "boxes_xyxy"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert().none(),
      "iou_threshold"_a, "max_detections"_a, "kept"_a.noconvert());

  m.def(
      "decode_ssd_cpu",
      [](Boxes offsets, Matrix logits, Boxes anchors_cxcywh, float centre_variance,
         float size_variance, float score_threshold, OutBoxes boxes, OutScores scores,
         OutClassIds class_ids) {
        const std::size_t n = offsets.shape(0);
        Require(logits.shape(0) == n && anchors_cxcywh.shape(0) == n && logits.shape(1) >= 2,
                "decode_ssd_cpu: `logits` and `anchors_cxcywh` must have a row per anchor, and "
                "`logits` a background and a class.");
        const edgecv::SsdHead head{offsets.data(), logits.data(),       anchors_cxcywh.data(), n,
                                   logits.shape(1) - 1, centre_variance, size_variance};
        const auto out = CandidatesIn(boxes, scores, class_ids, n * head.num_classes);
        nb::gil_scoped_release nogil;
        return edgecv::DecodeSsdCpu(head, score_threshold, out);
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
        const edgecv::Selection selection{channels - 4, score_threshold, multi_label};
        const auto out = CandidatesIn(boxes, scores, class_ids, RowsNeeded(n, selection));
        nb::gil_scoped_release nogil;
        return edgecv::DecodeYoloCpu(View(head, channels_first), n, selection, out);
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
        const edgecv::Selection selection{channels - 4 * num_bins, score_threshold, multi_label};
        const auto out = CandidatesIn(boxes, scores, class_ids, RowsNeeded(n, selection));
        nb::gil_scoped_release nogil;
        return edgecv::DecodeYoloDflCpu(View(head, channels_first), points.data(), n, num_bins,
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
        const edgecv::Selection selection{head.shape(1) - 5, score_threshold, multi_label};
        const auto out = CandidatesIn(boxes, scores, class_ids, RowsNeeded(n, selection));
        nb::gil_scoped_release nogil;
        return edgecv::DecodeYoloxCpu(head.data(), points.data(), n, selection, out);
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
        const edgecv::Selection selection{head.shape(1) - 4 * num_bins, score_threshold,
                                          multi_label};
        const auto out = CandidatesIn(boxes, scores, class_ids, RowsNeeded(n, selection));
        nb::gil_scoped_release nogil;
        return edgecv::DecodeNanodetCpu(head.data(), points.data(), n, num_bins, selection, out);
      },
      "head"_a.noconvert(), "points"_a.noconvert(), "num_bins"_a, "score_threshold"_a,
      "multi_label"_a, "boxes"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert());
}
