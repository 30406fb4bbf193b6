// CUDA implementation of box_iou.h: the same contract, with device pointers.
#pragma once

#include <cuda_runtime_api.h>

#include "box_iou/box_iou.h"

namespace edgecv {

// Asynchronous on `stream`; returns the status of the launch alone.
cudaError_t BoxIouCuda(const float* a_xyxy, std::size_t n, const float* b_xyxy, std::size_t m,
                       Overlap kind, float* out, cudaStream_t stream);

}  // namespace edgecv
