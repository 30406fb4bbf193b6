// Regions of interest (RoIs) of feature maps, cut into bins: what roi_align and roi_pool share.
//
// Both operators are separable: a bin is a set of rows times a set of columns, and its value folds
// the rows of every column and then the columns. An operator says which cells of each axis a bin
// takes, and how it folds them; `FoldRois` does the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "common/channel_blocks.h"

namespace edgecv {

// One level of a feature pyramid: (batch, channels, height, width).
struct FeatureLevel {
  const float* data;
  std::size_t height, width;  // cells, below 2**32 each
  float spatial_scale;        // cells per pixel of the image
};

struct Features {
  const FeatureLevel* levels;
  std::size_t num_levels, batch, channels;
};

// `batch_ids` and `level_ids` hold one integer per RoI, or are null: all 0. A RoI with a batch or a
// level that is not in the features lies nowhere.
struct Rois {
  const float* xyxy;  // pixels of the image, row-major
  const std::int32_t* batch_ids;
  const std::int32_t* level_ids;
  std::size_t count;
};

struct BinGrid {
  std::size_t height, width;  // bins
};

// A RoI with a corner this many cells from the map's origin, or more, lies nowhere. It keeps every
// conversion to an integer in range, and is beyond what float32 tells from its neighbours.
constexpr float kFarCells = 0x1p30f;

struct CellRange {
  std::uint32_t begin, end;
};

struct BinCell {
  std::uint32_t index;  // of the row or column
  float weight;
};

// The cells of bins along one axis, bin after bin.
struct AxisBins {
  std::vector<BinCell> cells;
  std::vector<std::size_t> ends = {0};  // bin b is cells [ends[b], ends[b + 1])

  void EndBin() { ends.push_back(cells.size()); }
};

// Adds the bins of a RoI on a level: `height` of them to `rows` and `width` to `columns`, or none
// to either if the RoI lies nowhere.
using AddBins = std::function<void(const FeatureLevel& level, const float* xyxy, AxisBins& rows,
                                   AxisBins& columns)>;

// One RoI and one block of channels: for each row of bins, fold the rows of each used column into
// `line`, then the columns of `line` into `bins`.
struct FoldTask {
  BinGrid grid;
  const BinCell* row_cells;
  const std::size_t* row_ends;  // grid.height + 1
  const BinCell* column_cells;  // their index is one of `columns`
  const std::size_t* column_ends;  // grid.width + 1
  const std::uint32_t* columns;    // the columns of the map that any bin uses
  std::size_t num_columns;
  const ChannelBlock* map;
  std::size_t map_width;
  ChannelBlock* line;  // num_columns
  ChannelBlock* bins;  // grid.height * grid.width
};
using Fold = void (*)(const FoldTask& task);

// `out`, (rois.count, channels, grid.height, grid.width), receives the bins of every RoI, 0 for
// RoIs that lie nowhere. Throws std::bad_alloc only.
void FoldRois(const Features& features, const Rois& rois, BinGrid grid, const AddBins& add_bins,
              Fold fold, float* out);

}  // namespace edgecv
