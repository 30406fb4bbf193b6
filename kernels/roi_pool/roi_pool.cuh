// CUDA implementation of roi_pool.h: the same contract, with device pointers and more elements. The
// results are the CPU's, bit for bit; the lowest finite float is -infinity as kHalf.
#pragma once

#include <cuda_runtime_api.h>

#include "common/device_rois.h"
#include "common/rois.h"
#include "roi_pool/roi_pool.h"

namespace edgecv {

// `out`, (rois.count, channels, grid.height, grid.width) in the features' element and layout,
// padding channels included, receives the bins of every RoI, 0 in padding and for RoIs that lie
// nowhere.
//
// Takes kFloat and kInt8 in kChw, kHalf in either layout. Asynchronous on `stream`; returns the
// status of the launch alone: cudaErrorInvalidValue for another element, 2**31 RoIs or more, or
// RoIs of 2**31 bins times channels or more.
cudaError_t RoiPoolCuda(const DeviceFeatures& features, const DeviceRois& rois, BinGrid grid,
                        void* out, cudaStream_t stream);

}  // namespace edgecv
