// The average of bilinear samples in each bin of regions of interest.
//
// Contract of every implementation in this folder:
//   - a RoI is scaled to cells, s * x, in float32, and if `aligned` shifted by half a cell, so that
//     the centre of cell i is at i; otherwise a side shorter than one cell is made one cell long;
//   - it is cut into `grid` bins of equal size, and a bin is sampled at the centres of n x n parts,
//     n = `sampling_ratio`; if that is 0, n = ceil(bin size), axis by axis. A bin whose size is
//     not positive then has no sample and is 0;
//   - sample i of bin b is at (start + b * bin) + (i + 0.5) * bin / n, in float32, in this order:
//     whether a sample is inside decides a whole sample's worth;
//   - a sample outside [-1, height] x [-1, width] counts as 0; inside, its coordinates are clamped
//     to the centres of the outer cells and the four cells around it interpolated;
//   - a cell of weight 0 is not read into the sum: not finite features spread no further than that;
//   - a RoI with a coordinate that is not finite, or at 2**30 cells or beyond, is 0 everywhere;
//   - time is bounded by the map, not by the size of a RoI;
//   - `sampling_ratio` is at most kMaxSamplingRatio.
// Shapes and groups of RoIs: see common/rois.h. All CPU levels give the same bits.
//
// The definition is edgecv/kernels/reference; the tests hold both to it.
#pragma once

#include <cstddef>

#include "common/rois.h"

namespace edgecv {

constexpr std::size_t kMaxSamplingRatio = 1024;

struct RoiAlignOptions {
  std::size_t sampling_ratio;
  bool aligned;
};

void RoiAlignCpu(const Features& features, const Rois& rois, BinGrid grid,
                 const RoiAlignOptions& options, float* out);

}  // namespace edgecv
