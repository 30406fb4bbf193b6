// The kernels of roi_align and roi_pool. A block takes one RoI and some of its channels, finds its
// level and where its bins lie, and tabulates them (roi_table.cuh); all levels are one launch.
//
// Linear: a warp folds planes, its lanes neighbouring columns, so that it reads a row of the RoI in
// a few whole sectors; the folds of the columns meet in shared memory, where lanes that are bins
// fold them on. So a cell is read once for a row of bins; a thread per bin and channel would read
// 4 x 4 for 2 x 2 samples. Bound by instructions, five a read, and by the L2 cache, as RoIs
// overlap: 1000 of 20 x 20 cells and 256 channels are 0.4 GB of float32, and 50 MB of bins.
// HWC8: a thread folds eight channels of a bin, its neighbours the channels beside, so that a warp
// reads a cell of 256 channels at once. Bound by the L1 cache: 16 reads for 2 x 2 samples.
#pragma once

#include "common/roi_scan.cuh"
#include "common/roi_table.cuh"

namespace edgecv {

constexpr unsigned kChwChannels = 64;  // of a block in kChw
constexpr unsigned kHwc8Items = 512;   // of a block in kHwc8: bins times groups of 8 channels

// Blocks that a multiprocessor has registers for, at least: 80 and 72 of them a thread.
constexpr unsigned kChwBlocks = 6;
constexpr unsigned kHwc8Blocks = 7;

constexpr unsigned kDepth = 4;       // channels that a lane folds at a time, for loads in flight
constexpr unsigned kRowsAtOnce = 4;  // rows of bins that meet in shared memory
constexpr unsigned kLeastLanes = 8;  // of a row of a channel

// A warp's folded columns: by channel, by row of bins, by slot. The odd length of a row keeps lanes
// that read different rows on different banks.
constexpr unsigned kLineSlots = kDepth * kWarpSize / kLeastLanes * kRowsAtOnce * (kLeastLanes + 1);

// The columns that any of the bins uses, if they are few enough for a lane each, and the same for
// each warp; else `count` is 0.
struct ColumnHull {
  std::uint32_t first, count;
};

__device__ inline ColumnHull HullOf(const AxisTable& columns, std::uint32_t num_bins,
                                    unsigned stride) {
  const unsigned lane = threadIdx.x % kWarpSize;
  unsigned first = 0xffffffffu, last = 0;
  if (lane < num_bins) {
    for (unsigned k = 0; k < columns.counts[lane]; ++k) {
      first = min(first, columns.cells[lane * stride + k].offset);
      last = max(last, columns.cells[lane * stride + k].offset);
    }
  }
  for (unsigned step = kWarpSize / 2; step > 0; step /= 2) {
    first = min(first, __shfl_xor_sync(kAllLanes, first, static_cast<int>(step)));
    last = max(last, __shfl_xor_sync(kAllLanes, last, static_cast<int>(step)));
  }
  if (first > last || last - first >= kWarpSize) return {0, 0};
  return {first, last - first + 1};
}

// One warp's share of a tabulated RoI in kChw: `channels_at_once()` channels, as many of them as
// there are. `out` is the RoI's first bin.
template <typename Operation, typename Element>
class ChwFold {
 public:
  using Sum = typename Operation::template SumOf<Element>;

  __device__ ChwFold(const RoiTask<Operation>& task, const PlacedRoi<Operation>& roi,
                     const RoiTable& table, const RoiStrides& strides, Sum* lines)
      : table_(table),
        strides_(strides),
        lines_(lines),
        hull_(HullOf(table.columns, task.bins_w, strides.columns)),
        map_(static_cast<const Element*>(roi.map)),
        plane_(roi.height * roi.width),
        num_channels_(task.features.channels),
        bins_h_(task.bins_h),
        bins_w_(task.bins_w) {
    // A lane per column of the hull; or else one per cell in the table.
    tile_bins_ = hull_.count > 0 ? bins_w_ : min(bins_w_, kWarpSize / strides.columns);
    const unsigned slots = hull_.count > 0 ? hull_.count : tile_bins_ * strides.columns;
    lanes_ = slots <= kLeastLanes ? kLeastLanes : slots <= 16 ? 16 : kWarpSize;
  }

