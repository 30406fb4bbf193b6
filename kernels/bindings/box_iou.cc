#include "box_iou/box_iou.h"

#include <cstddef>

#include "bindings/bindings.h"

namespace edgecv::bindings {
namespace {

using Pairs = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

}  // namespace

void BindBoxIou(nb::module_& m) {
  m.def(
      "box_iou_cpu",
      [](Boxes a_xyxy, Boxes b_xyxy, int kind, Pairs out) {
        const std::size_t rows = a_xyxy.shape(0), columns = b_xyxy.shape(0);
        Require(out.shape(0) == rows && out.shape(1) == columns,
                "box_iou_cpu: `out` must have shape (len(a_xyxy), len(b_xyxy)).");
        Require(0 <= kind && kind <= static_cast<int>(Overlap::kCiou),
                "box_iou_cpu: `kind` must be 0 (iou), 1 (giou), 2 (diou) or 3 (ciou).");
        const WithoutGil nogil;
        BoxIouCpu(a_xyxy.data(), rows, b_xyxy.data(), columns, static_cast<Overlap>(kind),
                  out.data());
      },
      "a_xyxy"_a.noconvert(), "b_xyxy"_a.noconvert(), "kind"_a, "out"_a.noconvert());
}

}  // namespace edgecv::bindings
