#include "soft_nms/soft_nms.h"

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "bindings/bindings.h"

namespace edgecv::bindings {
namespace {

using Rows = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using KeptScores = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

}  // namespace

void BindSoftNms(nb::module_& m) {
  m.def(
      "soft_nms_cpu",
      [](Boxes boxes_xyxy, Scores scores, std::optional<ClassIds> class_ids, bool gaussian,
         double sigma, double iou_threshold, double score_threshold, std::size_t max_detections,
         Rows kept, KeptScores kept_scores) {
        const std::size_t n = boxes_xyxy.shape(0);
        Require(scores.shape(0) == n && (!class_ids || class_ids->shape(0) == n),
                "soft_nms_cpu: `scores` and `class_ids` must have a row per box.");
        Require(n < (std::uint64_t{1} << 32), "soft_nms_cpu: there must be fewer than 2^32 boxes.");
        const std::size_t room = std::min(kept.shape(0), kept_scores.shape(0));
        Require(room >= std::min(n, max_detections),
                "soft_nms_cpu: `kept` and `kept_scores` must have room for "
                "min(len(boxes_xyxy), max_detections) rows.");
        const WithoutGil nogil;
        return SoftNmsCpu(boxes_xyxy.data(), scores.data(),
                          class_ids ? class_ids->data() : nullptr, n,
                          {gaussian, sigma, iou_threshold}, score_threshold, max_detections,
                          kept.data(), kept_scores.data());
      },
      "boxes_xyxy"_a.noconvert(), "scores"_a.noconvert(), "class_ids"_a.noconvert().none(),
      "gaussian"_a, "sigma"_a, "iou_threshold"_a, "score_threshold"_a, "max_detections"_a,
      "kept"_a.noconvert(), "kept_scores"_a.noconvert());
}

}  // namespace edgecv::bindings
