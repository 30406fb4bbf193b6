#include "bindings/bindings.h"

#include <nanobind/stl/optional.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "nms/nms.h"

namespace edgecv::bindings {
namespace {

using Rows = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

}  // namespace

void BindNms(nb::module_& m) {
  m.def(
      "nms_cpu",
      [](Boxes boxes_xyxy, Scores scores, std::optional<ClassIds> class_ids, double iou_threshold,
         std::size_t max_detections, Rows kept) {
        const std::size_t n = boxes_xyxy.shape(0);
        Require(scores.shape(0) == n && (!class_ids || class_ids->shape(0) == n),
                "nms_cpu: `scores` and `class_ids` must have a row per box.");
        Require(n < (std::uint64_t{1} << 32), "nms_cpu: there must be fewer than 2^32 boxes.");
        Require(kept.shape(0) >= (n < max_detections ? n : max_detections),
                "nms_cpu: `kept` must have room for min(len(boxes_xyxy), max_detections) rows.");
        const WithoutGil nogil;
        return NmsCpu(boxes_xyxy.data(), scores.data(), class_ids ? class_ids->data() : nullptr, n,
                      iou_threshold, max_detections, kept.data());
      },
      "boxes_xyxy"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert().none(),
      "iou_threshold"_a, "max_detections"_a, "kept"_a.noconvert());
}

}  // namespace edgecv::bindings
