#include "bindings/bindings.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "resize_argmax/resize_argmax.h"

namespace edgecv::bindings {
namespace {

using LogitPlanes = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Labels = nb::ndarray<std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Confidence = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

}  // namespace

void BindResizeArgmax(nb::module_& m) {
  m.def(
      "resize_argmax_cpu",
      [](LogitPlanes logits, std::array<float, 2> scale_yx, std::array<float, 2> bias_yx,
         Labels out, std::optional<Confidence> confidence) {
        const auto [sides_least, sides_most] =
            std::minmax({logits.shape(1), logits.shape(2), out.shape(0), out.shape(1)});
        Require(sides_least >= 1 && sides_most <= kMaxSide && logits.shape(0) >= 1 &&
                    logits.shape(0) <= 256,
                "resize_argmax_cpu: `logits` must hold 1 to 256 classes, and sides must be at "
                "least 1 and at most 2**22.");
        Require(!confidence || (confidence->shape(0) == out.shape(0) &&
                                confidence->shape(1) == out.shape(1)),
                "resize_argmax_cpu: `confidence` must have the shape of `out`.");
        const Logits source{logits.data(), logits.shape(0), logits.shape(1), logits.shape(2)};
        const WithoutGil nogil;
        ResizeArgmaxCpu(source, {scale_yx[0], bias_yx[0]}, {scale_yx[1], bias_yx[1]}, out.shape(0),
                        out.shape(1), out.data(), confidence ? confidence->data() : nullptr);
      },
      "logits"_a.noconvert(), "scale_yx"_a, "bias_yx"_a, "out"_a.noconvert(),
      "confidence"_a.noconvert().none());
}

}  // namespace edgecv::bindings
