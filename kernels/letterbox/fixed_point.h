// The arithmetic of a pixel between its source and its output: 16-bit integers, so that a vector
// holds twice as many as floats and every CPU level rounds alike.
//
// A pixel value is Q7: 128 times the value, 0..32640. A weight is Q15, 0..32767.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/simd.h"

// Before a loop that writes several arrays: none overlaps another. Compilers that do not see it from
// `__restrict__` would have to compare too many pairs of addresses, and give up.
#if defined(__clang__)
#define EDGECV_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define EDGECV_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace edgecv {

using Pixel = std::int16_t;
using Weight = std::int16_t;

constexpr int kPixelBits = 7;
constexpr Pixel kPixelMax = 255 << kPixelBits;

// a * b / 2^15, rounded. Written so that compilers know it as one instruction.
EDGECV_INLINE std::int16_t MultiplyHigh(std::int16_t a, std::int16_t b) {
  return static_cast<std::int16_t>((((std::int32_t{a} * b) >> 14) + 1) >> 1);
}

// From `a` to `b` by `weight`, never beyond either; the difference of two pixels is no overflow.
EDGECV_INLINE Pixel Blend(Pixel a, Pixel b, Weight weight) {
  const auto difference = static_cast<std::int16_t>(b - a);
  return static_cast<Pixel>(a + MultiplyHigh(difference, weight));
}

EDGECV_INLINE Pixel FromByte(std::uint8_t value) {
  return static_cast<Pixel>(value << kPixelBits);
}

inline Weight ToWeight(double fraction) {
  return static_cast<Weight>(std::clamp(static_cast<int>(fraction * 32768.0 + 0.5), 0, 32767));
}

}  // namespace edgecv
