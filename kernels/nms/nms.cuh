// CUDA implementation of nms.h: the same contract, with device pointers.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace edgecv {

// Of the workspace of NmsCuda.
std::size_t NmsWorkspaceBytes(std::size_t n, std::size_t max_detections);

// Asynchronous on `stream`; returns the status of the launches alone. `kept` has `max_detections` rows,
// at most n, of which the first `*count` receive the kept indices and the rest -1. The workspace is
// aligned to 16 bytes and belongs to this call until the stream has run it. n == 0 is valid: the
// boxes and scores are not touched then.
cudaError_t NmsCuda(const float* boxes_xyxy, const float* scores, const std::int32_t* class_ids,
                    std::size_t n, double iou_threshold, std::size_t max_detections,
                    std::int64_t* kept, std::int64_t* count, void* workspace, cudaStream_t stream);

}  // namespace edgecv