  __device__ unsigned channels_at_once() const { return kDepth * (kWarpSize / lanes_); }

  __device__ void Run(unsigned channel, Element* out) const {
    for (unsigned first_bin = 0; first_bin < bins_w_; first_bin += tile_bins_) {
      const unsigned num_bins = min(tile_bins_, bins_w_ - first_bin);
      for (unsigned row = 0; row < bins_h_; row += kRowsAtOnce) {
        const unsigned num_rows = min(kRowsAtOnce, bins_h_ - row);
        FoldRows(channel, first_bin, num_bins, row, num_rows);
        __syncwarp();
        FoldColumns(channel, first_bin, num_bins, row, num_rows, out);
        __syncwarp();
      }
    }
  }

 private:
  static constexpr std::uint32_t kNoColumn = 0xffffffffu;

  __device__ std::uint32_t ColumnOf(unsigned slot, unsigned first_bin, unsigned num_bins) const {
    if (hull_.count > 0) return slot < hull_.count ? hull_.first + slot : kNoColumn;
    const unsigned bin = slot / strides_.columns, k = slot % strides_.columns;
    if (bin >= num_bins || k >= table_.columns.counts[first_bin + bin]) return kNoColumn;
    return table_.columns.cells[(first_bin + bin) * strides_.columns + k].offset;
  }

  __device__ Sum* LineOf(unsigned local_channel, unsigned row) const {
    return lines_ + local_channel * channel_step() + row * (lanes_ + 1);
  }
  __device__ unsigned channel_step() const { return kRowsAtOnce * (lanes_ + 1); }

  // A lane is a column of kDepth channels.
  __device__ void FoldRows(unsigned channel, unsigned first_bin, unsigned num_bins, unsigned row,
                           unsigned num_rows) const {
    const unsigned lane = threadIdx.x % kWarpSize;
    const unsigned slot = lane % lanes_, local = lane / lanes_ * kDepth;
    const std::uint32_t column = ColumnOf(slot, first_bin, num_bins);
    if (column == kNoColumn) return;
    // Channels that are not there are read as the last one, and not written.
    const unsigned top_channel = min(channel + local, num_channels_ - 1);
    const char* const top =
        reinterpret_cast<const char*>(map_ + column + std::size_t{plane_} * top_channel);
    std::uint32_t behind[kDepth];  // the top channel's plane, in bytes
#pragma unroll
    for (unsigned k = 0; k < kDepth; ++k)
      behind[k] = plane_ * min(k, num_channels_ - 1 - top_channel) * unsigned{sizeof(Element)};
    Sum* to = LineOf(local, 0) + slot;
    for (unsigned r = 0; r < num_rows; ++r, to += lanes_ + 1) {
      const TableCell* cell = table_.rows.cells + (row + r) * strides_.rows;
      const TableCell* const end = cell + table_.rows.counts[row + r];
      Sum sum[kDepth];
#pragma unroll
      for (unsigned k = 0; k < kDepth; ++k) sum[k] = Operation::template Start<Sum>();
#pragma unroll 2
      for (; cell < end; ++cell) {
        const auto [offset, weight] = *cell;
        const char* const line = top + offset;
#pragma unroll
        for (unsigned k = 0; k < kDepth; ++k)
          Operation::Add(sum[k], weight,
                         Widened(__ldg(reinterpret_cast<const Element*>(line + behind[k]))));
      }
#pragma unroll
      for (unsigned k = 0; k < kDepth; ++k) to[k * channel_step()] = sum[k];
    }
  }

