#include "edge_nms/edge_nms.h"

#include <nanobind/stl/optional.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "bindings/bindings.h"

namespace edgecv::bindings {
namespace {

template <typename Element, int... kSides>
using Batch = nb::ndarray<Element, nb::shape<kSides...>, nb::c_contig, nb::device::cpu>;
using ScoresOfBatch = nb::ndarray<nb::ro, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Rows = Batch<std::int32_t, -1, -1>;

bool IsHalf(nb::dlpack::dtype type) {
  const bool is_float = type.code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float);
  Require(is_float && type.lanes == 1 && (type.bits == 16 || type.bits == 32),
          "edge_nms_cpu: `scores` must be float32 or float16.");
  return type.bits == 16;
}

}  // namespace

void BindEdgeNms(nb::module_& m) {
  m.def(
      "edge_nms_cpu",
      [](Batch<const float, -1, -1, 4> boxes_xyxy, ScoresOfBatch scores, bool classes_first,
         float score_threshold, float iou_threshold, bool class_agnostic,
         std::int32_t background_class, Batch<std::int32_t, -1> num_detections,
         Batch<float, -1, -1, 4> out_boxes, Batch<float, -1, -1> out_scores, Rows class_ids,
         std::optional<Rows> box_rows) {
        const std::size_t num_images = boxes_xyxy.shape(0), num_boxes = boxes_xyxy.shape(1);
        const std::size_t k = class_ids.shape(1);
        const EdgeNmsShape shape{num_images, num_boxes, scores.shape(classes_first ? 1 : 2),
                                 classes_first, IsHalf(scores.dtype())};
        Require(scores.shape(0) == num_images && scores.shape(classes_first ? 2 : 1) == num_boxes,
                "edge_nms_cpu: `scores` must have a row per box.");
        Require(shape.num_pairs() < (std::uint64_t{1} << 31),
                "edge_nms_cpu: an image must have fewer than 2^31 scores.");
        const auto has_rows = [&](const auto& out) {
          return out.shape(0) == num_images && out.shape(1) == k;
        };
        Require(num_detections.shape(0) == num_images && has_rows(out_boxes) &&
                    has_rows(out_scores) && has_rows(class_ids) &&
                    (!box_rows || has_rows(*box_rows)),
                "edge_nms_cpu: the outputs must have the same rows for each image.");
        const WithoutGil nogil;
        EdgeNmsCpu(boxes_xyxy.data(), scores.data(), shape, score_threshold, iou_threshold,
                   {k, class_agnostic, background_class},
                   {num_detections.data(), out_boxes.data(), out_scores.data(), class_ids.data(),
                    box_rows ? box_rows->data() : nullptr});
      },
      "boxes_xyxy"_a.noconvert(), "scores"_a.noconvert(), "classes_first"_a, "score_threshold"_a,
      "iou_threshold"_a, "class_agnostic"_a, "background_class"_a, "num_detections"_a.noconvert(),
      "out_boxes"_a.noconvert(), "out_scores"_a.noconvert(), "class_ids"_a.noconvert(),
      "box_rows"_a.noconvert().none());
}

}  // namespace edgecv::bindings
