// EdgeRoiAlign and EdgeRoiPool, see edgecv/export/operators/edge_roi.py: kernels/roi_align and
// kernels/roi_pool behind them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "attributes.h"
#include "roi_align/pyramid_levels.h"
#include "roi_align/roi_align.h"
#include "tensors.h"

namespace edgecv::plugins {

constexpr std::int32_t kMostBins = 1 << 14;  // of an axis: their number fits the kernels' integers

struct EdgeRoiAlign {
  static constexpr char kName[] = "EdgeRoiAlign";
  static constexpr std::int32_t kNumOutputs = 1;

  std::int32_t output_height = 0, output_width = 0;
  Numbers spatial_scales = {};
  std::int32_t sampling_ratio = 2;
  std::int32_t aligned = 0;
  std::int32_t canonical_level = 4;
  float canonical_size = 224.0f;
  LeastAreas least_areas = {};  // of the levels: found once, where the attributes are checked

  template <typename Visitor>
  void VisitAttributes(Visitor& visit) {
    using Limits = std::numeric_limits<std::int32_t>;
    visit.Integer("output_height", output_height, {1, kMostBins}, Need::kRequired);
    visit.Integer("output_width", output_width, {1, kMostBins}, Need::kRequired);
    visit.List("spatial_scales", spatial_scales, Need::kRequired);
    visit.Integer("sampling_ratio", sampling_ratio, {0, std::int32_t{kMaxSamplingRatio}},
                  Need::kOptional);
    visit.Integer("aligned", aligned, {0, 1}, Need::kOptional);
    visit.Integer("canonical_level", canonical_level, {Limits::min(), Limits::max()},
                  Need::kOptional);
    visit.Number("canonical_size", canonical_size, Need::kOptional);
  }
  const char* ProblemOfAttributes();

  // The RoIs, and a map for each level.
  std::int32_t num_inputs() const { return 1 + spatial_scales.count; }
  Tensor TensorAt(std::int32_t index) const;
  const char* ProblemOf(const Sides& sides) const;
  std::size_t WorkspaceBytes(const Sides&) const { return 0; }
  cudaError_t Enqueue(const nvinfer1::PluginTensorDesc* inputs, const void* const* in,
                      void* const* out, void* workspace, cudaStream_t stream) const;
};

struct EdgeRoiPool {
  static constexpr char kName[] = "EdgeRoiPool";
  static constexpr std::int32_t kNumOutputs = 1;

  std::int32_t output_height = 0, output_width = 0;
  float spatial_scale = 0.0f;

  template <typename Visitor>
  void VisitAttributes(Visitor& visit) {
    visit.Integer("output_height", output_height, {1, kMostBins}, Need::kRequired);
    visit.Integer("output_width", output_width, {1, kMostBins}, Need::kRequired);
    visit.Number("spatial_scale", spatial_scale, Need::kRequired);
  }
  const char* ProblemOfAttributes() const { return nullptr; }

  std::int32_t num_inputs() const { return 2; }
  Tensor TensorAt(std::int32_t index) const;
  const char* ProblemOf(const Sides& sides) const;
  std::size_t WorkspaceBytes(const Sides&) const { return 0; }
  cudaError_t Enqueue(const nvinfer1::PluginTensorDesc* inputs, const void* const* in,
                      void* const* out, void* workspace, cudaStream_t stream) const;
};

}  // namespace edgecv::plugins
