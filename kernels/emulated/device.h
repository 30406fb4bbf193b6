// The GPU, played by the processor: what a .cu file uses of CUDA's device side, for a C++ compiler.
//
// The types and the half-precision arithmetic are NVIDIA's own headers'. Each thread of a block runs
// on a stack of its own until it waits for others; those that can go on do so in an order that is
// drawn anew each time, so that a result which depends on a barrier that is not there is wrong
// sooner or later. Blocks run one after the other. A block that can no longer go on (a barrier that
// some threads never reach, a warp function whose lanes never meet) ends the program with a message
// that says who waits for what. Shared memory holds rubbish when a block begins.
//
// It proves what a kernel computes, not how fast, nor what depends on blocks running at once.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#undef __shared__
#undef __launch_bounds__
#undef __constant__
#undef __grid_constant__
#define __shared__ static __attribute__((section("edgecv_shared")))
#define __launch_bounds__(...)
#define __constant__ static const
#define __grid_constant__

namespace edgecv::emulated {

struct Place {
  dim3 block_dim, grid_dim;
  uint3 block, thread;
};
extern Place place;  // of the thread that runs

// Runs `thread` once for each thread of the grid.
cudaError_t Run(dim3 grid, dim3 block, std::size_t shared_bytes,
                const std::function<void()>& thread);
void* DynamicShared();

// Waits for all threads of the block.
void SyncBlock(const char* what);

// Waits for the lanes of `mask`, which all bring a value; returns the values by lane.
const std::uint64_t* Exchange(std::uint32_t mask, std::uint64_t value, const char* what);
unsigned Lane();

template <typename Type>
std::uint64_t ToBits(Type value) {
  static_assert(sizeof(Type) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <typename Type>
Type FromBits(std::uint64_t bits) {
  Type value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The value of `source`, or the caller's own where that lane takes no part.
template <typename Type>
Type Shuffle(std::uint32_t mask, Type value, unsigned source, const char* what) {
  const std::uint64_t* values = Exchange(mask, ToBits(value), what);
  return source < 32 && (mask >> source & 1) ? FromBits<Type>(values[source]) : value;
}

}  // namespace edgecv::emulated

#define threadIdx (::edgecv::emulated::place.thread)
#define blockIdx (::edgecv::emulated::place.block)
#define blockDim (::edgecv::emulated::place.block_dim)
#define gridDim (::edgecv::emulated::place.grid_dim)

inline void __syncthreads() { edgecv::emulated::SyncBlock("__syncthreads"); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  edgecv::emulated::Exchange(mask, 0, "__syncwarp");
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// One after the other, as the block barrier that they are.
inline int __syncthreads_count(int predicate) {
  static int count;
  edgecv::emulated::SyncBlock("__syncthreads_count");
  count = 0;
  edgecv::emulated::SyncBlock("__syncthreads_count");
  count += predicate != 0 ? 1 : 0;
  edgecv::emulated::SyncBlock("__syncthreads_count");
  return count;
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0; }
inline int __syncthreads_and(int predicate) { return __syncthreads_count(predicate == 0) == 0; }

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const std::uint64_t* votes =
      edgecv::emulated::Exchange(mask, predicate != 0 ? 1 : 0, "__ballot_sync");
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) ballot |= static_cast<unsigned>(votes[lane]) << lane;
  return ballot;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}
// Whoever asks is one whose vote counts; the lanes that have not ended may be fewer on a GPU.
inline unsigned __activemask() = delete;

template <typename Type>
Type __shfl_sync(unsigned mask, Type value, int source, int width = 32) {
  const unsigned lane = edgecv::emulated::Lane(), sides = static_cast<unsigned>(width);
  const unsigned base = lane / sides * sides;
  return edgecv::emulated::Shuffle(mask, value, base + static_cast<unsigned>(source) % sides,
                                   "__shfl_sync");
}
template <typename Type>
Type __shfl_up_sync(unsigned mask, Type value, unsigned delta, int width = 32) {
  const unsigned lane = edgecv::emulated::Lane(), sides = static_cast<unsigned>(width);
  return edgecv::emulated::Shuffle(mask, value, lane % sides < delta ? lane : lane - delta,
                                   "__shfl_up_sync");
}
template <typename Type>
Type __shfl_down_sync(unsigned mask, Type value, unsigned delta, int width = 32) {
  const unsigned lane = edgecv::emulated::Lane(), sides = static_cast<unsigned>(width);
  return edgecv::emulated::Shuffle(
      mask, value, lane % sides + delta >= sides ? lane : lane + delta, "__shfl_down_sync");
}
template <typename Type>
Type __shfl_xor_sync(unsigned mask, Type value, int other, int width = 32) {
  static_cast<void>(width);
  return edgecv::emulated::Shuffle(mask, value,
                                   edgecv::emulated::Lane() ^ static_cast<unsigned>(other),
                                   "__shfl_xor_sync");
}

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __ffs(unsigned value) { return __builtin_ffs(static_cast<int>(value)); }
inline int __ffsll(unsigned long long value) {
  return __builtin_ffsll(static_cast<long long>(value));
}
inline int __clz(unsigned value) { return value == 0 ? 32 : __builtin_clz(value); }
inline int __clzll(unsigned long long value) { return value == 0 ? 64 : __builtin_clzll(value); }

template <typename Type>
Type __ldg(const Type* address) {
  return *address;
}
template <typename Type>
Type __ldcs(const Type* address) {
  return *address;
}
template <typename Type>
void __stcs(Type* address, Type value) {
  *address = value;
}

// Threads run one at a time: a plain change is atomic.
template <typename Type>
Type atomicAdd(Type* address, Type value) {
  const Type old = *address;
  *address = old + value;
  return old;
}
template <typename Type>
Type atomicMax(Type* address, Type value) {
  const Type old = *address;
  if (value > old) *address = value;
  return old;
}
template <typename Type>
Type atomicMin(Type* address, Type value) {
  const Type old = *address;
  if (value < old) *address = value;
  return old;
}
template <typename Type>
Type atomicOr(Type* address, Type value) {
  const Type old = *address;
  *address = old | value;
  return old;
}
template <typename Type>
Type atomicExch(Type* address, Type value) {
  const Type old = *address;
  *address = value;
  return old;
}
template <typename Type>
Type atomicCAS(Type* address, Type expected, Type value) {
  const Type old = *address;
  if (old == expected) *address = value;
  return old;
}

inline unsigned __float_as_uint(float value) {
  return static_cast<unsigned>(edgecv::emulated::ToBits(value));
}
inline int __float_as_int(float value) { return static_cast<int>(__float_as_uint(value)); }
inline float __uint_as_float(unsigned bits) { return edgecv::emulated::FromBits<float>(bits); }
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
inline float __saturatef(float value) { return value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float value) { return std::exp(value); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline int __float2int_rd(float value) { return static_cast<int>(std::floor(value)); }
inline int __float2int_ru(float value) { return static_cast<int>(std::ceil(value)); }
inline int __float2int_rn(float value) { return static_cast<int>(std::nearbyint(value)); }
inline unsigned __float2uint_rn(float value) { return static_cast<unsigned>(std::nearbyint(value)); }

// What CUDA declares in the global namespace for its device side.
using std::ceil;
using std::exp;
using std::floor;
using std::fma;
using std::fmax;
using std::fmin;
using std::isfinite;
using std::isinf;
using std::isnan;
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
inline unsigned long max(unsigned long a, unsigned long b) { return a > b ? a : b; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
