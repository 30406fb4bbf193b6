// The cells of the bins of a RoI along one axis: the arithmetic of roi_pool.h on every device.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/host_device.h"
#include "common/rois.h"

namespace edgecv {

// The first and the last cell of a RoI along one axis, rounded.
struct RoundedSide {
  float first, last;

  EDGECV_HOST_DEVICE bool IsNear() const {
    return std::fabs(first) < kFarCells && std::fabs(last) < kFarCells;
  }
};

// From the corners in pixels.
EDGECV_HOST_DEVICE RoundedSide RoundedSideOf(float start, float end, float spatial_scale) {
  return {std::round(start * spatial_scale), std::round(end * spatial_scale)};
}

// The bins of a RoI along one axis of a map.
struct PooledAxis {
  std::int64_t first;
  float bin_size;
  std::uint32_t num_cells;

  EDGECV_HOST_DEVICE CellRange Bin(std::uint32_t bin) const {
    const float begin = std::floor(static_cast<float>(bin) * bin_size);
    const float end = std::ceil(static_cast<float>(bin + 1) * bin_size);
    return {Clipped(begin), Clipped(end)};
  }

 private:
  EDGECV_HOST_DEVICE std::uint32_t Clipped(float offset) const {
    const std::int64_t cell = static_cast<std::int64_t>(offset) + first;
    const std::int64_t limit = num_cells;
    return static_cast<std::uint32_t>(cell < 0 ? 0 : cell > limit ? limit : cell);
  }
};

EDGECV_HOST_DEVICE PooledAxis PooledAxisOf(RoundedSide side, std::uint32_t num_cells,
                                           std::uint32_t num_bins) {
  const std::int64_t first = static_cast<std::int64_t>(side.first);
  const std::int64_t size = static_cast<std::int64_t>(side.last) - first + 1;
  const float bin_size = static_cast<float>(size < 1 ? 1 : size) / static_cast<float>(num_bins);
  return {first, bin_size, num_cells};
}

}  // namespace edgecv
