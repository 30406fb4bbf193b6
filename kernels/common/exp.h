// An exponential that compilers vectorise and that gives the same bits at every level.
//
// The algorithm of Arm's Optimized Routines, which is that of glibc: exp(x) = 2^(k/32) * 2^(r/32) with
// a whole k and |r| <= 1/2, a table for the former and a cubic for the latter, in double. The error
// before the one rounding to float is some 2^-33, so that the result is that of glibc's expf but for
// rare arguments of some compilations of either.
//
// Source: https://github.com/ARM-software/optimized-routines, math/expf.c and math/exp2f_data.c.
// Copyright (c) Arm Limited, MIT licence, see NOTICE.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/simd.h"

namespace edgecv {

// The bits of 2^(i/32) less i << 47: with k << 47 they give those of 2^(k/32).
inline constexpr std::uint64_t kExpTable[32] = {
    0x3ff0000000000000, 0x3fefd9b0d3158574, 0x3fefb5586cf9890f, 0x3fef9301d0125b51,
    0x3fef72b83c7d517b, 0x3fef54873168b9aa, 0x3fef387a6e756238, 0x3fef1e9df51fdee1,
    0x3fef06fe0a31b715, 0x3feef1a7373aa9cb, 0x3feedea64c123422, 0x3feece086061892d,
    0x3feebfdad5362a27, 0x3feeb42b569d4f82, 0x3feeab07dd485429, 0x3feea47eb03a5585,
    0x3feea09e667f3bcd, 0x3fee9f75e8ec5f74, 0x3feea11473eb0187, 0x3feea589994cce13,
    0x3feeace5422aa0db, 0x3feeb737b0cdc5e5, 0x3feec49182a3f090, 0x3feed503b23e255d,
    0x3feee89f995ad3ad, 0x3feeff76f2fb5e47, 0x3fef199bdd85529c, 0x3fef3720dcef9069,
    0x3fef5818dcfba487, 0x3fef7c97337b9b5f, 0x3fefa4afa2a490da, 0x3fefd0765b6e4540,
};

// exp(x) of an x up to 88, with an error below 0.502 units in the last place; 0 where that is below
// the least denormal, NaN for NaN.
EDGECV_INLINE float Exp(float x) {
  constexpr double kSteps = 32.0;
  constexpr double kStepsPerUnit = 0x1.71547652b82fep+0 * kSteps;  // 32 / ln 2
  constexpr double kCubic = 0x1.c6af84b912394p-5 / kSteps / kSteps / kSteps;
  constexpr double kSquare = 0x1.ebfce50fac4f3p-3 / kSteps / kSteps;
  constexpr double kLinear = 0x1.62e42ff0c52d6p-1 / kSteps;
  constexpr double kRounding = 0x1.8p+52;  // adding it leaves a whole number in the low bits

  const double z = kStepsPerUnit * static_cast<double>(x);
  const double rounded = z + kRounding;
  std::uint64_t k;
  std::memcpy(&k, &rounded, sizeof k);
  const double r = z - (rounded - kRounding);
  const std::uint64_t bits = kExpTable[k % 32] + (k << 47);
  double power;
  std::memcpy(&power, &bits, sizeof power);
  const double upper = kCubic * r + kSquare;
  const double lower = kLinear * r + 1.0;
  const auto value = static_cast<float>((upper * (r * r) + lower) * power);
  // Far below, the exponent of the power has wrapped round. Masked, since compilers would make a
  // branch of a choice, and no vectors of a loop with a branch.
  std::uint32_t value_bits;
  std::memcpy(&value_bits, &value, sizeof value_bits);
  value_bits &= 0u - static_cast<std::uint32_t>(!(x < -104.0f));
  float result;
  std::memcpy(&result, &value_bits, sizeof result);
  return result;
}

}  // namespace edgecv
