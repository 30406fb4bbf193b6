// The greatest value in each bin of regions of interest.
//
// Contract of every implementation in this folder:
//   - the corners of a RoI are scaled to cells, s * x, and rounded to the nearest, halves away from
//     0, in float32; it spans the cells from one corner to the other, both included, at least one;
//   - it is cut into `grid` bins: bin b of an axis spans the cells from floor(b * q) up to
//     ceil((b + 1) * q), q = size / bins in float32, as is the product, clipped to the map;
//     neighbours may share a cell;
//   - a bin receives the greatest of its values and 0 if it spans no cell. NaN is greater than
//     nothing; a bin without a value above the lowest finite float receives that float;
//   - a RoI with a coordinate that is not finite, or at 2**30 cells or beyond, is 0 everywhere.
// Shapes and groups of RoIs: see common/rois.h.
//
// The definition is edgecv/kernels/reference; the tests hold both to it.
#pragma once

#include "common/rois.h"

namespace edgecv {

void RoiPoolCpu(const Features& features, const Rois& rois, BinGrid grid, float* out);

}  // namespace edgecv
