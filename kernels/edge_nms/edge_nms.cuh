// CUDA implementation of edge_nms.h: the same contract, with device pointers.
#pragma once

#include <cuda_runtime_api.h>

#include "common/suppression.h"
#include "edge_nms/edge_nms.h"

namespace edgecv {

// Of the workspace of EdgeNmsCuda; rises with each of the arguments.
std::size_t EdgeNmsWorkspaceBytes(std::size_t num_images, std::size_t num_boxes,
                                  std::size_t num_classes, std::size_t max_detections);

// Asynchronous on `stream`; returns the status of the launches alone. The workspace is aligned to 16
// bytes and belongs to this call until the stream has run it.
cudaError_t EdgeNmsCuda(const float* boxes_xyxy, const void* scores, const EdgeNmsShape& shape,
                        const Threshold& score_threshold, const Threshold& iou_threshold,
                        const EdgeNmsOptions& options, const EdgeNmsOutputs& out, void* workspace,
                        cudaStream_t stream);

}  // namespace edgecv
