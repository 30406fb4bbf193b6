// How kernels are started, the same for the GPU and for the emulation (emulated/device.h).
//
// A .cu file includes this header and no other of CUDA; it starts kernels by `Launch` and takes
// dynamic shared memory from `DynamicShared`. So the same file compiles for the GPU with nvcc and,
// with a C++ compiler, for a processor that plays the GPU in the tests.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/host_device.h"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "emulated/device.h"
#endif

namespace edgecv {

constexpr unsigned kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr unsigned kMaxGridY = 65535;  // of the y and z sides of a grid

template <typename Integer>
EDGECV_HOST_DEVICE constexpr Integer CeilDiv(Integer value, Integer divisor) {
  return (value + divisor - 1) / divisor;
}

// A kernel parameter's type is not deduced from the argument: 0 is a pointer where one is wanted.
template <typename Type>
struct Parameter {
  using type = Type;
};

// Starts `kernel` and returns what the start itself answers; errors that an earlier call left behind
// are neither returned nor cleared. Valid while `stream` is captured into a graph.
template <typename... Parameters>
cudaError_t Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t stream, typename Parameter<Parameters>::type... arguments) {
#if defined(__CUDACC__)
  constexpr std::size_t kSharedWithoutAsking = 48 * 1024;
  if (shared_bytes > kSharedWithoutAsking) {
    const cudaError_t status = cudaFuncSetAttribute(
        reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
        static_cast<int>(shared_bytes));
    if (status != cudaSuccess) return status;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
#else
  static_cast<void>(stream);
  return emulated::Run(grid, block, shared_bytes, [&] { kernel(arguments...); });
#endif
}

// The shared memory that `Launch` was asked for, aligned to 16 bytes.
template <typename Type>
__device__ __forceinline__ Type* DynamicShared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char edgecv_dynamic_shared[];
  return reinterpret_cast<Type*>(edgecv_dynamic_shared);
#else
  return static_cast<Type*>(emulated::DynamicShared());
#endif
}

}  // namespace edgecv
