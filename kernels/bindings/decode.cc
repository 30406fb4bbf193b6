#include "bindings/bindings.h"

#include <nanobind/stl/array.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "decode_nanodet/decode_nanodet.h"
#include "decode_ssd/decode_ssd.h"
#include "decode_yolo/decode_yolo.h"
#include "decode_yolox/decode_yolox.h"

namespace edgecv::bindings {
namespace {

using Pair = std::array<float, 2>;
using Points = nb::ndarray<const float, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using OutBoxes = nb::ndarray<float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using OutScores = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using OutClassIds = nb::ndarray<std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Detections DetectionsIn(const OutBoxes& boxes, const OutScores& scores,
                        const OutClassIds& class_ids) {
  const std::size_t rows = boxes.shape(0);
  Require(scores.shape(0) == rows && class_ids.shape(0) == rows,
          "decode: `boxes`, `scores` and `class_ids` must have equally many rows.");
  return {boxes.data(), scores.data(), class_ids.data(), rows};
}

// `head` with anchors as rows, or as columns if `channels_first`, and its sides.
struct Head {
  Head(const Matrix& head, bool channels_first)
      : num_channels(head.shape(channels_first ? 0 : 1)),
        num_anchors(head.shape(channels_first ? 1 : 0)),
        view{head.data(), channels_first ? num_anchors : 1, channels_first ? 1 : num_channels} {}

  std::size_t num_channels, num_anchors;
  HeadView view;
};

// The number of classes of a head whose other channels are `num_others`. Keys number the pairs with
// 32 bits (common/class_search.h).
std::size_t NumClasses(const Head& head, std::size_t num_others) {
  Require(head.num_channels > num_others,
          "decode: the head must have a channel per class besides those of the box.");
  const std::size_t num_classes = head.num_channels - num_others;
  Require(head.num_anchors <= UINT32_MAX / num_classes,
          "decode: the head must have fewer than 2**32 pairs of an anchor and a class.");
  return num_classes;
}

std::size_t NumBoxChannels(std::size_t num_bins) {
  Require(num_bins > 0 && num_bins <= UINT32_MAX, "decode: `num_bins` must be positive.");
  return 4 * num_bins;
}

void RequirePoints(const Head& head, const Points& points) {
  Require(points.shape(0) == head.num_anchors, "decode: `head` must have an anchor per point.");
}

// Binds a decoder of distances that are distributions over `num_bins` strides.
template <auto kDecode>
void BindDistributionDecoder(nb::module_& m, const char* name) {
  m.def(
      name,
      [](Matrix head, bool channels_first, Points points, std::size_t num_bins,
         float score_threshold, bool multi_label, double iou_threshold, bool class_agnostic,
         Pair scale_xy, Pair offset_xy, OutBoxes boxes, OutScores scores, OutClassIds class_ids) {
        const Head source(head, channels_first);
        RequirePoints(source, points);
        const Selection selection{NumClasses(source, NumBoxChannels(num_bins)), score_threshold,
                                  multi_label};
        const Detections out = DetectionsIn(boxes, scores, class_ids);
        const WithoutGil nogil;
        return kDecode(source.view, points.data(), source.num_anchors, num_bins, selection,
                       {iou_threshold, class_agnostic, scale_xy, offset_xy}, out);
      },
      "head"_a.noconvert(), "channels_first"_a, "points"_a.noconvert(), "num_bins"_a,
      "score_threshold"_a, "multi_label"_a, "iou_threshold"_a, "class_agnostic"_a, "scale_xy"_a,
      "offset_xy"_a, "boxes"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert());
}

}  // namespace

void BindDecode(nb::module_& m) {
  m.def(
      "decode_ssd_cpu",
      [](Matrix offsets, Matrix logits, bool channels_first, Boxes anchors_cxcywh,
         float centre_variance, float size_variance, bool sigmoid, float score_threshold,
         double iou_threshold, bool class_agnostic, Pair scale_xy, Pair offset_xy, OutBoxes boxes,
         OutScores scores, OutClassIds class_ids) {
        const Head offset_head(offsets, channels_first), logit_head(logits, channels_first);
        const std::size_t n = anchors_cxcywh.shape(0);
        Require(offset_head.num_channels == 4 && offset_head.num_anchors == n &&
                    logit_head.num_anchors == n,
                "decode_ssd_cpu: `offsets` must have 4 channels, and both heads an anchor per row "
                "of `anchors_cxcywh`.");
        const SsdHead head{offset_head.view,
                           logit_head.view,
                           anchors_cxcywh.data(),
                           n,
                           NumClasses(logit_head, sigmoid ? 0 : 1),
                           centre_variance,
                           size_variance,
                           sigmoid ? Activation::kSigmoid : Activation::kSoftmax};
        const Detections out = DetectionsIn(boxes, scores, class_ids);
        const WithoutGil nogil;
        return DecodeSsdCpu(head, score_threshold,
                            {iou_threshold, class_agnostic, scale_xy, offset_xy}, out);
      },
      "offsets"_a.noconvert(), "logits"_a.noconvert(), "channels_first"_a,
      "anchors_cxcywh"_a.noconvert(), "centre_variance"_a, "size_variance"_a, "sigmoid"_a,
      "score_threshold"_a, "iou_threshold"_a, "class_agnostic"_a, "scale_xy"_a, "offset_xy"_a,
      "boxes"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert());

  m.def(
      "decode_yolo_cpu",
      [](Matrix head, bool channels_first, float score_threshold, bool multi_label,
         double iou_threshold, bool class_agnostic, Pair scale_xy, Pair offset_xy, OutBoxes boxes,
         OutScores scores, OutClassIds class_ids) {
        const Head source(head, channels_first);
        const Selection selection{NumClasses(source, 4), score_threshold, multi_label};
        const Detections out = DetectionsIn(boxes, scores, class_ids);
        const WithoutGil nogil;
        return DecodeYoloCpu(source.view, source.num_anchors, selection,
                             {iou_threshold, class_agnostic, scale_xy, offset_xy}, out);
      },
      "head"_a.noconvert(), "channels_first"_a, "score_threshold"_a, "multi_label"_a,
      "iou_threshold"_a, "class_agnostic"_a, "scale_xy"_a, "offset_xy"_a, "boxes"_a.noconvert(),
      "scores"_a.noconvert(), "class_ids"_a.noconvert());

  BindDistributionDecoder<DecodeYoloDflCpu>(m, "decode_yolo_dfl_cpu");

  m.def(
      "decode_yolox_cpu",
      [](Matrix head, bool channels_first, Points points, float score_threshold, bool multi_label,
         double iou_threshold, bool class_agnostic, Pair scale_xy, Pair offset_xy, OutBoxes boxes,
         OutScores scores, OutClassIds class_ids) {
        const Head source(head, channels_first);
        RequirePoints(source, points);
        const Selection selection{NumClasses(source, 5), score_threshold, multi_label};
        const Detections out = DetectionsIn(boxes, scores, class_ids);
        const WithoutGil nogil;
        return DecodeYoloxCpu(source.view, points.data(), source.num_anchors, selection,
                              {iou_threshold, class_agnostic, scale_xy, offset_xy}, out);
      },
      "head"_a.noconvert(), "channels_first"_a, "points"_a.noconvert(), "score_threshold"_a,
      "multi_label"_a, "iou_threshold"_a, "class_agnostic"_a, "scale_xy"_a, "offset_xy"_a,
      "boxes"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert());

  BindDistributionDecoder<DecodeNanodetCpu>(m, "decode_nanodet_cpu");
}

}  // namespace edgecv::bindings
