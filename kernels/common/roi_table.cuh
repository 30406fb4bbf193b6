// The bins of one RoI in shared memory: for each bin of an axis the cells that it folds, with their
// weights. A block tabulates a RoI once, for all channels.
//
// An `Operation` says what is special to it (roi_align.cu, roi_pool.cu):
//   Options           what its callers choose
//   Axis              how the bins of a RoI lie along one axis of a map
//   Place             finds the axes of a RoI on a level, or that it lies nowhere
//   MostCells(axis)   no bin of `axis` has more cells; kMaxListedCells + 1 for any larger number
//   List(axis, bin, list)       appends the cells of a bin to a `CellList`
//   BinOf(axis, bin)            where `WeightOf` may find something: `cells`, and what it needs
//   WeightOf(bin, cell)         of one of these cells, 0 if the bin does not fold it
//   Start, Add, Join  the value before the first cell; the fold of a cell; the fold of two folds
#pragma once

#include "common/device_rois.h"
#include "common/launch.cuh"
#include "common/rois.h"

namespace edgecv {

constexpr unsigned kRoiThreads = 128;
constexpr unsigned kRoiWarps = kRoiThreads / kWarpSize;

// RoIs with more than that on an axis are not tabulated (roi_scan.cuh): bins, cells of a bin, for
// which there is a lane each, and cells of all bins.
constexpr unsigned kMaxListedBins = 32;
constexpr unsigned kMaxListedCells = kWarpSize;
constexpr unsigned kTableCells = 512;

// Of one launch: RoIs, and bins of a RoI times groups of eight channels.
constexpr std::size_t kMaxRois = 0x7fffffff;
constexpr std::size_t kMaxRoiItems = 0x0fffffff;

template <typename Operation>
struct RoiTask {
  DeviceFeatures features;
  DeviceRois rois;
  typename Operation::Options options;
  std::uint32_t bins_h, bins_w;
  std::uint32_t chunk;  // of channels or items that a block takes
  void* out;
};

// Where a RoI lies; the same for all threads of a block.
template <typename Operation>
struct PlacedRoi {
  bool is_somewhere;
  typename Operation::Axis rows, columns;
  const void* map;  // of its image on its level
  std::uint32_t height, width;
};

// -1 if none suits.
__device__ inline int LevelOf(const float* box, unsigned roi, const DeviceRois& rois,
                              unsigned num_levels) {
  if (rois.level_ids != nullptr) return __ldg(rois.level_ids + roi);
  if (!rois.is_level_by_area) return 0;
  const float area = (box[2] - box[0]) * (box[3] - box[1]);
  if (!(area >= 0.0f)) return -1;
  int level = 0;
  for (unsigned k = 1; k < num_levels; ++k) level += area >= rois.least_areas.areas[k] ? 1 : 0;
  return level;
}

template <typename Operation, typename Element>
__device__ PlacedRoi<Operation> PlaceRoi(const RoiTask<Operation>& task, unsigned roi,
                                         std::size_t elements_per_cell) {
  const DeviceFeatures& features = task.features;
  const DeviceRois& rois = task.rois;
  PlacedRoi<Operation> placed = {};
  const float* const xyxy = rois.xyxy + std::size_t{4} * roi;
  const float box[4] = {__ldg(xyxy), __ldg(xyxy + 1), __ldg(xyxy + 2), __ldg(xyxy + 3)};
  // Negative as int32, it is beyond any batch.
  const std::uint32_t image = rois.batch_ids != nullptr
                                  ? static_cast<std::uint32_t>(__ldg(rois.batch_ids + roi))
                                  : roi / rois.rois_per_image;
  const int chosen = LevelOf(box, roi, rois, features.num_levels);
  if (image >= features.batch) return placed;
  if (chosen < 0 || static_cast<unsigned>(chosen) >= features.num_levels) return placed;
  const DeviceLevel& level = features.levels[chosen];
  if (level.height == 0 || level.width == 0) return placed;
  placed.height = level.height;
  placed.width = level.width;
  placed.map = static_cast<const Element*>(level.data) + std::size_t{image} *
                                                             level.height * level.width *
                                                             elements_per_cell;
  placed.is_somewhere = Operation::Place(task.options, level, box, task.bins_h, task.bins_w,
                                         placed.rows, placed.columns);
  return placed;
}

struct alignas(8) TableCell {
  std::uint32_t offset;  // of the row or column, in what the kernel counts in
  float weight;
};

// The bins of one axis: bin b has `counts[b]` cells, from b * stride on.
struct AxisTable {
  TableCell cells[kTableCells];
  std::uint32_t counts[kMaxListedBins];
};

struct RoiTable {
  AxisTable rows, columns;
};

// The cells of one bin of a table; rows and columns are counted in cells until it is complete.
class CellList {
 public:
  explicit __device__ CellList(TableCell* cells) : cells_(cells) {}

