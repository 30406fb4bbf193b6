#include "edge_nms_plugin.h"

#include "edge_nms/edge_nms.cuh"

namespace edgecv::plugins {

Tensor EdgeNms::TensorAt(std::int32_t index) const {
  switch (index) {
    case 0: return {"boxes", {'B', 'N', 4}, {kLinearFloat}};
    case 1: return {"scores", {'B', 'N', 'C'}, {kLinearFloat, kLinearHalf}};
    case 2: return {"score_threshold", {}, {kLinearFloat}};
    case 3: return {"iou_threshold", {}, {kLinearFloat}};
    case 4: return {"num_detections", {'B'}, {kLinearInt32}};
    case 5: return {"boxes", {'B', max_detections, 4}, {kLinearFloat}};
    case 6: return {"scores", {'B', max_detections}, {kLinearFloat}};
    default: return {"classes", {'B', max_detections}, {kLinearInt32}};
  }
}

const char* EdgeNms::ProblemOf(const Sides& sides) const {
  return sides.Size('N') * sides.Size('C') < std::size_t{1} << 31
             ? nullptr
             : "`scores` must hold fewer than 2**31 scores an image, got more. Drop boxes that "
               "cannot be detections first.";
}

std::size_t EdgeNms::WorkspaceBytes(const Sides& most) const {
  return EdgeNmsWorkspaceBytes(most.Size('B'), most.Size('N'), most.Size('C'),
                               static_cast<std::size_t>(max_detections));
}

cudaError_t EdgeNms::Enqueue(const nvinfer1::PluginTensorDesc* inputs, const void* const* in,
                             void* const* out, void* workspace, cudaStream_t stream) const {
  const nvinfer1::PluginTensorDesc& scores = inputs[1];
  const EdgeNmsShape shape = {static_cast<std::size_t>(scores.dims.d[0]),
                              static_cast<std::size_t>(scores.dims.d[1]),
                              static_cast<std::size_t>(scores.dims.d[2]), false,
                              scores.type == nvinfer1::DataType::kHALF};
  const Threshold score_threshold = {static_cast<const float*>(in[2]), 0.0};
  const Threshold iou_threshold = {static_cast<const float*>(in[3]), 0.0};
  const EdgeNmsOptions options = {static_cast<std::size_t>(max_detections), class_agnostic != 0,
                                  background_class};
  const EdgeNmsOutputs outputs = {static_cast<std::int32_t*>(out[0]), static_cast<float*>(out[1]),
                                  static_cast<float*>(out[2]), static_cast<std::int32_t*>(out[3]),
                                  nullptr};
  return EdgeNmsCuda(static_cast<const float*>(in[0]), in[1], shape, score_threshold,
                     iou_threshold, options, outputs, workspace, stream);
}

}  // namespace edgecv::plugins
