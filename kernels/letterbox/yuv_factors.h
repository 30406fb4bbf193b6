// From YUV to RGB: exactly, and for processors in Q5, where the sum of all terms before clamping
// fits 16 bits: at most 1.17 * 239 + 2.12 * 128 = 551, times 32.
#pragma once

#include <cstdint>

#include "letterbox/letterbox.h"

namespace edgecv {

constexpr int kYuvBits = 5;
constexpr std::int16_t kYuvMax = 255 << kYuvBits;

// R = luma (Y - black) + v_to_r V and so on, in pixel values, of U and V around 0.
struct ExactYuvFactors {
  double black, luma;
  double v_to_r, u_to_g, v_to_g, u_to_b;
};

inline ExactYuvFactors ExactFactorsOf(ColourMatrix matrix, ColourRange range) {
  // Rec. ITU-R BT.601-7 section 2.5.1 and BT.709-6 section 3: R' and B' weigh kr and kb in Y'.
  const double kr = matrix == ColourMatrix::kBt601 ? 0.299 : 0.2126;
  const double kb = matrix == ColourMatrix::kBt601 ? 0.114 : 0.0722;
  const double kg = 1.0 - kr - kb;
  const bool is_limited = range == ColourRange::kLimited;
  const double chroma = is_limited ? 255.0 / 224.0 : 1.0;
  const double r = 2.0 * (1.0 - kr) * chroma, b = 2.0 * (1.0 - kb) * chroma;
  return {is_limited ? 16.0 : 0.0, is_limited ? 255.0 / 219.0 : 1.0, r, -b * kb / kg,
          -r * kr / kg, b};
}

// A luma factor is Q13 and meets a Q7 luma above `black`; a chroma factor is Q12 and meets a Q8
// chroma around 0.
struct YuvFactors {
  std::int16_t black, luma;
  std::int16_t v_to_r, u_to_g, v_to_g, u_to_b;
};

inline YuvFactors FactorsOf(ColourMatrix matrix, ColourRange range) {
  const auto rounded = [](double value, int bits) {
    const double scaled = value * (1 << bits);
    return static_cast<std::int16_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  };
  const ExactYuvFactors exact = ExactFactorsOf(matrix, range);
  return {static_cast<std::int16_t>(exact.black), rounded(exact.luma, 13),
          rounded(exact.v_to_r, 12), rounded(exact.u_to_g, 12), rounded(exact.v_to_g, 12),
          rounded(exact.u_to_b, 12)};
}

}  // namespace edgecv
