#include "resize_argmax/resize_argmax.cuh"

#include <nanobind/stl/array.h>

#include <array>

#include "bindings/cuda/cuda_bindings.h"

namespace edgecv::bindings {

void BindCudaResizeArgmax(nb::module_& m) {
  m.def("resize_argmax",
        [](Address logits, int layout, std::array<std::size_t, 4> shape_nchw,
           std::array<float, 2> scale_yx, std::array<float, 2> bias_yx,
           std::array<std::size_t, 2> size_hw, Address labels, Address confidence, int device,
           Address stream) {
          const auto [batch, num_classes, height, width] = shape_nchw;
          const DeviceLogits source = {At<const void>(logits), static_cast<LogitsLayout>(layout),
                                       batch, num_classes, height, width};
          Enqueue("resize_argmax", device, stream, [&](cudaStream_t on) {
            return ResizeArgmaxCuda(source, {scale_yx[0], bias_yx[0]}, {scale_yx[1], bias_yx[1]},
                                    size_hw[0], size_hw[1], At<std::uint8_t>(labels),
                                    At<float>(confidence), on);
          });
        },
        "logits"_a, "layout"_a, "shape_nchw"_a, "scale_yx"_a, "bias_yx"_a, "size_hw"_a, "labels"_a,
        "confidence"_a, "device"_a, "stream"_a);
}

}  // namespace edgecv::bindings
