// Arithmetic that kernels and their tests share: a function marked EDGECV_HOST_DEVICE is compiled for
// the GPU by nvcc and for the processor by any compiler. Both round alike: neither may contract a
// product and a sum (-ffp-contract=off, --fmad=false).
#pragma once

#if defined(__CUDACC__)
#define EDGECV_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define EDGECV_HOST_DEVICE inline __attribute__((always_inline))
#endif
