#include "bindings/bindings.h"

#include <nanobind/stl/array.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "letterbox/letterbox.h"

namespace edgecv::bindings {
namespace {

// Rows of packed pixels may lie anywhere; the caller sees to it that the pixels of a row are dense.
using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using Planes = nb::ndarray<float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;

}  // namespace

void BindLetterbox(nb::module_& m) {
  m.def(
      "letterbox_cpu",
      [](Pixels frame, std::array<std::ptrdiff_t, 2> resized_hw,
         std::array<std::ptrdiff_t, 2> offset_xy, bool reverse_channels,
         std::array<float, 3> gain, std::array<float, 3> bias, float pad, Planes out) {
        Require(frame.stride(2) == 1 && frame.stride(1) == 3,
                "letterbox_cpu: `frame` must hold each row densely.");
        const Frame source{frame.data(), static_cast<std::ptrdiff_t>(frame.shape(0)),
                                   static_cast<std::ptrdiff_t>(frame.shape(1)), frame.stride(0)};
        const FramePlacement placement{resized_hw[0], resized_hw[1], offset_xy[0],
                                               offset_xy[1]};
        const WithoutGil nogil;
        LetterboxCpu(source, placement, {reverse_channels, pad, gain, bias},
                             static_cast<std::ptrdiff_t>(out.shape(1)),
                             static_cast<std::ptrdiff_t>(out.shape(2)), out.data());
      },
      "frame"_a.noconvert(), "resized_hw"_a, "offset_xy"_a, "reverse_channels"_a, "gain"_a,
      "bias"_a, "pad"_a, "out"_a.noconvert());
}

}  // namespace edgecv::bindings
