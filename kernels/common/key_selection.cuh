// The best of many 64-bit keys, in falling order, by one block on a GPU: a radix select takes the best
// 1024 to 2048 of those below a bound, and a bitonic network sorts them in shared memory. No two keys
// are equal, and 0 is below all of them.
#pragma once

#include <cstdint>

#include "common/launch.cuh"

namespace edgecv::selection {

constexpr unsigned kThreads = 1024, kWarps = kThreads / kWarpSize;  // of the block
constexpr unsigned kMinSet = 1024, kMaxSet = 2048;  // keys that are sorted at once
constexpr unsigned kDigitBits = 11, kBins = 1u << kDigitBits;
constexpr std::uint64_t kAboveAll = ~std::uint64_t{0};

static_assert(kBins == 2 * kThreads && kMaxSet == 2 * kThreads);

struct Shared {
  union {
    std::uint64_t set[kMaxSet];
    std::uint32_t bins[kBins];
  };
  std::uint32_t sums[kWarps];
  std::uint32_t bin, before, after;
  std::uint32_t num_keys;
};

struct Cut {
  std::uint64_t key;
  std::uint32_t count;
};

// Returns a key such that of the keys below `below`, of which there are more than `most`, at least
// `least` and at most `most` are not below it; and how many. `for_each(visit)` visits the keys. Digit
// by digit from the top, the bin in which the `least`-th best lies is opened until it can be taken as
// a whole, at the latest when it holds one key.
template <typename ForEach>
__device__ Cut FindCut(Shared& shared, std::uint64_t below, std::uint32_t least, std::uint32_t most,
                       ForEach for_each) {
  const unsigned thread = threadIdx.x, lane = thread % kWarpSize, warp = thread / kWarpSize;
  std::uint64_t prefix = 0;
  std::uint32_t taken = 0;
  for (unsigned above = 64;;) {
    const unsigned bits = above < kDigitBits ? above : kDigitBits, shift = above - bits;
    shared.bins[thread] = shared.bins[thread + kThreads] = 0;
    __syncthreads();
    // Neighbours often fall into one bin: they are counted together.
    std::uint32_t last = 0, run = 0;
    for_each([&](std::uint64_t key) {
      if (key >= below || (above < 64 && key >> above != prefix)) return;
      const auto bin = static_cast<std::uint32_t>(key >> shift) & ((1u << bits) - 1);
      if (bin != last && run != 0) {
        atomicAdd(&shared.bins[last], run);
        run = 0;
      }
      last = bin;
      ++run;
    });
    if (run != 0) atomicAdd(&shared.bins[last], run);
    __syncthreads();

    // Counts from the highest bin down, two bins a thread.
    const std::uint32_t high_bin = kBins - 1 - 2 * thread;
    const std::uint32_t high = shared.bins[high_bin], low = shared.bins[high_bin - 1];
    std::uint32_t sum = high + low;
    for (unsigned delta = 1; delta < kWarpSize; delta *= 2) {
      const std::uint32_t other = __shfl_up_sync(kAllLanes, sum, delta);
      if (lane >= delta) sum += other;
    }
    if (lane == kWarpSize - 1) shared.sums[warp] = sum;
    __syncthreads();
    std::uint32_t before = lane < warp ? shared.sums[lane] : 0;
    for (unsigned delta = kWarpSize / 2; delta > 0; delta /= 2)
      before += __shfl_xor_sync(kAllLanes, before, delta);
    before += taken + sum - high - low;
    if (before < least && least <= before + high + low) {  // one thread
      const bool is_high = least <= before + high;
      shared.bin = is_high ? high_bin : high_bin - 1;
      shared.before = is_high ? before : before + high;
      shared.after = is_high ? before + high : before + high + low;
    }
    __syncthreads();
    prefix = prefix << bits | shared.bin;
    if (shared.after <= most) return {prefix << shift, shared.after};
    taken = shared.before;
    above = shift;
  }
}

// Sorts the first `count` keys of the set, the best first. A bitonic network; strides of up to 32
// stay within a warp's 64 keys.
__device__ inline void SortSet(Shared& shared, unsigned count) {
  unsigned size = 2 * kWarpSize;
  while (size < count) size *= 2;
  for (unsigned i = count + threadIdx.x; i < size; i += kThreads) shared.set[i] = 0;
  __syncthreads();
  const unsigned thread = threadIdx.x;
  for (unsigned length = 2; length <= size; length *= 2) {
    for (unsigned stride = length / 2; stride > 0; stride /= 2) {
      if (thread < size / 2) {
        const unsigned i = 2 * thread - (thread & (stride - 1));
        const std::uint64_t a = shared.set[i], b = shared.set[i + stride];
        if ((a < b) == ((i & length) == 0)) shared.set[i] = b, shared.set[i + stride] = a;
      }
      const unsigned next = stride > 1 ? stride / 2 : length;
      if (stride > kWarpSize || next > kWarpSize) __syncthreads();
      else __syncwarp();
    }
  }
  __syncthreads();
}

// Makes the best of the `num_below` keys below `below`, which are among `keys`, the sorted set: all, or
// as many as there is room for or somewhat fewer. Returns the last and how many.
__device__ __attribute__((noinline)) inline Cut TakeBest(Shared& shared, const std::uint64_t* keys,
                                                         std::uint32_t num_keys,
                                                         std::uint32_t num_below,
                                                         std::uint64_t below) {
  Cut cut = {0, num_below};
  if (num_below > kMaxSet) {
    cut = FindCut(shared, below, kMinSet, kMaxSet, [&](auto count) {
      for (std::uint32_t i = threadIdx.x; i < num_keys; i += kThreads) count(keys[i]);
    });
  }
  if (threadIdx.x == 0) shared.num_keys = 0;
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < num_keys; i += kThreads) {
    const std::uint64_t key = keys[i];
    if (key < below && key >= cut.key) shared.set[atomicAdd(&shared.num_keys, 1u)] = key;
  }
  __syncthreads();
  SortSet(shared, cut.count);
  return cut;
}

}  // namespace edgecv::selection
