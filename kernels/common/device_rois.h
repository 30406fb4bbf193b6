// Regions of interest (RoIs) of feature maps in a GPU's memory: what the CUDA kernels of roi_align
// and roi_pool take. Bins, far RoIs and scales: see rois.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "roi_align/pyramid_levels.h"

namespace edgecv {

enum class RoiElement : std::int32_t { kFloat, kHalf, kInt8 };

// Of the features, and of the bins as if a RoI were an image and a bin a cell.
enum class RoiLayout : std::int32_t {
  kChw,   // (batch, channels, height, width)
  kHwc8,  // (batch, height, width, channels rounded up to a multiple of 8): TensorRT's kHWC8
};

struct DeviceLevel {
  const void* data;  // aligned to 16 bytes in kHwc8
  std::uint32_t height, width;
  float spatial_scale;  // cells per pixel of the image
};

// What lies in the padding channels of kHwc8 does not matter.
struct DeviceFeatures {
  DeviceLevel levels[kMaxPyramidLevels];
  std::uint32_t num_levels;
  std::uint32_t batch;  // below 2**31
  std::uint32_t channels;
  RoiElement element;
  RoiLayout layout;
};

// A RoI with a batch or a level that is not in the features lies nowhere.
struct DeviceRois {
  const float* xyxy;              // pixels of the image, row-major
  const std::int32_t* batch_ids;  // one per RoI; if null, RoI i is of image i / rois_per_image
  const std::int32_t* level_ids;  // one per RoI; may be null
  std::size_t count;
  std::uint32_t rois_per_image;
  bool is_level_by_area;   // without `level_ids`: whether by `least_areas`, or 0 for all
  LeastAreas least_areas;  // where an area that is negative or not a number has no level
};

}  // namespace edgecv
