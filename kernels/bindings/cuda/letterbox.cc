#include "letterbox/letterbox.cuh"

#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/cuda/cuda_bindings.h"
#include "bindings/letterbox_names.h"

namespace edgecv::bindings {
namespace {

using Pair = std::array<std::ptrdiff_t, 2>;

// The planes, each an address and the bytes from a row to the next; the frame's height and width,
// the resized frame's, and where its corner lies, x and y.
using PlacedPlanes = std::tuple<std::vector<std::pair<Address, std::ptrdiff_t>>, Pair, Pair, Pair>;

}  // namespace

void BindCudaLetterbox(nb::module_& m) {
  m.attr("letterbox_frames_per_launch") = kFramesPerLaunch;
  m.def("letterbox",
        [](const std::vector<PlacedPlanes>& frames, std::string_view format,
           std::string_view matrix, std::string_view range, std::string_view interpolation,
           std::string_view colour, std::array<float, 3> gain, std::array<float, 3> bias, float pad,
           std::string_view dtype, std::string_view layout, Pair size_hw, Address out, int device,
           Address stream) {
          std::vector<PlacedFrame> placed;
          placed.reserve(frames.size());
          for (const auto& [planes, frame_hw, resized_hw, offset_xy] : frames) {
            Frame frame{FormatNamed(format), MatrixNamed(matrix), RangeNamed(range), frame_hw[0],
                        frame_hw[1], {}};
            for (std::size_t i = 0; i < std::min(planes.size(), frame.planes.size()); ++i) {
              frame.planes[i].data = At<const std::uint8_t>(planes[i].first);
              frame.planes[i].row_stride = planes[i].second;
            }
            placed.push_back({frame, {resized_hw[0], resized_hw[1], offset_xy[0], offset_xy[1]}});
          }
          const Normalisation norm{ColourNamed(colour), pad, gain, bias};
          const Input input{At<void>(out), TypeNamed(dtype), IsChannelsLast(layout), size_hw[0],
                            size_hw[1]};
          const Interpolation how = InterpolationNamed(interpolation);
          Enqueue("letterbox", device, stream, [&](cudaStream_t on) {
            return LetterboxCuda(placed.data(), placed.size(), how, norm, input, on);
          });
        },
        "frames"_a, "pixel_format"_a, "matrix"_a, "colour_range"_a, "interpolation"_a, "colour"_a,
        "gain"_a, "bias"_a, "pad"_a, "dtype"_a, "layout"_a, "size_hw"_a, "out"_a, "device"_a,
        "stream"_a);
}

}  // namespace edgecv::bindings
