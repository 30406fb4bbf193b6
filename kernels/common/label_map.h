// A map of labels, one byte per pixel, and what the operators that colour it share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/canvas.h"
#include "common/simd.h"

namespace edgecv {

struct LabelMap {
  const std::uint8_t* labels;
  std::ptrdiff_t row_stride;  // bytes; a row is dense

  const std::uint8_t* Row(std::ptrdiff_t y) const { return labels + y * row_stride; }
};

// A table with an entry per label that packs up to 3 numbers of 10 bits: four entries add up without
// a carry from one into the next.
constexpr std::uint32_t kPackedBits = 10;
constexpr std::uint32_t kPackedMask = (1U << kPackedBits) - 1;

EDGECV_INLINE std::uint32_t Unpacked(std::uint32_t packed, std::size_t channel) {
  return (packed >> (kPackedBits * channel)) & kPackedMask;
}

// Calls `paint(x, sum, shift)` for each sample of row `y` of a subsampled plane: `sum` adds up
// `table` over its pixels, of which there are 1 << shift.
template <typename Paint>
EDGECV_INLINE void ForEachSample(const LabelMap& map, const Canvas& canvas, std::ptrdiff_t y,
                                 const std::uint32_t* table, Paint paint) {
  const std::uint32_t tall = 2 * y + 1 < canvas.height ? 1 : 0;
  const std::uint8_t* upper = map.Row(2 * y);
  const std::uint8_t* lower = map.Row(2 * y + tall);
  const std::ptrdiff_t pairs = canvas.width / 2;
  for (std::ptrdiff_t x = 0; x < pairs; ++x) {
    std::uint32_t sum = table[upper[2 * x]] + table[upper[2 * x + 1]];
    if (tall != 0) sum += table[lower[2 * x]] + table[lower[2 * x + 1]];
    paint(x, sum, 1 + tall);
  }
  if (canvas.width % 2 != 0) {
    std::uint32_t sum = table[upper[2 * pairs]];
    if (tall != 0) sum += table[lower[2 * pairs]];
    paint(pairs, sum, tall);
  }
}

}  // namespace edgecv
