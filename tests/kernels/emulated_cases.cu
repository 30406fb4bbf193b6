// Kernels of which test_emulation.py knows what CUDA lets them compute, and others that CUDA forbids:
// `emulated_cases NAME` runs one and prints what each thread, or block, has written.

#include <cstdio>
#include <cstring>
#include <vector>

#include "common/launch.cuh"

namespace edgecv {
namespace {

constexpr unsigned kThreads = 256;

// Every thread reads what another has written.
template <bool kWaits>
__global__ void Reverse(unsigned* out) {
  unsigned* const shared = DynamicShared<unsigned>();
  shared[threadIdx.x] = threadIdx.x;
  if (kWaits) __syncthreads();
  out[threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

// The same for the lanes of one warp.
template <bool kWaits>
__global__ void ReverseWarp(unsigned* out) {
  unsigned* const shared = DynamicShared<unsigned>();
  shared[threadIdx.x] = threadIdx.x;
  if (kWaits) __syncwarp();
  out[threadIdx.x] = shared[kWarpSize - 1 - threadIdx.x];
}

// A warp writes for all, again and again: it may not run ahead of those that read.
template <bool kWaits>
__global__ void Rounds(unsigned* out) {
  unsigned* const round = DynamicShared<unsigned>();
  unsigned right = 0;
  for (unsigned i = 0; i < 8; ++i) {
    if (kWaits) __syncthreads();
    if (threadIdx.x < kWarpSize) *round = i;
    __syncthreads();
    right += *round == i ? 1 : 0;
  }
  out[threadIdx.x] = right;
}

__global__ void SkipBarrier(unsigned* out) {
  if (threadIdx.x < 40) __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void SkipLane(unsigned* out) {
  if (threadIdx.x < 16) __syncwarp();
  out[threadIdx.x] = 1;
}

__global__ void NameOthers(unsigned* out) { out[threadIdx.x] = __ballot_sync(0xff00u, 1); }

// 40 threads: a warp, and 8 lanes of another.
__global__ void Vote(unsigned* out) {
  const unsigned lane = threadIdx.x % kWarpSize;
  const bool is_even = lane % 2 == 0;
  unsigned votes = __ballot_sync(kAllLanes, lane % 3 == 0);
  // The two halves meet apart from each other.
  const unsigned mask = is_even ? 0x55555555u : 0xaaaaaaaau;
  if (is_even) votes ^= __ballot_sync(mask, lane < 4) << 16;
  else votes ^= __ballot_sync(mask, lane >= 4) << 16;
  out[threadIdx.x] = votes;
}

template <int kWidth>
__global__ void Shuffles(unsigned* out) {
  const unsigned lane = threadIdx.x, value = 100 + lane;
  out[lane] = __shfl_sync(kAllLanes, value, 5, kWidth);
  out[kWarpSize + lane] = __shfl_up_sync(kAllLanes, value, 3, kWidth);
  out[2 * kWarpSize + lane] = __shfl_down_sync(kAllLanes, value, 3, kWidth);
  out[3 * kWarpSize + lane] = __shfl_xor_sync(kAllLanes, value, 6, kWidth);
}

__global__ void Count(unsigned* out) {
  const int third = threadIdx.x % 3 == 0;
  unsigned result = static_cast<unsigned>(__syncthreads_count(third));
  result |= static_cast<unsigned>(__syncthreads_or(threadIdx.x == 7)) << 16;
  result |= static_cast<unsigned>(__syncthreads_and(threadIdx.x != 7)) << 17;
  result |= static_cast<unsigned>(__syncthreads_and(1)) << 18;
  out[threadIdx.x] = result;
}

// What shared memory holds when a block begins, whatever the one before has left in it.
__global__ void Rubbish(unsigned* out) {
  __shared__ unsigned fixed;
  unsigned* const shared = DynamicShared<unsigned>();
  out[2 * blockIdx.x] = fixed;
  out[2 * blockIdx.x + 1] = shared[3];
  fixed = shared[3] = 0;
}

__global__ void Sum(unsigned* out) {
  if (threadIdx.x == 0) out[0] = 0;
  __syncthreads();
  atomicAdd(&out[0], threadIdx.x);
}

__global__ void Permute(unsigned* out) {
  constexpr unsigned kSelectors[4] = {0x3210, 0x7654, 0x0123, 0x4071};
  out[threadIdx.x] = __byte_perm(0x33221100u, 0x77665544u, kSelectors[threadIdx.x]);
}

__global__ void Nothing(unsigned*) {}

struct Case {
  const char* name;
  void (*kernel)(unsigned*);
  unsigned blocks, threads, outputs;
};

constexpr Case kCases[] = {
    {"reverse", Reverse<true>, 1, kThreads, kThreads},
    {"reverse-unsynchronised", Reverse<false>, 1, kThreads, kThreads},
    {"reverse-warp", ReverseWarp<true>, 1, kWarpSize, kWarpSize},
    {"reverse-warp-unsynchronised", ReverseWarp<false>, 1, kWarpSize, kWarpSize},
    {"rounds", Rounds<true>, 1, kThreads, kThreads},
    {"rounds-unsynchronised", Rounds<false>, 1, kThreads, kThreads},
    {"skip-barrier", SkipBarrier, 1, 64, 64},
    {"skip-lane", SkipLane, 1, 32, 32},
    {"name-others", NameOthers, 1, 8, 8},
    {"vote", Vote, 1, 40, 40},
    {"shuffles-32", Shuffles<32>, 1, 32, 128},
    {"shuffles-8", Shuffles<8>, 1, 32, 128},
    {"shuffles-4", Shuffles<4>, 1, 32, 128},
    {"count", Count, 1, 100, 100},
    {"rubbish", Rubbish, 3, 1, 6},
    {"sum", Sum, 1, 1000, 1},
    {"permute", Permute, 1, 4, 4},
    {"too-many-threads", Nothing, 1, 1025, 1},
    {"no-block", Nothing, 0, 32, 1},
};

int Main(const char* name) {
  for (const Case& one : kCases) {
    if (std::strcmp(one.name, name) != 0) continue;
    std::vector<unsigned> out(one.outputs, 0xffffffffu);
    const cudaError_t status = Launch(one.kernel, dim3(one.blocks), dim3(one.threads),
                                      kThreads * sizeof(unsigned), nullptr, out.data());
    if (status != cudaSuccess) return static_cast<int>(status);
    for (const unsigned value : out) std::printf("%u\n", value);
    return 0;
  }
  return 255;
}

}  // namespace
}  // namespace edgecv

int main(int, char** arguments) { return edgecv::Main(arguments[1]); }
