// CUDA implementation of resize_argmax.h, in one launch.
//
// A block makes a tile of labels, 128 columns and a band of 32 rows, in three steps:
//   1. the best class of each of the few logits under the tile;
//   2. an item is 4 neighbouring columns in up to kRows rows that lie between the same two rows of
//      logits. Where the winners around an item agree, the label is theirs: between four logits the
//      difference of two classes is bilinear. The items that this leaves are collected in a list, so
//      that the threads which go on have neighbours that do;
//   3. a thread takes an item and, class by class, interpolates horizontally once for all of its rows
//      (4 columns), then steps from row to row: 16 values for 16 loads. The 4 labels of a row are the
//      bytes of one register and of one store.
//
// Compute-bound: 5 instructions a class and pixel and half as many again for loads and for what the
// rows share, of the pixels near the border of two classes. The logits are read once from memory,
// from then on out of L1, and `out` is written once: for 21 classes at an eighth of 1080p 5 MB, 2 us
// on an H100, against 15 us of arithmetic if all pixels are near a border.

#include "resize_argmax/resize_argmax.cuh"

#include <cmath>

#include "common/launch.cuh"
#include "resize_argmax/interpolation.h"

namespace edgecv {
namespace {

using resize_argmax::Column;
using resize_argmax::ColumnOf;
using resize_argmax::Tap;
using resize_argmax::TapOf;
using resize_argmax::ValueAt;

constexpr unsigned kThreads = 256;
constexpr unsigned kGroup = 4;                // columns of an item
constexpr unsigned kColumns = kWarpSize * kGroup;
constexpr unsigned kBand = kWarpSize;         // rows of a tile
constexpr unsigned kMaxWinners = 1280;        // 66 x 18 logits lie under a tile at a scale of 1/2

// Sides of the grid. More than these keep a GPU busy; a block then goes on to what is left.
constexpr std::size_t kMaxBands = 1024, kMaxImages = 64;

constexpr float kInfinity = INFINITY;

template <typename Value>
struct Job {
  const Value* values;
  std::size_t image_step, class_step;  // elements from an image, or a load of classes, to the next
  std::uint32_t pixel_step;            // idem, from a pixel
  std::uint32_t batch, num_classes;
  std::int32_t height, width, out_height, out_width;
  AxisMap map_y, map_x;
  std::int32_t shift;  // of the bands, so that one starts where the row of logits changes
  bool knows_winners;  // whether step 1 pays
  bool is_aligned;     // whether 4 neighbouring labels, and confidences, are one store
  std::uint8_t* labels;
  float* confidence;
};

// How many classes a load brings, and how. The classes of a pixel are padded to whole kPadding.
struct Floats {
  using Value = float;
  static constexpr unsigned kClasses = 1, kPadding = 1;
  __device__ static void Read(const float* at, float (&out)[1]) { out[0] = __ldg(at); }
};

struct Halves {
  using Value = __half;
  static constexpr unsigned kClasses = 1, kPadding = 1;
  __device__ static void Read(const __half* at, float (&out)[1]) {
    out[0] = __half2float(__ldg(at));
  }
};

// Four at a time, not eight: the values of four pixels' neighbours stay in registers.
struct HalvesHwc8 {
  using Value = __half;
  static constexpr unsigned kClasses = 4, kPadding = 8;
  __device__ static void Read(const __half* at, float (&out)[4]) {
    const uint2 bits = __ldg(reinterpret_cast<const uint2*>(at));
    out[0] = ToFloat(bits.x & 0xffff);
    out[1] = ToFloat(bits.x >> 16);
    out[2] = ToFloat(bits.y & 0xffff);
    out[3] = ToFloat(bits.y >> 16);
  }
  __device__ static float ToFloat(std::uint32_t bits) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
  }
};

struct Strip {
  std::uint8_t first, count;  // rows of the band, all between the same two rows of logits
};

struct Tile {
  Tap rows[kBand];
  Tap columns[kColumns];  // the last one of the frame again past its edge
  Strip strips[kBand];
  std::uint32_t num_strips, num_open;
  std::int32_t first_row, last_row;     // of the logits under the tile
  std::uint16_t open[kBand * kWarpSize];  // items that step 2 leaves
  std::uint8_t winners[kMaxWinners];
};

// Fills in `rows` and `strips`; one warp, a lane a row. `top` is the output row of the first.
template <unsigned kRows, typename Value>
__device__ void SplitBand(const Job<Value>& job, std::int32_t top, Tile& tile) {
  const unsigned lane = threadIdx.x;
  const std::int32_t y = top + static_cast<std::int32_t>(lane);
  const bool is_inside = y >= 0 && y < job.out_height;
  const Tap tap = TapOf(min(max(y, 0), job.out_height - 1), job.map_y, job.height - 1);
  const std::int32_t above = __shfl_up_sync(kAllLanes, tap.low, 1);
  const std::uint32_t inside = __ballot_sync(kAllLanes, is_inside);
  const std::uint32_t changes =
      __ballot_sync(kAllLanes, is_inside && (lane == 0 || y == 0 || above != tap.low));
  const std::uint32_t up_to_here = kAllLanes >> (kWarpSize - 1 - lane);
  const auto run = static_cast<unsigned>(__clz(changes & up_to_here));  // lanes above the change
  const unsigned in_run = lane + run - (kWarpSize - 1);
  const std::uint32_t starts = __ballot_sync(kAllLanes, is_inside && in_run % kRows == 0);

  tile.rows[lane] = tap;
  if (starts >> lane & 1) {
    const std::uint32_t later = starts & ~up_to_here;
    const auto end = static_cast<unsigned>(
        later != 0 ? __ffs(later) - 1 : static_cast<int>(kWarpSize) - __clz(inside));
    tile.strips[__popc(starts & up_to_here) - 1] = {static_cast<std::uint8_t>(lane),
                                                    static_cast<std::uint8_t>(end - lane)};
  }
  if (lane == 0) {
    tile.num_strips = static_cast<std::uint32_t>(__popc(starts));
    tile.num_open = 0;
  }
  // Rows outside the frame repeat the first or last one.
  if (lane == 0) tile.first_row = tap.low;
  if (lane == kWarpSize - 1) tile.last_row = tap.high;
}

template <typename Reader, typename Value>
__device__ std::uint8_t WinnerAt(const Job<Value>& job, const Value* logit) {
  float best = -kInfinity;
  std::uint32_t winner = 0;
#pragma unroll 4
  for (std::uint32_t c = 0; c < job.num_classes; c += Reader::kClasses) {
    float values[Reader::kClasses];
    Reader::Read(logit, values);
    logit += job.class_step;
#pragma unroll
    for (std::uint32_t k = 0; k < Reader::kClasses; ++k) {
      if ((Reader::kClasses == 1 || c + k < job.num_classes) && values[k] > best) {
        best = values[k];
        winner = c + k;
      }
    }
  }
  return static_cast<std::uint8_t>(winner);
}

// The class that wins at all logits around an item, -1 if there is none.
__device__ int CommonWinner(const Tile& tile, unsigned strip, unsigned group) {
  const std::int32_t first = tile.columns[0].low;
  const std::int32_t width = tile.columns[kColumns - 1].high - first + 1;
  const std::int32_t left = tile.columns[group * kGroup].low - first;
  const std::int32_t right = tile.columns[group * kGroup + kGroup - 1].high - first;
  const Tap& row = tile.rows[tile.strips[strip].first];
  const std::uint8_t* above = tile.winners + (row.low - tile.first_row) * width;
  const std::uint8_t* below = tile.winners + (row.high - tile.first_row) * width;
  const std::uint8_t winner = above[left];
  for (std::int32_t i = left; i <= right; ++i)
    if (above[i] != winner || below[i] != winner) return -1;
  return winner;
}

constexpr std::uint32_t kFourBytes = 0x01010101;

template <typename Value>
__device__ void StoreLabels(const Job<Value>& job, std::size_t pixel, unsigned num_columns,
                            std::uint32_t labels) {
  std::uint8_t* const out = job.labels + pixel;
  if (job.is_aligned) {
    *reinterpret_cast<std::uint32_t*>(out) = labels;
    return;
  }
#pragma unroll
  for (unsigned j = 0; j < kGroup; ++j)
    if (j < num_columns) out[j] = static_cast<std::uint8_t>(labels >> 8 * j);
}

// The first pixel of an item, and how many columns it has in the frame: 0 if it lies outside.
struct Corner {
  std::size_t pixel;
  unsigned num_columns;
};

template <typename Value>
__device__ Corner CornerOf(const Job<Value>& job, std::uint32_t image, std::int32_t top,
                           std::int32_t left, const Strip& strip, unsigned group) {
  const std::int32_t x = left + static_cast<std::int32_t>(group * kGroup);
  const std::size_t y = static_cast<std::size_t>(top + strip.first);
  const auto width = static_cast<std::size_t>(job.out_width);
  const std::size_t first = image * (static_cast<std::size_t>(job.out_height) * width);
  const unsigned rest = x < job.out_width ? static_cast<unsigned>(job.out_width - x) : 0;
  return {first + y * width + static_cast<std::size_t>(x), min(rest, kGroup)};
}

// Step 3. `known` is the label where step 2 found it, or -1.
template <typename Reader, unsigned kRows, bool kConfidence, typename Value>
__device__ void Decide(const Job<Value>& job, const Tile& tile, const Value* image, unsigned group,
                       const Strip& strip, const Corner& corner, int known) {
  const Tap& row = tile.rows[strip.first];
  const std::size_t row_step = static_cast<std::size_t>(job.width) * job.pixel_step;
  const Value* above = image + static_cast<std::size_t>(row.low) * row_step;
  const Value* below = image + static_cast<std::size_t>(row.high) * row_step;
  std::uint32_t low[kGroup], high[kGroup];
  float weight_x[kGroup], weight_y[kRows];
#pragma unroll
  for (unsigned j = 0; j < kGroup; ++j) {
    const Tap& column = tile.columns[group * kGroup + j];
    low[j] = static_cast<std::uint32_t>(column.low) * job.pixel_step;
    high[j] = static_cast<std::uint32_t>(column.high) * job.pixel_step;
    weight_x[j] = column.weight;
  }
#pragma unroll
  for (unsigned r = 0; r < kRows; ++r)  // a strip of fewer rows repeats its last one
    weight_y[r] = tile.rows[strip.first + min(r, strip.count - 1u)].weight;

  // Calls `use(j, r, class, value)` for every class and pixel.
  const auto for_each_value = [&](auto use) {
    const Value* in_above = above;
    const Value* in_below = below;
    for (std::uint32_t c = 0; c < job.num_classes; c += Reader::kClasses) {
#pragma unroll
      for (unsigned j = 0; j < kGroup; ++j) {
        float low0[Reader::kClasses], high0[Reader::kClasses];
        float low1[Reader::kClasses], high1[Reader::kClasses];
        Reader::Read(in_above + low[j], low0);
        Reader::Read(in_above + high[j], high0);
        Reader::Read(in_below + low[j], low1);
        Reader::Read(in_below + high[j], high1);
#pragma unroll
        for (std::uint32_t k = 0; k < Reader::kClasses; ++k) {
          if (Reader::kClasses > 1 && c + k >= job.num_classes) continue;
          const Column column = ColumnOf(low0[k], high0[k], low1[k], high1[k], weight_x[j]);
#pragma unroll
          for (unsigned r = 0; r < kRows; ++r) use(j, r, c + k, ValueAt(column, weight_y[r]));
        }
      }
      in_above += job.class_step;
      in_below += job.class_step;
    }
  };

  float best[kRows][kGroup];
  std::uint32_t labels[kRows] = {};  // a byte per column
#pragma unroll
  for (unsigned r = 0; r < kRows; ++r)
#pragma unroll
    for (unsigned j = 0; j < kGroup; ++j) best[r][j] = -kInfinity;
  for_each_value([&](unsigned j, unsigned r, std::uint32_t c, float value) {
    constexpr std::uint32_t kReplaceByte[kGroup] = {0x3214, 0x3240, 0x3410, 0x4210};
    if (value > best[r][j]) {
      best[r][j] = value;
      labels[r] = __byte_perm(labels[r], c, kReplaceByte[j]);
    }
  });
  const auto width = static_cast<std::size_t>(job.out_width);
#pragma unroll
  for (unsigned r = 0; r < kRows; ++r) {
    if (r >= strip.count) break;
    StoreLabels(job, corner.pixel + r * width, corner.num_columns,
                known < 0 ? labels[r] : static_cast<std::uint32_t>(known) * kFourBytes);
  }

  if constexpr (kConfidence) {
    float sum[kRows][kGroup] = {};
    for_each_value([&](unsigned j, unsigned r, std::uint32_t, float value) {
      const float exponent = value - best[r][j];
      if (exponent > -87.0f) sum[r][j] += __expf(exponent);  // no NaN, and nothing that counts
    });
#pragma unroll
    for (unsigned r = 0; r < kRows; ++r) {
      if (r >= strip.count) break;
      float probability[kGroup];
#pragma unroll
      for (unsigned j = 0; j < kGroup; ++j)
        probability[j] = best[r][j] - best[r][j] == 0.0f ? 1.0f / sum[r][j] : NAN;  // if not finite
      float* const out = job.confidence + corner.pixel + r * width;
      if (job.is_aligned) {
        *reinterpret_cast<float4*>(out) =
            make_float4(probability[0], probability[1], probability[2], probability[3]);
      } else {
#pragma unroll
        for (unsigned j = 0; j < kGroup; ++j)
          if (j < corner.num_columns) out[j] = probability[j];
      }
    }
  }
}

template <typename Reader, unsigned kRows, bool kConfidence>
__global__ void __launch_bounds__(kThreads, Reader::kClasses > 1 || kConfidence ? 2 : 3)
    ResizeArgmaxKernel(const Job<typename Reader::Value> job) {
  Tile& tile = *DynamicShared<Tile>();
  const std::int32_t left = static_cast<std::int32_t>(blockIdx.x * kColumns);
  if (threadIdx.x < kColumns) {
    const std::int32_t x = min(left + static_cast<std::int32_t>(threadIdx.x), job.out_width - 1);
    tile.columns[threadIdx.x] = TapOf(x, job.map_x, job.width - 1);
  }
  const unsigned warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  for (std::uint32_t image = blockIdx.z; image < job.batch; image += gridDim.z) {
    const auto* const values = job.values + image * job.image_step;
    for (std::int32_t top = static_cast<std::int32_t>(blockIdx.y * kBand) - job.shift;
         top < job.out_height; top += static_cast<std::int32_t>(gridDim.y * kBand)) {
      __syncthreads();  // the tile before is done with
      if (warp == 0) SplitBand<kRows>(job, top, tile);
      __syncthreads();

      const auto first_column = static_cast<std::size_t>(tile.columns[0].low);
      const std::size_t width = tile.columns[kColumns - 1].high - first_column + 1;
      const auto first_row = static_cast<std::size_t>(tile.first_row);
      const std::size_t num_logits = width * (tile.last_row - first_row + 1);
      const bool knows_winners = job.knows_winners && num_logits <= kMaxWinners;
      if (knows_winners) {
        for (unsigned i = threadIdx.x; i < num_logits; i += kThreads) {
          const std::size_t y = first_row + i / static_cast<unsigned>(width);
          const std::size_t x = first_column + i % static_cast<unsigned>(width);
          const std::size_t pixel = y * static_cast<std::size_t>(job.width) + x;
          tile.winners[i] = WinnerAt<Reader>(job, values + pixel * job.pixel_step);
        }
        __syncthreads();
      }

      // A warp takes a strip at a time: its items are as many as lanes.
      for (unsigned s = warp; s < tile.num_strips; s += kThreads / kWarpSize) {
        const Strip strip = tile.strips[s];
        const Corner corner = CornerOf(job, image, top, left, strip, lane);
        const int known =
            knows_winners && corner.num_columns > 0 ? CommonWinner(tile, s, lane) : -1;
        if constexpr (kConfidence) {
          if (corner.num_columns > 0)
            Decide<Reader, kRows, true>(job, tile, values, lane, strip, corner, known);
        } else {
          if (known >= 0)
            for (std::size_t r = 0; r < strip.count; ++r)
              StoreLabels(job, corner.pixel + r * static_cast<std::size_t>(job.out_width),
                          corner.num_columns, static_cast<std::uint32_t>(known) * kFourBytes);
          const bool is_open = corner.num_columns > 0 && known < 0;
          const std::uint32_t open = __ballot_sync(kAllLanes, is_open);
          std::uint32_t place = 0;
          if (lane == 0) place = atomicAdd(&tile.num_open, static_cast<std::uint32_t>(__popc(open)));
          place = __shfl_sync(kAllLanes, place, 0);
          place += static_cast<std::uint32_t>(__popc(open & ((1u << lane) - 1)));
          if (is_open) tile.open[place] = static_cast<std::uint16_t>(s * kWarpSize + lane);
        }
      }
      if constexpr (!kConfidence) {
        __syncthreads();
        for (unsigned i = threadIdx.x; i < tile.num_open; i += kThreads) {
          const unsigned item = tile.open[i], group = item % kWarpSize;
          const Strip strip = tile.strips[item / kWarpSize];
          const Corner corner = CornerOf(job, image, top, left, strip, group);
          Decide<Reader, kRows, false>(job, tile, values, group, strip, corner, -1);
        }
      }
    }
  }
}

// So many rows before the first change of the row of logits; for speed alone, so a guess will do.
std::int32_t RowsToFirstChange(AxisMap map) {
  const float first = 0.5f * map.scale + map.bias;
  const float next = (first > 0.0f ? std::floor(first) : 0.0f) + 1.0f;
  const float row = std::ceil((next - map.bias) / map.scale - 0.5f);
  return row > 0.0f && row < static_cast<float>(kMaxSide) ? static_cast<std::int32_t>(row) : 0;
}

template <typename Reader>
cudaError_t Resize(const DeviceLogits& logits, AxisMap map_y, AxisMap map_x, std::size_t out_height,
                   std::size_t out_width, std::uint8_t* labels, float* confidence,
                   cudaStream_t stream) {
  using Value = typename Reader::Value;
  const std::size_t plane = logits.height * logits.width;
  const std::size_t classes = CeilDiv<std::size_t>(logits.num_classes, Reader::kPadding) *
                              Reader::kPadding;
  const bool is_planar = Reader::kClasses == 1;
  const auto address = [](const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); };
  Job<Value> job = {};
  job.values = static_cast<const Value*>(logits.values);
  job.image_step = classes * plane;
  job.class_step = is_planar ? plane : Reader::kClasses;
  job.pixel_step = is_planar ? 1 : static_cast<std::uint32_t>(classes);
  job.batch = static_cast<std::uint32_t>(logits.batch);
  job.num_classes = static_cast<std::uint32_t>(logits.num_classes);
  job.height = static_cast<std::int32_t>(logits.height);
  job.width = static_cast<std::int32_t>(logits.width);
  job.out_height = static_cast<std::int32_t>(out_height);
  job.out_width = static_cast<std::int32_t>(out_width);
  job.map_y = map_y;
  job.map_x = map_x;
  constexpr auto kRowsOfBand = static_cast<std::int32_t>(kBand);
  job.shift = (kRowsOfBand - RowsToFirstChange(map_y) % kRowsOfBand) % kRowsOfBand;
  job.knows_winners = map_y.scale * map_x.scale <= 0.25f;  // with fewer pixels a logit it costs more
  job.is_aligned = out_width % kGroup == 0 && address(labels) % 4 == 0 &&
                   address(confidence) % alignof(float4) == 0;
  job.labels = labels;
  job.confidence = confidence;

