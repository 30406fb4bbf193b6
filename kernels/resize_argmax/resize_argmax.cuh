// CUDA implementation of resize_argmax.h: the same contract for a batch, with device pointers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "resize_argmax/resize_argmax.h"

namespace edgecv {

enum class LogitsLayout {
  kFloat,      // planes of float
  kHalf,       // planes of __half
  kHalfHwc8,   // __half, the classes of a pixel side by side (TensorRT's kHWC8): class c of image n
               // is ((n * height + y) * width + x) * 8 * ceil(num_classes / 8) + c; classes past
               // the last may hold anything; 16-byte alignment
};

// The logits of `batch` images, one after the other.
struct DeviceLogits {
  const void* values;
  LogitsLayout layout;
  std::size_t batch, num_classes, height, width;
};

// Asynchronous on `stream`; returns the status of the launch alone. `labels` and `confidence` hold
// the images one after the other; batch == 0 is valid and touches no memory. Labels are those of
// ResizeArgmaxCpu but where two classes differ by rounding alone; with and without `confidence` they
// are the same.
cudaError_t ResizeArgmaxCuda(const DeviceLogits& logits, AxisMap map_y, AxisMap map_x,
                             std::size_t out_height, std::size_t out_width, std::uint8_t* labels,
                             float* confidence, cudaStream_t stream);

}  // namespace edgecv
