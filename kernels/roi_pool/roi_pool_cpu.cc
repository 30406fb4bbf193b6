// CPU implementation of roi_pool.h. The maximum over a rectangle is separable: common/rois.h folds
// the rows of each column, and then the columns.

#include "roi_pool/roi_pool.h"

#include <limits>

#include "common/roi_fold.h"
#include "roi_pool/cells.h"

namespace edgecv {
namespace {

template <typename Vector>
struct Maximum {
  static constexpr float kStart = std::numeric_limits<float>::lowest();
  static EDGECV_INLINE void Add(Vector& greatest, const Vector& value, float /*weight*/) {
    greatest = value > greatest ? value : greatest;
  }
};

void AddAxis(const PooledAxis& pooled, std::size_t num_bins, AxisBins& axis) {
  for (std::size_t bin = 0; bin < num_bins; ++bin) {
    const CellRange range = pooled.Bin(static_cast<std::uint32_t>(bin));
    for (std::uint32_t cell = range.begin; cell < range.end; ++cell)
      axis.cells.push_back({cell, 1.0f});
    axis.EndBin();
  }
}

}  // namespace

void RoiPoolCpu(const Features& features, const Rois& rois, BinGrid grid, float* out) {
  const AddBins add_bins = [&](const FeatureLevel& level, const float* xyxy, AxisBins& rows,
                               AxisBins& columns) {
    const auto add = [](RoundedSide side, std::size_t num_cells, std::size_t num_bins,
                        AxisBins& axis) {
      AddAxis(PooledAxisOf(side, static_cast<std::uint32_t>(num_cells),
                           static_cast<std::uint32_t>(num_bins)),
              num_bins, axis);
    };
    const RoundedSide x = RoundedSideOf(xyxy[0], xyxy[2], level.spatial_scale);
    const RoundedSide y = RoundedSideOf(xyxy[1], xyxy[3], level.spatial_scale);
    if (!x.IsNear() || !y.IsNear()) return;
    add(y, level.height, grid.height, rows);
    add(x, level.width, grid.width, columns);
  };
  FoldRois(features, rois, grid, add_bins, FoldWith<Maximum>, out);
}

}  // namespace edgecv
