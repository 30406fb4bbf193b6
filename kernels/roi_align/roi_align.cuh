// CUDA implementation of roi_align.h: the same contract, with device pointers and more elements.
//
// Positions and weights are the CPU's. Sums are of float32 whatever the element, in another order
// than the CPU's and with fused products; a result is rounded to the element once.
#pragma once

#include <cuda_runtime_api.h>

#include "common/device_rois.h"
#include "common/rois.h"
#include "roi_align/roi_align.h"

namespace edgecv {

// `out`, (rois.count, channels, grid.height, grid.width) in the features' element and layout,
// padding channels included, receives the bins of every RoI, 0 in padding and for RoIs that lie
// nowhere.
//
// Takes kFloat in kChw, kHalf in either layout. Asynchronous on `stream`; returns the
// status of the launch alone: cudaErrorInvalidValue for another element, 2**31 RoIs or more, or
// RoIs of 2**31 bins times channels or more.
cudaError_t RoiAlignCuda(const DeviceFeatures& features, const DeviceRois& rois, BinGrid grid,
                         const RoiAlignOptions& options, void* out, cudaStream_t stream);

}  // namespace edgecv
