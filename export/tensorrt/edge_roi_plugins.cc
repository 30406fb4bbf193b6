#include "edge_roi_plugins.h"

#include <cmath>

#include "roi_align/roi_align.cuh"
#include "roi_pool/roi_pool.cuh"

namespace edgecv::plugins {

using nvinfer1::DataType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

static_assert(Numbers::kMost == kMaxPyramidLevels && 1 + kMaxPyramidLevels + 1 <= kMaxTensors);

namespace {

// The kernels count bins times channels, in groups of 8, in 28 bits, and RoIs in 31.
const char* ProblemOfSizes(const Sides& sides, std::int32_t height, std::int32_t width) {
  const std::size_t groups = (sides.Size('C') + 7) / 8;
  const std::size_t bins = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  if (groups > 0x0fffffff / bins)
    return "`output_height` times `output_width` times the channels must be below 2**31, got more. "
           "Pool into fewer bins.";
  if (sides.Size('B') * sides.Size('R') > 0x7fffffff)
    return "`rois` must hold fewer than 2**31 regions in all, got more. Run smaller batches.";
  return nullptr;
}

DeviceLevel LevelOf(const PluginTensorDesc& map, const void* data, float spatial_scale) {
  return {data, static_cast<std::uint32_t>(map.dims.d[2]),
          static_cast<std::uint32_t>(map.dims.d[3]), spatial_scale};
}

// Without its levels.
DeviceFeatures FeaturesOf(const PluginTensorDesc& map, std::int32_t num_levels) {
  DeviceFeatures features = {};
  features.num_levels = static_cast<std::uint32_t>(num_levels);
  features.batch = static_cast<std::uint32_t>(map.dims.d[0]);
  features.channels = static_cast<std::uint32_t>(map.dims.d[1]);
  features.element = map.type == DataType::kFLOAT  ? RoiElement::kFloat
                     : map.type == DataType::kHALF ? RoiElement::kHalf
                                                   : RoiElement::kInt8;
  features.layout = map.format == TensorFormat::kHWC8 ? RoiLayout::kHwc8 : RoiLayout::kChw;
  return features;
}

// (B, R, 4), image by image.
DeviceRois RoisOf(const PluginTensorDesc& rois, const void* xyxy) {
  DeviceRois found = {};
  found.xyxy = static_cast<const float*>(xyxy);
  found.rois_per_image = static_cast<std::uint32_t>(rois.dims.d[1]);
  found.count = static_cast<std::size_t>(rois.dims.d[0]) * static_cast<std::size_t>(rois.dims.d[1]);
  return found;
}

BinGrid GridOf(std::int32_t height, std::int32_t width) {
  return {static_cast<std::size_t>(height), static_cast<std::size_t>(width)};
}

}  // namespace

const char* EdgeRoiAlign::ProblemOfAttributes() {
  int exponent;
  const float mantissa = std::frexp(spatial_scales.values[0], &exponent);
  bool is_pyramid = mantissa == 0.5f;
  for (std::int32_t i = 1; i < spatial_scales.count; ++i)
    is_pyramid &= spatial_scales.values[i] == spatial_scales.values[i - 1] / 2;
  if (!is_pyramid)
    return "`spatial_scales` must be 1 / 2**k for a whole k, each half the one before, got others. "
           "Export the model again with this version of edgecv.";
  least_areas = LeastAreasOf({1 - exponent, spatial_scales.count, canonical_size, canonical_level});
  return nullptr;
}

// Of a (B, R, C, h, w) in kHWC8 the channels are the last axis in memory, as of maps: each RoI is an
// image of bins.
Tensor EdgeRoiAlign::TensorAt(std::int32_t index) const {
  static const Kinds kFeatures = {kLinearFloat, kLinearHalf, kHwc8Half};
  static const char* const kMaps[] = {"map_0", "map_1", "map_2", "map_3",
                                      "map_4", "map_5", "map_6", "map_7"};
  if (index == 0) return {"rois", {'B', 'R', 4}, {kLinearFloat}};
  if (index < num_inputs())
    return {kMaps[index - 1], {'B', 'C', '*', '*'}, kFeatures, index == 1 ? -1 : 1};
  return {"bins", {'B', 'R', 'C', output_height, output_width}, kFeatures, 1};
}

const char* EdgeRoiAlign::ProblemOf(const Sides& sides) const {
  return ProblemOfSizes(sides, output_height, output_width);
}

cudaError_t EdgeRoiAlign::Enqueue(const PluginTensorDesc* inputs, const void* const* in,
                                  void* const* out, void*, cudaStream_t stream) const {
  DeviceFeatures features = FeaturesOf(inputs[1], spatial_scales.count);
  for (std::int32_t k = 0; k < spatial_scales.count; ++k)
    features.levels[k] = LevelOf(inputs[1 + k], in[1 + k], spatial_scales.values[k]);
  DeviceRois rois = RoisOf(inputs[0], in[0]);
  rois.is_level_by_area = true;
  rois.least_areas = least_areas;
  return RoiAlignCuda(features, rois, GridOf(output_height, output_width),
                      {static_cast<std::size_t>(sampling_ratio), aligned != 0}, out[0], stream);
}

Tensor EdgeRoiPool::TensorAt(std::int32_t index) const {
  static const Kinds kFeatures = {kLinearFloat, kLinearHalf, kHwc8Half, kLinearInt8};
  if (index == 0) return {"features", {'B', 'C', '*', '*'}, kFeatures};
  if (index == 1) return {"rois", {'B', 'R', 4}, {kLinearFloat}};
  return {"bins", {'B', 'R', 'C', output_height, output_width}, kFeatures, 0};
}

const char* EdgeRoiPool::ProblemOf(const Sides& sides) const {
  return ProblemOfSizes(sides, output_height, output_width);
}

cudaError_t EdgeRoiPool::Enqueue(const PluginTensorDesc* inputs, const void* const* in,
                                 void* const* out, void*, cudaStream_t stream) const {
  DeviceFeatures features = FeaturesOf(inputs[0], 1);
  features.levels[0] = LevelOf(inputs[0], in[0], spatial_scale);
  return RoiPoolCuda(features, RoisOf(inputs[1], in[1]), GridOf(output_height, output_width),
                     out[0], stream);
}

}  // namespace edgecv::plugins