  __device__ std::size_t size() const { return size_; }
  __device__ std::uint32_t cell(std::size_t k) const { return cells_[k].offset; }
  __device__ float& weight(std::size_t k) { return cells_[k].weight; }
  __device__ void push(std::uint32_t cell, float weight) { cells_[size_++] = {cell, weight}; }

  // Ends the list and returns its length.
  __device__ unsigned Scale(std::uint32_t step) {
    for (unsigned k = 0; k < size_; ++k) cells_[k].offset *= step;
    return size_;
  }

 private:
  TableCell* cells_;
  unsigned size_ = 0;
};

// The places of a bin in the table of its axis, for rows and for columns.
struct RoiStrides {
  unsigned rows, columns;
  bool fit;  // whether the RoI is to be tabulated
};

// From one row, and one column, to the next, in what the kernel counts in.
struct RoiSteps {
  std::uint32_t row, column;
};

// `reach` is more than any offset that the kernel forms; 32 bits hold those of a tabulated RoI.
template <typename Operation>
__device__ RoiStrides StridesOf(const PlacedRoi<Operation>& roi, std::uint32_t bins_h,
                                std::uint32_t bins_w, std::size_t reach) {
  const unsigned rows = Operation::MostCells(roi.rows);
  const unsigned columns = Operation::MostCells(roi.columns);
  const bool fit = reach <= 0xffffffffu &&
                   bins_h <= kMaxListedBins && bins_w <= kMaxListedBins &&
                   rows <= kMaxListedCells && columns <= kMaxListedCells &&
                   bins_h * rows <= kTableCells && bins_w * columns <= kTableCells;
  return {rows, columns, fit};
}

// A thread a bin: the first warp those of the rows, the second those of the columns.
template <typename Operation>
__device__ void Tabulate(const PlacedRoi<Operation>& roi, const RoiStrides& strides,
                         const RoiSteps& steps, std::uint32_t bins_h, std::uint32_t bins_w,
                         RoiTable& table) {
  static_assert(kRoiWarps >= 2 && kMaxListedBins <= kWarpSize);
  const bool is_column = threadIdx.x >= kWarpSize;
  const unsigned bin = threadIdx.x - (is_column ? kWarpSize : 0);
  if (bin < (is_column ? bins_w : bins_h)) {
    AxisTable& axis = is_column ? table.columns : table.rows;
    CellList list(axis.cells + bin * (is_column ? strides.columns : strides.rows));
    Operation::List(is_column ? roi.columns : roi.rows, bin, list);
    axis.counts[bin] = list.Scale(is_column ? steps.column : steps.row);
  }
  __syncthreads();
}

__device__ inline float Widened(float value) { return value; }
__device__ inline float Widened(__half value) { return __half2float(value); }
__device__ inline int Widened(std::int8_t value) { return value; }

template <typename Element, typename Sum>
__device__ Element Narrowed(Sum value) {
  return static_cast<Element>(value);
}
template <>
__device__ inline __half Narrowed<__half, float>(float value) {
  return __float2half_rn(value);
}

// Eight channels of a cell in kHwc8.
struct alignas(16) EightHalves {
  __half2 pairs[4];
};

__device__ inline EightHalves LoadEight(const uint4* from) {
  union {
    uint4 bits;
    EightHalves halves;
  } loaded = {__ldg(from)};
  return loaded.halves;
}

}  // namespace edgecv