  // A lane is a bin of kDepth channels, and then of the next ones.
  __device__ void FoldColumns(unsigned channel, unsigned first_bin, unsigned num_bins,
                              unsigned row, unsigned num_rows, Element* out) const {
    const std::size_t bins = std::size_t{bins_h_} * bins_w_;
    const TableCell* const tile = table_.columns.cells + first_bin * strides_.columns;
    for (unsigned k = threadIdx.x % kWarpSize; k < num_rows * num_bins; k += kWarpSize) {
      const unsigned r = k / num_bins, bin = first_bin + k % num_bins;
      const bool is_empty =
          table_.columns.counts[bin] == 0 || table_.rows.counts[row + r] == 0;
      const TableCell* const begin = table_.columns.cells + bin * strides_.columns;
      const TableCell* const end = begin + (is_empty ? 0 : table_.columns.counts[bin]);
      Element* to = out + channel * bins + std::size_t{row + r} * bins_w_ + bin;
      for (unsigned local = 0; local < channels_at_once(); local += kDepth) {
        Sum sum[kDepth];
#pragma unroll
        for (unsigned c = 0; c < kDepth; ++c)
          sum[c] = is_empty ? Sum{0} : Operation::template Start<Sum>();
        const Sum* const line = LineOf(local, r);
#pragma unroll 2
        for (const TableCell* cell = begin; cell < end; ++cell) {
          const auto [offset, weight] = *cell;
          const unsigned slot =
              hull_.count > 0 ? offset - hull_.first : static_cast<unsigned>(cell - tile);
#pragma unroll
          for (unsigned c = 0; c < kDepth; ++c)
            Operation::Add(sum[c], weight, line[slot + c * channel_step()]);
        }
#pragma unroll
        for (unsigned c = 0; c < kDepth; ++c)
          if (channel + local + c < num_channels_)
            to[(local + c) * bins] = Narrowed<Element>(sum[c]);
      }
    }
  }

