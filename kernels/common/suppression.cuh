// Non-maximum suppression of a batch on a GPU, for every operator that ends in it: a filter kernel
// finds the candidates of all images, a second one, a block an image, visits them best first.
//
// A candidate is a 64-bit key: its score, made to order as integers do, above the inverted number of
// its pair of a box and a class. No two are equal, and falling keys are falling scores, ties by pair:
// so the order in which atomics hand out places is of no consequence.
//   Filter: a block stages what it finds of a tile in shared memory and appends it to its image's
//   keys with one global atomic. The count goes on where the keys have no room left.
//   Suppression: common/key_selection.cuh takes the keys that fit at once or else the best 1024 to
//   2048, then the next, as long as detections are missing. They are sorted in shared memory and
//   visited in chunks of 64: 16 threads a candidate compare it with the boxes kept so far and
//   with the better ones of its chunk; one warp settles which of those remain while two others fetch
//   the next chunk. If there were more candidates than room, the filter's search is repeated by this
//   one block to leave the best ones: slow, but exact and without the host.
// Two launches and the clearing of the counts; two barriers a chunk. With some hundred candidates an
// image the launches and the filter's reading bound the time; else the comparisons on one
// multiprocessor do.
//
// How a decoder uses it: it describes its head by a struct that is passed to the kernels by value,
//
//   struct Head {
//     // Tiles that an image is cut into; in one there are at most kTileKeys candidates.
//     std::size_t num_tiles;
//
//     // Calls visit(CandidateKey(score, pair)) once for each candidate of the tiles [first, end) of
//     // an image. All threads of a block call it with the same arguments and share the work, by
//     // threadIdx.x and blockDim.x, which is a multiple of 32; it takes no shared memory. It may be
//     // called for the same tiles again and finds the same then.
//     template <typename Visitor>
//     __device__ void Visit(std::size_t image, std::size_t first, std::size_t end, Visitor visit) const;
//
//     // The box of a pair, as it is compared, and the class: boxes suppress those of their own.
//     // Asked for by one thread when suppression comes to the candidate.
//     __device__ float4 BoxOf(std::size_t image, std::uint32_t pair) const;
//     __device__ std::int32_t ClassOf(std::size_t image, std::uint32_t pair) const;
//
//     // What the outputs receive: each row in [0, max_detections) once, and the number of detections.
//     __device__ void Write(std::size_t image, std::size_t row, std::uint32_t pair, float score,
//                           float4 box) const;
//     __device__ void WriteNothing(std::size_t image, std::size_t row) const;
//     __device__ void WriteCount(std::size_t image, std::uint32_t count) const;
//   };
//
// and calls Suppress(head, size, iou_threshold, workspace, stream). See nms/edge_nms.cu.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/key_selection.cuh"
#include "common/launch.cuh"
#include "common/overlap_limit.h"
#include "common/suppression.h"

