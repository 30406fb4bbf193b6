// AVX-512 VBMI, whose one instruction picks any 64 of 64 or 128 bytes: beyond level v4, and so asked
// for by itself.
#pragma once

#include "common/intrinsics.h"
#include "common/simd.h"

#if defined(__x86_64__)
#if defined(__clang__)
#define EDGECV_TARGET_VBMI __attribute__((target("arch=x86-64-v4,avx512vbmi")))
#else
#define EDGECV_TARGET_VBMI \
  __attribute__((target("arch=x86-64-v4,avx512vbmi,prefer-vector-width=512")))
#endif
#endif

namespace edgecv {

inline bool HasBytePermutation() {
#if defined(__x86_64__)
  static const bool has_it =
      CpuLevel() == Level::kV4 && __builtin_cpu_supports("avx512vbmi") != 0;
  return has_it;
#else
  return false;
#endif
}

}  // namespace edgecv
