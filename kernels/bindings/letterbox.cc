#include "bindings/bindings.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "bindings/letterbox_names.h"
#include "letterbox/letterbox.h"

namespace edgecv::bindings {
namespace {

// Rows may lie anywhere; the bytes of a row are dense.
using Pixels = nb::ndarray<const std::uint8_t, nb::device::cpu>;
using Tensor = nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>;

Plane ToPlane(const Pixels& pixels) {
  Require(pixels.ndim() >= 2, "letterbox_cpu: a plane must have rows and columns.");
  std::ptrdiff_t row_bytes = 1;
  for (std::size_t axis = pixels.ndim(); axis-- > 1;) {
    const auto side = static_cast<std::ptrdiff_t>(pixels.shape(axis));
    Require(side == 1 || pixels.stride(axis) == row_bytes,
            "letterbox_cpu: a plane must hold each row densely.");
    row_bytes *= side;
  }
  Require(row_bytes <= std::numeric_limits<std::int32_t>::max(),
          "letterbox_cpu: a row must be shorter than 2 GiB.");
  return {pixels.data(), static_cast<std::ptrdiff_t>(pixels.shape(0)), row_bytes,
          pixels.stride(0)};
}

ElementType TypeOf(const Tensor& tensor) {
  if (tensor.dtype() == nb::dtype<float>()) return ElementType::kFloat32;
  if (tensor.dtype() == nb::dtype<std::uint8_t>()) return ElementType::kUint8;
  const bool is_half = tensor.dtype().code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float) &&
                       tensor.dtype().bits == 16 && tensor.dtype().lanes == 1;
  Require(is_half, "letterbox_cpu: `out` must be float32, float16 or uint8.");
  return ElementType::kFloat16;
}

}  // namespace

void BindLetterbox(nb::module_& m) {
  m.def(
      "letterbox_cpu",
      [](const std::vector<Pixels>& planes, std::string_view format, std::string_view matrix,
         std::string_view range, std::array<std::ptrdiff_t, 2> frame_hw,
         std::array<std::ptrdiff_t, 2> resized_hw, std::array<std::ptrdiff_t, 2> offset_xy,
         std::string_view interpolation, std::string_view colour, std::array<float, 3> gain,
         std::array<float, 3> bias, float pad, std::string_view layout, Tensor out) {
        Frame frame{FormatNamed(format), MatrixNamed(matrix), RangeNamed(range), frame_hw[0],
                    frame_hw[1], {}};
        Require(planes.size() <= frame.planes.size(), "letterbox_cpu: `planes` must be 1 to 3.");
        for (std::size_t i = 0; i < planes.size(); ++i) frame.planes[i] = ToPlane(planes[i]);
        Require(PlanesFit(frame, planes.size()),
                "letterbox_cpu: `planes` must hold a frame of `frame_hw` in this format.");
        Require(resized_hw[0] >= 1 && resized_hw[1] >= 1,
                "letterbox_cpu: `resized_hw` must be at least 1.");
        const Normalisation norm{ColourNamed(colour), pad, gain, bias};
        const bool channels_last = IsChannelsLast(layout);
        const std::size_t rows_axis = channels_last ? 0 : 1;
        Require(out.shape(channels_last ? 2 : 0) == (norm.colour == Colour::kGray ? 1u : 3u),
                "letterbox_cpu: `out` must have a plane per channel of `colour`.");
        const Input input{out.data(), TypeOf(out), channels_last,
                          static_cast<std::ptrdiff_t>(out.shape(rows_axis)),
                          static_cast<std::ptrdiff_t>(out.shape(rows_axis + 1))};
        const Interpolation how = InterpolationNamed(interpolation);
        const WithoutGil nogil;
        LetterboxCpu(frame, {resized_hw[0], resized_hw[1], offset_xy[0], offset_xy[1]}, how, norm,
                     input);
      },
      "planes"_a.noconvert(), "pixel_format"_a, "matrix"_a, "colour_range"_a, "frame_hw"_a, "resized_hw"_a,
      "offset_xy"_a, "interpolation"_a, "colour"_a, "gain"_a, "bias"_a, "pad"_a, "layout"_a,
      "out"_a.noconvert());
}

}  // namespace edgecv::bindings