  const RoiTable& table_;
  const RoiStrides& strides_;
  Sum* const lines_;
  const ColumnHull hull_;
  const Element* const map_;
  const std::uint32_t plane_, num_channels_, bins_h_, bins_w_;
  unsigned tile_bins_, lanes_;
};

// A block for each RoI and, of its channels, each chunk.
template <typename Operation, typename Element>
__global__ void __launch_bounds__(kRoiThreads, kChwBlocks)
    RoiChwKernel(const RoiTask<Operation> task) {
  using Sum = typename Operation::template SumOf<Element>;
  __shared__ RoiTable table;
  __shared__ Sum lines[kRoiWarps][kLineSlots];
  const std::uint32_t num_channels = task.features.channels;
  const std::size_t bins = std::size_t{task.bins_h} * task.bins_w;
  const unsigned roi = blockIdx.x;
  const unsigned begin = blockIdx.y * task.chunk;
  const unsigned end = num_channels - begin < task.chunk ? num_channels : begin + task.chunk;
  Element* const out = static_cast<Element*>(task.out) + roi * (num_channels * bins);
  const PlacedRoi<Operation> placed = PlaceRoi<Operation, Element>(task, roi, num_channels);
  if (!placed.is_somewhere) {
    for (std::size_t k = begin * bins + threadIdx.x; k < end * bins; k += kRoiThreads)
      out[k] = Narrowed<Element>(Sum{0});
    return;
  }
  const std::size_t plane = std::size_t{placed.height} * placed.width;
  const RoiStrides strides = StridesOf(placed, task.bins_h, task.bins_w,
                                       plane * kDepth * sizeof(Element));
  if (!strides.fit) return ScanChw<Operation, Element>(task, placed, begin, end, out);
  const RoiSteps steps = {placed.width * unsigned{sizeof(Element)}, 1};
  Tabulate(placed, strides, steps, task.bins_h, task.bins_w, table);
  const unsigned warp = threadIdx.x / kWarpSize;
  const ChwFold<Operation, Element> fold(task, placed, table, strides, lines[warp]);
  for (unsigned channel = begin + warp * fold.channels_at_once(); channel < end;
       channel += kRoiWarps * fold.channels_at_once())
    fold.Run(channel, out);
}

// A block for each RoI and, of its items, each chunk: bin after bin, the groups of eight channels.
template <typename Operation>
__global__ void __launch_bounds__(kRoiThreads, kHwc8Blocks)
    RoiHwc8Kernel(const RoiTask<Operation> task) {
  using Sum = typename Operation::template SumOf<__half>;
  __shared__ RoiTable table;
  const std::uint32_t num_groups = CeilDiv<std::uint32_t>(task.features.channels, 8);
  const unsigned num_items = task.bins_h * task.bins_w * num_groups;
  const unsigned roi = blockIdx.x;
  const unsigned begin = blockIdx.y * task.chunk;
  const unsigned end = num_items - begin < task.chunk ? num_items : begin + task.chunk;
  __half* const out = static_cast<__half*>(task.out) + std::size_t{roi} * num_items * 8;
  const PlacedRoi<Operation> placed =
      PlaceRoi<Operation, __half>(task, roi, std::size_t{num_groups} * 8);
  if (!placed.is_somewhere) {
    for (unsigned item = begin + threadIdx.x; item < end; item += kRoiThreads)
      StoreEight<Sum>({}, 0, out + std::size_t{item} * 8);
    return;
  }
  const std::size_t row_step = std::size_t{placed.width} * num_groups;
  const RoiStrides strides = StridesOf(placed, task.bins_h, task.bins_w, placed.height * row_step);
  if (!strides.fit) return ScanHwc8<Operation>(task, placed, begin, end, out);
  const RoiSteps steps = {static_cast<std::uint32_t>(row_step), num_groups};
  Tabulate(placed, strides, steps, task.bins_h, task.bins_w, table);
  for (unsigned item = begin + threadIdx.x; item < end; item += kRoiThreads) {
    const unsigned bin = item / num_groups, group = item % num_groups;
    const unsigned bin_y = bin / task.bins_w, bin_x = bin % task.bins_w;
    const TableCell* const rows = table.rows.cells + bin_y * strides.rows;
    const TableCell* const columns = table.columns.cells + bin_x * strides.columns;
    const TableCell* const rows_end = rows + table.rows.counts[bin_y];
    const TableCell* const columns_end = columns + table.columns.counts[bin_x];
    const uint4* const map = static_cast<const uint4*>(placed.map) + group;
    EightSums<Sum> sums;
    const bool is_empty = rows == rows_end || columns == columns_end;
    sums.Fill(is_empty ? Sum{0} : Operation::template Start<Sum>());
    for (const TableCell* row = rows; row < rows_end; ++row) {
      const auto [down, weight] = *row;
#pragma unroll 4
      for (const TableCell* column = columns; column < columns_end; ++column)
        AddEight<Operation>(sums, weight * column->weight,
                            LoadEight(map + (down + column->offset)));
    }
    StoreEight(sums, ChannelsOf(group, task.features.channels), out + std::size_t{item} * 8);
  }
}

template <typename Operation>
cudaError_t LaunchRois(const DeviceFeatures& features, const DeviceRois& rois, BinGrid grid,
                       const typename Operation::Options& options, void* out,
                       cudaStream_t stream) {
  if (rois.count == 0 || features.channels == 0 || grid.height == 0 || grid.width == 0)
    return cudaSuccess;  // a launch with an empty grid is an error
  const bool is_chw = features.layout == RoiLayout::kChw;
  // What a block takes a chunk of; 32 bits count them.
  const std::size_t groups = CeilDiv<std::size_t>(features.channels, 8);
  if (rois.count > kMaxRois || grid.height > kMaxRoiItems ||
      grid.width > kMaxRoiItems / grid.height / groups)
    return cudaErrorInvalidValue;
  const std::size_t items =
      is_chw ? std::size_t{features.channels} : grid.height * grid.width * groups;
  // Chunks of whole units of which a grid has enough.
  const std::size_t unit = is_chw ? kChwChannels : kHwc8Items;
  const std::size_t chunk = unit * CeilDiv<std::size_t>(items, unit * kMaxGridY);
  const RoiTask<Operation> task = {features,
                                   rois,
                                   options,
                                   static_cast<std::uint32_t>(grid.height),
                                   static_cast<std::uint32_t>(grid.width),
                                   static_cast<std::uint32_t>(chunk),
                                   out};
  const dim3 blocks(static_cast<unsigned>(rois.count),
                    static_cast<unsigned>(CeilDiv(items, chunk)));
  const auto launch = [&](auto* kernel) {
    return Launch(kernel, blocks, dim3(kRoiThreads), 0, stream, task);
  };
  if (features.element == RoiElement::kHalf)
    return is_chw ? launch(RoiChwKernel<Operation, __half>) : launch(RoiHwc8Kernel<Operation>);
  if (!is_chw) return cudaErrorInvalidValue;
  if (features.element == RoiElement::kFloat) return launch(RoiChwKernel<Operation, float>);
  if constexpr (Operation::kTakesInt8) return launch(RoiChwKernel<Operation, std::int8_t>);
  return cudaErrorInvalidValue;
}

}  // namespace edgecv
