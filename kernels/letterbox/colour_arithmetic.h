// From the bytes of a frame to colours, in floats: the arithmetic of letterbox.h on every device.
#pragma once

#include <cstdint>

#include "common/host_device.h"
#include "letterbox/gray_factors.h"
#include "letterbox/yuv_factors.h"

namespace edgecv {

EDGECV_HOST_DEVICE float FusedMultiplyAdd(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

// To [0, 1]. On a GPU this is part of the instruction that made the value.
EDGECV_HOST_DEVICE float Saturate(float value) {
#if defined(__CUDA_ARCH__)
  return __saturatef(value);
#else
  return value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
#endif
}

EDGECV_HOST_DEVICE float Blend(float a, float b, float weight) {
  return FusedMultiplyAdd(weight, b - a, a);
}

struct Rgb {
  float channels[3];
};

// Exact: whole numbers below 2^24, and a power of two.
EDGECV_HOST_DEVICE float GrayOf(float red, float green, float blue) {
  return (red * kRedInGray + green * kGreenInGray + blue * kBlueInGray) * (1.0f / (1 << kGrayBits));
}

// The first of `Chroma` decides over the first channel of the output, the second over the third: V
// and U for R G B, U and V for B G R.
struct Chroma {
  float first, second;  // 0..255
};

// To colours of which 1 is white.
struct ColourFactors {
  float black, luma;
  float to_first, first_to_green, second_to_green, to_third;
};

inline ColourFactors ColourFactorsOf(ColourMatrix matrix, ColourRange range, bool is_bgr) {
  const ExactYuvFactors exact = ExactFactorsOf(matrix, range);
  const auto factor = [](double value) { return static_cast<float>(value / 255.0); };
  const float red = factor(exact.v_to_r), blue = factor(exact.u_to_b);
  const float v_to_green = factor(exact.v_to_g), u_to_green = factor(exact.u_to_g);
  return {static_cast<float>(exact.black),
          factor(exact.luma),
          is_bgr ? blue : red,
          is_bgr ? u_to_green : v_to_green,
          is_bgr ? v_to_green : u_to_green,
          is_bgr ? red : blue};
}

EDGECV_HOST_DEVICE Rgb ColoursOf(float luma, Chroma chroma, const ColourFactors& factors) {
  const float above_black = luma > factors.black ? luma - factors.black : 0.0f;
  const float gray = above_black * factors.luma;
  const float first = chroma.first - 128.0f, second = chroma.second - 128.0f;
  return {{Saturate(FusedMultiplyAdd(first, factors.to_first, gray)),
           Saturate(FusedMultiplyAdd(
               second, factors.second_to_green,
               FusedMultiplyAdd(first, factors.first_to_green, gray))),
           Saturate(FusedMultiplyAdd(second, factors.to_third, gray))}};
}

// The gray of a luma in pixel values: exact where black is 0 and `scale` 1.
EDGECV_HOST_DEVICE float GrayOfLuma(float luma, float black, float scale) {
  const float value = (luma - black) * scale;
  return value > 0.0f ? (value < 255.0f ? value : 255.0f) : 0.0f;
}

}  // namespace edgecv