namespace edgecv {

// Candidates that a tile has at most: what a block of the filter stages.
constexpr unsigned kTileKeys = 2048;

// The key of a candidate; `score` is not NaN. 0 is below all keys.
__device__ __forceinline__ std::uint64_t CandidateKey(float score, std::uint32_t pair) {
  const std::uint32_t bits = __float_as_uint(score + 0.0f);  // -0 becomes 0
  const std::uint32_t ordered = bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
  return std::uint64_t{ordered} << 32 | static_cast<std::uint32_t>(~pair);
}
__device__ __forceinline__ float ScoreOfKey(std::uint64_t key) {
  const auto ordered = static_cast<std::uint32_t>(key >> 32);
  return __uint_as_float(ordered ^ ((ordered >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}
__device__ __forceinline__ std::uint32_t PairOfKey(std::uint64_t key) {
  return ~static_cast<std::uint32_t>(key);
}

__device__ __forceinline__ double Read(const Threshold& threshold) {
  return threshold.address != nullptr ? static_cast<double>(*threshold.address) : threshold.value;
}

namespace suppression {

constexpr unsigned kFilterThreads = 256;
constexpr unsigned kThreads = selection::kThreads;
constexpr unsigned kChunk = 64;
constexpr unsigned kLanes = kThreads / kChunk;  // threads a candidate
static_assert(kLanes == kWarpSize / 2);

struct Staged {
  std::uint64_t keys[kTileKeys];
  std::uint32_t count, first;
};

struct Chunk {
  float4 boxes[kChunk];
  float limits[kChunk];
  std::int32_t classes[kChunk];
};

struct Shared {
  selection::Shared best;  // its set is visited
  Chunk chunks[2];
  float4 boxes[kSharedBoxes];  // kept
  float limits[kSharedBoxes];
  std::int32_t classes[kSharedBoxes];
  std::uint64_t rivals[kChunk];  // the better ones of its chunk that suppress a candidate
  bool is_out[kChunk];
  std::uint32_t num_kept;
  double iou_threshold;  // asked for by few pairs: not worth two registers
};
static_assert(sizeof(Shared) <= 48 * 1024);

template <typename Head>
__global__ void __launch_bounds__(kFilterThreads)
    FilterKernel(Head head, std::size_t num_images, SuppressionWorkspace workspace) {
  auto& staged = *DynamicShared<Staged>();
  for (std::size_t image = blockIdx.y; image < num_images; image += gridDim.y) {
    if (threadIdx.x == 0) staged.count = 0;
    __syncthreads();
    head.Visit(image, blockIdx.x, blockIdx.x + std::size_t{1}, [&](std::uint64_t key) {
      staged.keys[atomicAdd(&staged.count, 1u)] = key;
    });
    __syncthreads();
    const std::uint32_t count = staged.count;
    if (count != 0) {
      if (threadIdx.x == 0) staged.first = atomicAdd(&workspace.counts[image], count);
      __syncthreads();
      std::uint64_t* const keys = workspace.keys + image * workspace.capacity;
      for (std::uint32_t i = threadIdx.x; i < count; i += kFilterThreads) {
        const std::size_t place = std::size_t{staged.first} + i;
        if (place < workspace.capacity) keys[place] = staged.keys[i];
      }
    }
    __syncthreads();  // the next image's count comes after everyone has read this one's
  }
}

// One thread: the candidate `row` of the set becomes part of its chunk. A function of its own, so that
// a decoder's arithmetic has registers to itself.
template <typename Head>
__device__ __attribute__((noinline)) void Fetch(const Head& head, Shared& shared, std::size_t image,
                                                unsigned row) {
  Chunk& chunk = shared.chunks[row / kChunk % 2];
  const std::uint32_t pair = PairOfKey(shared.best.set[row]);
  const float4 box = head.BoxOf(image, pair);
  const OverlapLimit limit(shared.iou_threshold);
  chunk.boxes[row % kChunk] = box;
  chunk.limits[row % kChunk] = Limited(box.x, box.y, box.z, box.w, limit).limit;
  chunk.classes[row % kChunk] = head.ClassOf(image, pair);
}

// The suppression of one image; all members are the same in all threads.
template <typename Head>
struct ImageSuppression {
  const Head& head;
  const SuppressionWorkspace& workspace;
  Shared& shared;
  std::uint32_t image, max_detections;

  // Kept boxes from number kSharedBoxes on. Worked out where they are used: a pointer each, held all
  // the time, is more registers than there are.
  struct Spilled {
    float4* boxes;
    float* limits;
    std::int32_t* classes;
  };
  __device__ Spilled SpilledBoxes() const {
    const std::size_t first = std::size_t{image} * workspace.num_spilled;
    return {reinterpret_cast<float4*>(workspace.boxes) + first, workspace.limits + first,
            workspace.classes + first};
  }

  __device__ bool IsSuppressed(const LimitedBox& box, float4 by, float by_limit) const {
    return Suppresses(box, {by.x, by.y, by.z, by.w, by_limit}, shared.iou_threshold);
  }

  // Compares the candidates of the chunk from `first` on with those kept and with each other.
  __device__ void Compare(unsigned first, unsigned count, std::uint32_t num_kept) const {
    const Chunk& chunk = shared.chunks[first / kChunk % 2];
    const unsigned i = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
    const bool is_there = first + i < count;
    // Rubbish where there is no candidate: it is compared with nothing.
    const float4 corners = chunk.boxes[i];
    const LimitedBox box = {corners.x, corners.y, corners.z, corners.w, chunk.limits[i]};
    const std::int32_t class_id = chunk.classes[i];

    bool is_out = !is_there;
    const std::uint32_t num_shared = num_kept < kSharedBoxes ? num_kept : kSharedBoxes;
    for (std::uint32_t k = lane; k < num_shared && !is_out; k += kLanes)
      is_out = shared.classes[k] == class_id &&
               IsSuppressed(box, shared.boxes[k], shared.limits[k]);
    if (num_kept > kSharedBoxes) {
      const Spilled spilled = SpilledBoxes();
#pragma unroll 1
      for (std::uint32_t k = lane; k < num_kept - kSharedBoxes && !is_out; k += kLanes)
        is_out = spilled.classes[k] == class_id &&
                 IsSuppressed(box, spilled.boxes[k], spilled.limits[k]);
    }
    const unsigned shift = threadIdx.x % kWarpSize / kLanes * kLanes;  // of the candidate's ballots
    constexpr std::uint32_t kMask = (1u << kLanes) - 1;
    is_out = (__ballot_sync(kAllLanes, is_out) >> shift & kMask) != 0;

    std::uint64_t rivals = 0;
    // Copies of the body take registers.
#pragma unroll 1
    for (unsigned group = 0; group < kChunk; group += kLanes) {
      const unsigned j = group + lane;
      const bool is_rival = !is_out && j < i && chunk.classes[j] == class_id &&
                            IsSuppressed(box, chunk.boxes[j], chunk.limits[j]);
      const std::uint32_t ballot = __ballot_sync(kAllLanes, is_rival) >> shift & kMask;
      rivals |= std::uint64_t{ballot} << group;
    }
    if (lane == 0) shared.rivals[i] = rivals, shared.is_out[i] = is_out;
  }

  // One warp: keeps what no better one of the chunk suppresses that is kept itself. A candidate is
  // settled once all that could suppress it are, so each round settles the first left at least, and
  // as many rounds are needed as the longest chain of such boxes is long.
  __device__ void Settle(unsigned first, std::uint32_t num_kept) const {
    const unsigned lane = threadIdx.x % kWarpSize;
    const auto gather = [](bool low, bool high) {
      const std::uint32_t low_votes = __ballot_sync(kAllLanes, low);
      return std::uint64_t{__ballot_sync(kAllLanes, high)} << 32 | low_votes;
    };
    const std::uint64_t rivals[2] = {shared.rivals[lane], shared.rivals[lane + 32]};
    std::uint64_t left = gather(!shared.is_out[lane], !shared.is_out[lane + 32]), kept = 0;
    while (left != 0) {
      bool is_kept[2], is_out[2];
      for (unsigned half = 0; half < 2; ++half) {
        const bool is_left = (left >> (lane + 32 * half) & 1) != 0;
        is_out[half] = is_left && (rivals[half] & kept) != 0;
        is_kept[half] = is_left && !is_out[half] && (rivals[half] & left) == 0;
      }
      const std::uint64_t settled = gather(is_kept[0], is_kept[1]);
      left &= ~(settled | gather(is_out[0], is_out[1]));
      kept |= settled;
    }
    const Chunk& chunk = shared.chunks[first / kChunk % 2];
#pragma unroll 1
    for (unsigned i = lane; i < kChunk; i += kWarpSize) {
      const std::uint64_t bit = std::uint64_t{1} << i;
      const std::uint32_t row = num_kept + static_cast<unsigned>(__popcll(kept & (bit - 1)));
      if ((kept & bit) != 0 && row < max_detections) Keep(chunk, first + i, row);
    }
    const std::uint32_t end = num_kept + static_cast<unsigned>(__popcll(kept));
    if (lane == 0) shared.num_kept = end < max_detections ? end : max_detections;
  }

  __device__ void Keep(const Chunk& chunk, unsigned candidate, std::uint32_t row) const {
    const unsigned i = candidate % kChunk;
    const std::uint64_t key = shared.best.set[candidate];
    head.Write(image, row, PairOfKey(key), ScoreOfKey(key), chunk.boxes[i]);
    if (row < kSharedBoxes) {
      shared.boxes[row] = chunk.boxes[i];
      shared.limits[row] = chunk.limits[i];
      shared.classes[row] = chunk.classes[i];
    } else {
      const Spilled spilled = SpilledBoxes();
      spilled.boxes[row - kSharedBoxes] = chunk.boxes[i];
      spilled.limits[row - kSharedBoxes] = chunk.limits[i];
      spilled.classes[row - kSharedBoxes] = chunk.classes[i];
    }
  }

  // Visits the first `count` of the sorted set; returns how many are kept now.
  __device__ std::uint32_t Run(unsigned count, std::uint32_t num_kept) const {
    const unsigned thread = threadIdx.x;
    if (thread < kChunk && thread < count) Fetch(head, shared, image, thread);
    __syncthreads();
    for (unsigned first = 0; first < count && num_kept < max_detections; first += kChunk) {
      Compare(first, count, num_kept);
      __syncthreads();
      const unsigned next = first + kChunk + thread - kWarpSize;
      if (thread < kWarpSize) Settle(first, num_kept);
      else if (thread < kWarpSize + kChunk && next < count)
        Fetch(head, shared, image, next);
      __syncthreads();
      num_kept = shared.num_kept;
    }
    return num_kept;
  }
};

// Where there were more candidates than room: makes the image's keys those of the best `least` or some
// more, as long as there is room, and returns how many. A function of its own, so that it takes no
// registers from what all images go through.
template <typename Head>
__device__ __attribute__((noinline)) std::uint32_t FindBestAgain(
    const Head& head, selection::Shared& best, std::size_t image, std::uint32_t least,
    std::uint32_t room, std::uint64_t* keys) {
  const auto for_each = [&](auto visit) { head.Visit(image, 0, head.num_tiles, visit); };
  const selection::Cut cut =
      selection::FindCut(best, selection::kAboveAll, least, room, for_each);
  if (threadIdx.x == 0) best.num_keys = 0;
  __syncthreads();
  for_each([&](std::uint64_t key) {
    if (key >= cut.key) keys[atomicAdd(&best.num_keys, 1u)] = key;
  });
  __syncthreads();
  return cut.count;
}

template <typename Head>
__global__ void __launch_bounds__(kThreads)
    SuppressKernel(const __grid_constant__ Head head, SuppressionSize size, Threshold iou_threshold,
                   const __grid_constant__ SuppressionWorkspace workspace) {
  auto& shared = *DynamicShared<Shared>();
  const std::uint32_t image = blockIdx.x;
  const unsigned thread = threadIdx.x;
  const auto max_candidates = static_cast<std::uint32_t>(size.max_candidates);

  std::uint32_t num_keys = workspace.counts[image];
  if (num_keys > workspace.capacity) {
    num_keys = FindBestAgain(head, shared.best, image, max_candidates,
                             static_cast<std::uint32_t>(workspace.capacity),
                             workspace.keys + image * workspace.capacity);
  }

  const auto max_detections = static_cast<std::uint32_t>(
      size.max_detections < size.max_candidates ? size.max_detections : size.max_candidates);
  const ImageSuppression<Head> suppression = {head, workspace, shared, image, max_detections};
  // Seen by all after the first of the barriers below.
  if (thread == 0) shared.iou_threshold = Read(iou_threshold);
  std::uint32_t left = num_keys < max_candidates ? num_keys : max_candidates;
  std::uint32_t num_below = num_keys, num_kept = 0;
  std::uint64_t below = selection::kAboveAll;
  while (left > 0 && num_kept < max_detections) {
    const selection::Cut cut =
        selection::TakeBest(shared.best, workspace.keys + image * workspace.capacity, num_keys,
                            num_below, below);
    const std::uint32_t count = cut.count < left ? cut.count : left;
    num_kept = suppression.Run(count, num_kept);
    left -= count;
    num_below -= cut.count;
    below = cut.key;
  }

#pragma unroll 1
  for (std::size_t row = num_kept + std::size_t{thread}; row < size.max_detections; row += kThreads)
    head.WriteNothing(image, row);
  if (thread == 0) head.WriteCount(image, num_kept);
}

}  // namespace suppression

// Starts the suppression of `size.num_images` images on `stream`, asynchronously, and returns the
// status of the launches. `workspace` holds SuppressionWorkspaceBytes(size), aligned to 16 bytes.
template <typename Head>
cudaError_t Suppress(const Head& head, const SuppressionSize& size, const Threshold& iou_threshold,
                     void* workspace, cudaStream_t stream) {
  using namespace suppression;
  if (size.num_images == 0) return cudaSuccess;  // a launch with an empty grid is an error
  std::uintptr_t end;
  const SuppressionWorkspace parts(size, workspace, &end);
  const cudaError_t cleared =
      cudaMemsetAsync(parts.counts, 0, size.num_images * sizeof *parts.counts, stream);
  if (cleared != cudaSuccess) return cleared;
  const std::size_t num_tiles = head.num_tiles;
  if (num_tiles != 0) {
    const std::size_t bands = size.num_images < kMaxGridY ? size.num_images : kMaxGridY;
    const dim3 grid(static_cast<unsigned>(num_tiles), static_cast<unsigned>(bands));
    const cudaError_t filtered = Launch(FilterKernel<Head>, grid, dim3(kFilterThreads),
                                        sizeof(Staged), stream, head, size.num_images, parts);
    if (filtered != cudaSuccess) return filtered;
  }
  return Launch(SuppressKernel<Head>, dim3(static_cast<unsigned>(size.num_images)), dim3(kThreads),
                sizeof(Shared), stream, head, size, iou_threshold, parts);
}

}  // namespace edgecv
