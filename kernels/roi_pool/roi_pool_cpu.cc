// CPU implementation of roi_pool.h. The maximum over a rectangle is separable: common/rois.h folds
// the rows of each column, and then the columns.

#include "roi_pool/roi_pool.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/roi_fold.h"

namespace edgecv {
namespace {

template <typename Vector>
struct Maximum {
  static constexpr float kStart = std::numeric_limits<float>::lowest();
  static EDGECV_INLINE void Add(Vector& greatest, const Vector& value, float /*weight*/) {
    greatest = value > greatest ? value : greatest;
  }
};

// One axis of a RoI: the first and the last cell, rounded.
struct Side {
  float first, last;

  bool IsNear() const { return std::fabs(first) < kFarCells && std::fabs(last) < kFarCells; }
};

void AddAxis(Side side, std::size_t num_cells, std::size_t num_bins, AxisBins& axis) {
  const auto first = static_cast<std::int64_t>(side.first);
  const auto size =
      std::max<std::int64_t>(static_cast<std::int64_t>(side.last) - first + 1, 1);
  const float bin_size = static_cast<float>(size) / static_cast<float>(num_bins);
  const auto limit = static_cast<std::int64_t>(num_cells);
  for (std::size_t bin = 0; bin < num_bins; ++bin) {
    const float begin = std::floor(static_cast<float>(bin) * bin_size);
    const float end = std::ceil(static_cast<float>(bin + 1) * bin_size);
    const std::int64_t low = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(begin) + first, 0, limit);
    const std::int64_t high = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(end) + first, 0, limit);
    for (std::int64_t cell = low; cell < high; ++cell)
      axis.cells.push_back({static_cast<std::uint32_t>(cell), 1.0f});
    axis.EndBin();
  }
}

}  // namespace

void RoiPoolCpu(const Features& features, const Rois& rois, BinGrid grid, float* out) {
  const AddBins add_bins = [&](const FeatureLevel& level, const float* xyxy, AxisBins& rows,
                               AxisBins& columns) {
    const float scale = level.spatial_scale;
    const Side x{std::round(xyxy[0] * scale), std::round(xyxy[2] * scale)};
    const Side y{std::round(xyxy[1] * scale), std::round(xyxy[3] * scale)};
    if (!x.IsNear() || !y.IsNear()) return;
    AddAxis(y, level.height, grid.height, rows);
    AddAxis(x, level.width, grid.width, columns);
  };
  FoldRois(features, rois, grid, add_bins, FoldWith<Maximum>, out);
}

}  // namespace edgecv
