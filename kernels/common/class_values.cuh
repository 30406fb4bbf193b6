// The class values of a head as candidates of common/suppression.cuh: every pair of an anchor and a
// class whose score exceeds the threshold, or of each anchor the best class alone.
//
// Each value is read once, in the order in which it lies in memory, 16 bytes at a time where it can
// be; a score is computed for the few that can be candidates.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/suppression.cuh"
#include "common/vectors.cuh"

namespace edgecv {

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(__half value) { return __half2float(value); }

// Class values that are the scores.
struct Probability {
  __device__ static float FloorOf(float threshold) { return threshold; }
  __device__ static float ScoreOf(float value) { return value; }
};

// Class values that are logits, each of a sigmoid.
struct Sigmoid {
  // The threshold as a logit, lowered by more than the sigmoid's rounding and its own: it is the
  // rounded score that is compared in the end.
  __device__ static float FloorOf(float threshold) {
    const float lowered = threshold * (1.0f - 1e-5f);
    return logf(lowered / (1.0f - lowered));
  }
  __device__ static float ScoreOf(float value) { return 1.0f / (1.0f + expf(-value)); }
};

constexpr std::size_t kAnchorsPerWarpTile = 64;     // of tiles in which lanes share an anchor
constexpr std::size_t kAnchorsPerThreadTile = 256;  // and in which each anchor has its thread

template <typename Value, typename Activation>
struct ClassValues {
  const Value* data;  // of the first class and anchor of the first image
  std::size_t image_stride, channel_stride, anchor_stride;  // elements; one of the latter two is 1
  std::uint32_t num_anchors, num_classes;
  std::uint32_t unwanted_class;  // takes no part; 2^32 - 1 for none
  bool best_only;                // of each anchor the best class, the lowest of equals
  bool is_aligned;               // the values of an image follow each other, aligned for a Pack
  Threshold score_threshold;

  __host__ __device__ bool channels_first() const { return anchor_stride == 1; }

  // Anchors of a tile if `best_only`, else pairs.
  __host__ __device__ std::size_t TileSize() const {
    if (!best_only) return kTileKeys;
    return channels_first() ? kAnchorsPerThreadTile : kAnchorsPerWarpTile;
  }
  std::size_t NumTiles() const {
    const std::size_t num_pairs = std::size_t{num_anchors} * num_classes;
    const std::size_t num_units = best_only && num_pairs != 0 ? num_anchors : num_pairs;
    return CeilDiv(num_units, TileSize());
  }

  // Calls visit(CandidateKey(score, anchor * num_classes + class)), see common/suppression.cuh.
  template <typename Visitor>
  __device__ void Visit(std::size_t image, std::size_t first, std::size_t end,
                        Visitor visit) const {
    const std::size_t most = best_only ? num_anchors : std::size_t{num_anchors} * num_classes;
    const auto from = static_cast<std::uint32_t>(first * TileSize());
    const auto to = static_cast<std::uint32_t>(end * TileSize() < most ? end * TileSize() : most);
    const Values values = {data + image * image_stride,
                           static_cast<float>(Read(score_threshold))};
    if (!best_only) VisitPairs(values, from, to, visit);
    else if (channels_first()) VisitBestByThread(values, from, to, visit);
    else VisitBestByLanes(values, from, to, visit);
  }

 private:
  struct Values {  // of an image
    const Value* data;
    float threshold;
  };

  __device__ float At(const Values& values, std::uint32_t anchor, std::uint32_t class_id) const {
    return ToFloat(values.data[anchor * anchor_stride + class_id * channel_stride]);
  }

  // Rounding may bring what is above the floor down to the threshold.
  template <typename Visitor>
  __device__ void VisitValue(const Values& values, float value, std::uint32_t anchor,
                             std::uint32_t class_id, Visitor visit) const {
    const float score = Activation::ScoreOf(value);
    if (score > values.threshold) visit(CandidateKey(score, anchor * num_classes + class_id));
  }

  struct Pair {
    std::uint32_t anchor, class_id;
  };

