// EdgeNMS, see edgecv/export/operators/edge_nms.py: kernels/edge_nms behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "attributes.h"
#include "tensors.h"

namespace edgecv::plugins {

struct EdgeNms {
  static constexpr char kName[] = "EdgeNMS";
  static constexpr std::int32_t kNumOutputs = 4;

  std::int32_t max_detections = 0;
  std::int32_t class_agnostic = 0;
  std::int32_t background_class = -1;

  template <typename Visitor>
  void VisitAttributes(Visitor& visit) {
    constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
    visit.Integer("max_detections", max_detections, {1, most}, Need::kRequired);
    visit.Integer("class_agnostic", class_agnostic, {0, 1}, Need::kOptional);
    visit.Integer("background_class", background_class, {-1, most}, Need::kOptional);
  }
  const char* ProblemOfAttributes() const { return nullptr; }

  std::int32_t num_inputs() const { return 4; }
  Tensor TensorAt(std::int32_t index) const;
  const char* ProblemOf(const Sides& sides) const;
  std::size_t WorkspaceBytes(const Sides& most) const;
  cudaError_t Enqueue(const nvinfer1::PluginTensorDesc* inputs, const void* const* in,
                      void* const* out, void* workspace, cudaStream_t stream) const;
};

}  // namespace edgecv::plugins
