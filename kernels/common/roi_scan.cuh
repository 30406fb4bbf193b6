// RoIs whose bins are too large, or too many, for a table (roi_table.cuh). A warp takes a bin; its
// lanes work out the weights of 32 rows and of 32 columns at a time and hand those of rows around.
// So the time is that of the cells of the map which a bin spans, however many samples it has.
#pragma once

#include "common/roi_table.cuh"

namespace edgecv {

constexpr unsigned kScanDepth = 4;  // channels that share the weights

template <typename Sum>
struct EightSums {
  Sum values[8];

  __device__ void Fill(Sum value) {
#pragma unroll
    for (Sum& each : values) each = value;
  }
};

template <typename Operation, typename Sum>
__device__ void AddEight(EightSums<Sum>& sums, float weight, const EightHalves& halves) {
#pragma unroll
  for (unsigned k = 0; k < 4; ++k) {
    const float2 pair = __half22float2(halves.pairs[k]);
    Operation::Add(sums.values[2 * k], weight, pair.x);
    Operation::Add(sums.values[2 * k + 1], weight, pair.y);
  }
}

// How many of the eight channels of a group are there.
__device__ inline unsigned ChannelsOf(unsigned group, std::uint32_t num_channels) {
  return min(8u, num_channels - group * 8);
}

// The first `num_channels`, and 0 in the others.
template <typename Sum>
__device__ void StoreEight(const EightSums<Sum>& sums, unsigned num_channels, __half* to) {
  union {
    EightHalves halves;
    uint4 bits;
  } stored;
#pragma unroll
  for (unsigned k = 0; k < 4; ++k)
    stored.halves.pairs[k] = __floats2half2_rn(2 * k < num_channels ? sums.values[2 * k] : 0.0f,
                                               2 * k + 1 < num_channels ? sums.values[2 * k + 1]
                                                                        : 0.0f);
  *reinterpret_cast<uint4*>(to) = stored.bits;
}

// 0 for a cell behind the last.
template <typename Operation>
__device__ float WeightAt(const typename Operation::Bin& bin, std::uint32_t cell) {
  return cell < bin.cells.end ? Operation::WeightOf(bin, cell) : 0.0f;
}

// Calls `visit(y, weight)` for the rows of a bin among the 32 from `first` on; all lanes together.
template <typename Operation, typename Visit>
__device__ void ForEachRow(const typename Operation::Bin& rows, std::uint32_t first, Visit visit) {
  const unsigned lane = threadIdx.x % kWarpSize;
  const float own = WeightAt<Operation>(rows, first + lane);
  for (unsigned left = __ballot_sync(kAllLanes, own != 0.0f); left != 0; left &= left - 1) {
    const int source = __ffs(left) - 1;
    visit(first + static_cast<unsigned>(source), __shfl_sync(kAllLanes, own, source));
  }
}

// Channels [begin, end) of a RoI in kChw; `out` is its first bin.
template <typename Operation, typename Element>
__device__ void ScanChw(const RoiTask<Operation>& task, const PlacedRoi<Operation>& roi,
                        unsigned begin, unsigned end, Element* out) {
  using Sum = typename Operation::template SumOf<Element>;
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const std::size_t bins = std::size_t{task.bins_h} * task.bins_w;
  const std::size_t plane = std::size_t{roi.height} * roi.width;
  const unsigned num_parts = CeilDiv(end - begin, kScanDepth);
  for (unsigned part = warp; part < bins * num_parts; part += kRoiWarps) {
    const unsigned bin = part / num_parts, channel = begin + part % num_parts * kScanDepth;
    const unsigned bin_y = bin / task.bins_w, bin_x = bin % task.bins_w;
    const typename Operation::Bin rows = Operation::BinOf(roi.rows, bin_y);
    const typename Operation::Bin columns = Operation::BinOf(roi.columns, bin_x);
    const std::uint32_t end_y = rows.cells.end, end_x = columns.cells.end;
    const bool is_empty = rows.cells.begin >= end_y || columns.cells.begin >= end_x;
    Sum sum[kScanDepth];
#pragma unroll
    for (Sum& each : sum) each = is_empty ? Sum{0} : Operation::template Start<Sum>();
    for (std::uint32_t x = columns.cells.begin; !is_empty && x < end_x; x += kWarpSize) {
      const float weight = WeightAt<Operation>(columns, x + lane);
      if (!__any_sync(kAllLanes, weight != 0.0f)) continue;
      const Element* const map = static_cast<const Element*>(roi.map) + channel * plane + x + lane;
      Sum line[kScanDepth];
#pragma unroll
      for (Sum& each : line) each = Operation::template Start<Sum>();
      for (std::uint32_t y = rows.cells.begin; y < end_y; y += kWarpSize) {
        ForEachRow<Operation>(rows, y, [&](std::uint32_t row, float of_row) {
          if (weight == 0.0f) return;
          const Element* const from = map + std::size_t{row} * roi.width;
#pragma unroll
          for (unsigned k = 0; k < kScanDepth; ++k)
            if (channel + k < end)
              Operation::Add(line[k], of_row, Widened(__ldg(from + k * plane)));
        });
      }
      if (weight != 0.0f) {
#pragma unroll
        for (unsigned k = 0; k < kScanDepth; ++k) Operation::Add(sum[k], weight, line[k]);
      }
    }
#pragma unroll
    for (unsigned k = 0; k < kScanDepth; ++k) {
      for (unsigned step = kWarpSize / 2; step > 0; step /= 2)
        sum[k] = Operation::Join(
            sum[k], __shfl_xor_sync(kAllLanes, sum[k], static_cast<int>(step)));
      if (lane == 0 && channel + k < end)
        out[(channel + k) * bins + bin] = Narrowed<Element>(sum[k]);
    }
  }
}

// Items [begin, end) of a RoI in kHwc8, eight channels of a bin each; `out` is its first.
template <typename Operation>
__device__ void ScanHwc8(const RoiTask<Operation>& task, const PlacedRoi<Operation>& roi,
                         unsigned begin, unsigned end, __half* out) {
  using Sum = typename Operation::template SumOf<__half>;
  const unsigned lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const unsigned num_groups = CeilDiv<std::uint32_t>(task.features.channels, 8);
  const unsigned last_bin = (end - 1) / num_groups;
  for (unsigned bin = begin / num_groups + warp; bin <= last_bin; bin += kRoiWarps) {
    const unsigned bin_y = bin / task.bins_w, bin_x = bin % task.bins_w;
    const typename Operation::Bin rows = Operation::BinOf(roi.rows, bin_y);
    const typename Operation::Bin columns = Operation::BinOf(roi.columns, bin_x);
    const std::uint32_t end_y = rows.cells.end, end_x = columns.cells.end;
    const bool is_empty = rows.cells.begin >= end_y || columns.cells.begin >= end_x;
    const unsigned first = max(begin, bin * num_groups) - bin * num_groups;
    const unsigned num_here = min(end - bin * num_groups, num_groups);
    for (unsigned base = first; base < num_here; base += kWarpSize) {
      const unsigned group = base + lane;
      EightSums<Sum> sums;
      sums.Fill(is_empty ? Sum{0} : Operation::template Start<Sum>());
      for (std::uint32_t x = columns.cells.begin; !is_empty && x < end_x; x += kWarpSize) {
        const float own = WeightAt<Operation>(columns, x + lane);
        const unsigned used = __ballot_sync(kAllLanes, own != 0.0f);
        for (std::uint32_t y = rows.cells.begin; used != 0 && y < end_y; y += kWarpSize) {
          ForEachRow<Operation>(rows, y, [&](std::uint32_t row, float of_row) {
            for (unsigned left = used; left != 0; left &= left - 1) {
              const int source = __ffs(left) - 1;
              const float weight = of_row * __shfl_sync(kAllLanes, own, source);
              if (group >= num_here) continue;
              const std::size_t cell =
                  std::size_t{row} * roi.width + x + static_cast<unsigned>(source);
              AddEight<Operation>(sums, weight,
                                  LoadEight(static_cast<const uint4*>(roi.map) +
                                            cell * num_groups + group));
            }
          });
        }
      }
      if (group < num_here)
        StoreEight(sums, ChannelsOf(group, task.features.channels),
                   out + (std::size_t{bin} * num_groups + group) * 8);
    }
  }
}

}  // namespace edgecv