  const std::size_t bands = CeilDiv<std::size_t>(out_height + static_cast<std::size_t>(job.shift),
                                                 kBand);
  const auto side = [](std::size_t count, std::size_t most) {
    return static_cast<unsigned>(count < most ? count : most);
  };
  const dim3 grid(static_cast<unsigned>(CeilDiv<std::size_t>(out_width, kColumns)),
                  side(bands, kMaxBands), side(logits.batch, kMaxImages));
  const auto launch = [&](auto* kernel) {
    return Launch(kernel, grid, dim3(kThreads), sizeof(Tile), stream, job);
  };
  const bool is_tall = map_y.scale <= 0.4f;  // 3 rows or more between two of the logits
  if (confidence == nullptr)
    return launch(is_tall ? ResizeArgmaxKernel<Reader, 4, false>
                          : ResizeArgmaxKernel<Reader, 2, false>);
  return launch(is_tall ? ResizeArgmaxKernel<Reader, 4, true> : ResizeArgmaxKernel<Reader, 2, true>);
}

}  // namespace

cudaError_t ResizeArgmaxCuda(const DeviceLogits& logits, AxisMap map_y, AxisMap map_x,
                             std::size_t out_height, std::size_t out_width, std::uint8_t* labels,
                             float* confidence, cudaStream_t stream) {
  if (logits.batch == 0) return cudaSuccess;  // a launch with an empty grid is an error
  const auto resize = [&](auto reader) {
    return Resize<decltype(reader)>(logits, map_y, map_x, out_height, out_width, labels, confidence,
                                    stream);
  };
  switch (logits.layout) {
    case LogitsLayout::kHalf: return resize(Halves{});
    case LogitsLayout::kHalfHwc8: return resize(HalvesHwc8{});
    default: return resize(Floats{});
  }
}

}  // namespace edgecv