  // The i-th pair in the order of memory.
  __device__ Pair Locate(std::uint32_t i) const {
    const bool by_class = channels_first();
    const std::uint32_t row = by_class ? num_anchors : num_classes;
    const std::uint32_t high = i / row, low = i - high * row;
    return by_class ? Pair{low, high} : Pair{high, low};
  }

  // The pairs [from, to) in the order of memory.
  template <typename Visitor>
  __device__ void VisitPairs(const Values& values, std::uint32_t from, std::uint32_t to,
                             Visitor visit) const {
    const float floor = Activation::FloorOf(values.threshold);
    const auto look = [&](std::uint32_t i, float value) {
      if (!(value > floor)) return;
      const Pair pair = Locate(i);
      if (pair.class_id != unwanted_class)
        VisitValue(values, value, pair.anchor, pair.class_id, visit);
    };
    if (!is_aligned) {
      for (std::uint32_t i = from + threadIdx.x; i < to; i += blockDim.x) {
        const Pair pair = Locate(i);
        look(i, At(values, pair.anchor, pair.class_id));
      }
      return;
    }
    constexpr std::uint32_t kPack = Pack<Value>::kSize;
    const std::uint32_t step = blockDim.x * kPack;
    // Two loads are under way at a time: the whole tile of a block of the filter.
    for (std::uint32_t i = from + threadIdx.x * kPack; i < to; i += 2 * step) {
      const bool has_second = i + step < to;
      const Pack<Value> pack = LoadPack(values.data + i);
      const Pack<Value> second = LoadPack(values.data + (has_second ? i + step : i));
      for (std::uint32_t k = 0; k < kPack; ++k) look(i + k, ToFloat(pack.values[k]));
      if (!has_second) continue;
      for (std::uint32_t k = 0; k < kPack; ++k) look(i + step + k, ToFloat(second.values[k]));
    }
  }

  // Of the anchors [from, to) the best classes: neighbouring threads read neighbouring anchors.
  template <typename Visitor>
  __device__ void VisitBestByThread(const Values& values, std::uint32_t from, std::uint32_t to,
                                    Visitor visit) const {
    const float floor = Activation::FloorOf(values.threshold);
    for (std::uint32_t anchor = from + threadIdx.x; anchor < to; anchor += blockDim.x) {
      float best = floor;
      std::uint32_t best_class = unwanted_class;
      for (std::uint32_t class_id = 0; class_id < num_classes; ++class_id) {
        const float value = At(values, anchor, class_id);
        if (value > best && class_id != unwanted_class) best = value, best_class = class_id;
      }
      if (best_class != unwanted_class) VisitValue(values, best, anchor, best_class, visit);
    }
  }

  // The same: neighbouring lanes read neighbouring classes.
  template <typename Visitor>
  __device__ void VisitBestByLanes(const Values& values, std::uint32_t from, std::uint32_t to,
                                   Visitor visit) const {
    const float floor = Activation::FloorOf(values.threshold);
    std::uint32_t lanes = 1;  // an anchor
    while (lanes < num_classes && lanes < kWarpSize) lanes *= 2;
    const std::uint32_t lane = threadIdx.x % lanes, anchors_at_once = blockDim.x / lanes;
    for (std::uint32_t first = from; first < to; first += anchors_at_once) {  // alike in all lanes
      const std::uint32_t anchor = first + threadIdx.x / lanes;
      std::uint64_t best = 0;  // a key of a value, with the class for a pair
      for (std::uint32_t class_id = lane; class_id < num_classes && anchor < to;
           class_id += lanes) {
        const float value = At(values, anchor, class_id);
        if (!(value > floor) || class_id == unwanted_class) continue;
        const std::uint64_t key = CandidateKey(value, class_id);
        best = key > best ? key : best;
      }
      for (std::uint32_t other = lanes / 2; other > 0; other /= 2) {
        const std::uint64_t key = __shfl_xor_sync(kAllLanes, best, static_cast<int>(other));
        best = key > best ? key : best;
      }
      if (lane == 0 && best != 0)
        VisitValue(values, ScoreOfKey(best), anchor, PairOfKey(best), visit);
    }
  }
};

}  // namespace edgecv
