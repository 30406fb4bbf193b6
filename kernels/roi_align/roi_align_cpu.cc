// CPU implementation of roi_align.h. The average over a grid of bilinear samples is separable: the
// weight of a cell is the product of one weight per axis, the sum of what the samples of that axis
// give it. So no sample is ever taken; common/rois.h folds rows and then columns with the weights.

#include "roi_align/roi_align.h"

#include "common/roi_fold.h"
#include "roi_align/samples.h"

namespace edgecv {
namespace {

template <typename Vector>
struct WeightedSum {
  static constexpr float kStart = 0.0f;
  static EDGECV_INLINE void Add(Vector& sum, const Vector& value, float weight) {
    sum += value * weight;
  }
};

// The cells of the last bin of an axis.
class LastBin {
 public:
  explicit LastBin(AxisBins& axis) : cells_(axis.cells), first_(axis.cells.size()) {}

  std::size_t size() const { return cells_.size() - first_; }
  std::uint32_t cell(std::size_t k) const { return cells_[first_ + k].index; }
  float& weight(std::size_t k) { return cells_[first_ + k].weight; }
  void push(std::uint32_t cell, float weight) { cells_.push_back({cell, weight}); }

 private:
  std::vector<BinCell>& cells_;
  const std::size_t first_;
};

void AddAxis(const SampledAxis& sampled, std::size_t num_bins, AxisBins& axis) {
  for (std::size_t bin = 0; bin < num_bins; ++bin) {
    LastBin cells(axis);
    ListCells(sampled.Bin(static_cast<std::uint32_t>(bin)), sampled.num_cells, cells);
    axis.EndBin();
  }
}

}  // namespace

void RoiAlignCpu(const Features& features, const Rois& rois, BinGrid grid,
                 const RoiAlignOptions& options, float* out) {
  const AddBins add_bins = [&](const FeatureLevel& level, const float* xyxy, AxisBins& rows,
                               AxisBins& columns) {
    const auto add = [&](RoiSide side, std::size_t num_cells, std::size_t num_bins,
                         AxisBins& axis) {
      AddAxis(AxisOf(side, static_cast<std::uint32_t>(num_cells),
                     static_cast<std::uint32_t>(num_bins), options),
              num_bins, axis);
    };
    const RoiSide x = SideOf(xyxy[0], xyxy[2], level.spatial_scale, options.aligned);
    const RoiSide y = SideOf(xyxy[1], xyxy[3], level.spatial_scale, options.aligned);
    if (!x.IsNear() || !y.IsNear() || level.height == 0 || level.width == 0) return;
    add(y, level.height, grid.height, rows);
    add(x, level.width, grid.width, columns);
  };
  FoldRois(features, rois, grid, add_bins, FoldWith<WeightedSum>, out);
}

}  // namespace edgecv
