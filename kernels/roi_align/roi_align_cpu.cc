// CPU implementation of roi_align.h. The average over a grid of bilinear samples is separable: the
// weight of a cell is the product of one weight per axis, the sum of what the samples of that axis
// give it. So no sample is ever taken; common/rois.h folds rows and then columns with the weights.

#include "roi_align/roi_align.h"

#include <algorithm>
#include <cmath>

#include "common/roi_fold.h"

namespace edgecv {
namespace {

template <typename Vector>
struct WeightedSum {
  static constexpr float kStart = 0.0f;
  static EDGECV_INLINE void Add(Vector& sum, const Vector& value, float weight) {
    sum += value * weight;
  }
};

// One axis of a RoI, in cells.
struct Side {
  float start, end;

  bool IsNear() const { return std::fabs(start) < kFarCells && std::fabs(end) < kFarCells; }
};

// The samples of one bin along one axis. Their positions rise or fall with their index, never both,
// also after rounding.
struct Samples {
  float start, bin_size;
  std::size_t count;

  float at(std::size_t i) const {
    return start + (static_cast<float>(i) + 0.5f) * bin_size / static_cast<float>(count);
  }

  // The first sample from `begin` on that fails `holds`, which no later one passes.
  template <typename Holds>
  std::size_t Until(std::size_t begin, Holds holds) const {
    std::size_t end = count;
    while (begin < end) {
      const std::size_t middle = begin + (end - begin) / 2;
      if (holds(at(middle))) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  }
};

// Adds to a cell of the last bin, which began at `first`. Only the last two cells are looked at:
// samples move on, and a cell that is listed twice is folded twice to the same sum.
void AddWeight(std::size_t cell, float weight, std::size_t first, AxisBins& axis) {
  if (weight == 0.0f) return;
  for (std::size_t back = 1; back <= 2 && back <= axis.cells.size() - first; ++back) {
    BinCell& earlier = axis.cells[axis.cells.size() - back];
    if (earlier.index == cell) {
      earlier.weight += weight;
      return;
    }
  }
  axis.cells.push_back({static_cast<std::uint32_t>(cell), weight});
}

void AddBin(const Samples& samples, std::size_t num_cells, AxisBins& axis) {
  const std::size_t first = axis.cells.size();
  const bool rises = samples.bin_size >= 0.0f;
  const float extent = static_cast<float>(num_cells);
  const std::size_t begin =
      samples.Until(0, [&](float p) { return rises ? p < -1.0f : p > extent; });
  const std::size_t end =
      samples.Until(begin, [&](float p) { return rises ? p <= extent : p >= -1.0f; });
  for (std::size_t i = begin; i < end;) {
    const float position = samples.at(i);
    // Far from the origin many samples round to one position; they are counted, not visited.
    const std::size_t next = i + 1 < end && samples.at(i + 1) == position
                                 ? samples.Until(i, [&](float p) { return p == position; })
                                 : i + 1;
    const float times = static_cast<float>(next - i);
    const float inside = std::max(position, 0.0f);
    const std::size_t low = static_cast<std::size_t>(inside);
    if (low + 1 >= num_cells) {
      AddWeight(num_cells - 1, times, first, axis);
    } else {
      const float share = inside - static_cast<float>(low);
      AddWeight(low, times * (1.0f - share), first, axis);
      AddWeight(low + 1, times * share, first, axis);
    }
    i = next;
  }
  for (std::size_t k = first; k < axis.cells.size(); ++k)
    axis.cells[k].weight /= static_cast<float>(samples.count);
  axis.EndBin();
}

void AddAxis(Side side, std::size_t num_cells, std::size_t num_bins,
             const RoiAlignOptions& options, AxisBins& axis) {
  float size = side.end - side.start;
  if (!options.aligned) size = std::max(size, 1.0f);
  const float bin_size = size / static_cast<float>(num_bins);
  const std::size_t adaptive =
      bin_size > 0.0f ? static_cast<std::size_t>(std::ceil(bin_size)) : 0;
  const std::size_t count = options.sampling_ratio > 0 ? options.sampling_ratio : adaptive;
  for (std::size_t bin = 0; bin < num_bins; ++bin)
    AddBin({side.start + static_cast<float>(bin) * bin_size, bin_size, count}, num_cells, axis);
}

}  // namespace

void RoiAlignCpu(const Features& features, const Rois& rois, BinGrid grid,
                 const RoiAlignOptions& options, float* out) {
  const float offset = options.aligned ? 0.5f : 0.0f;
  const AddBins add_bins = [&](const FeatureLevel& level, const float* xyxy, AxisBins& rows,
                               AxisBins& columns) {
    const float scale = level.spatial_scale;
    const Side x{xyxy[0] * scale - offset, xyxy[2] * scale - offset};
    const Side y{xyxy[1] * scale - offset, xyxy[3] * scale - offset};
    if (!x.IsNear() || !y.IsNear() || level.height == 0 || level.width == 0) return;
    AddAxis(y, level.height, grid.height, options, rows);
    AddAxis(x, level.width, grid.width, options, columns);
  };
  FoldRois(features, rois, grid, add_bins, FoldWith<WeightedSum>, out);
}

}  // namespace edgecv
