// CPU implementation of colorize.h: lookups (common/label_map.h), and for a subsampled plane the mean
// over the pixels of two rows that were looked up into the first-level cache.

#include "colorize/colorize.h"

#include <array>

#include "common/label_map.h"
#include "common/simd.h"

namespace edgecv {
namespace {

void ColorizeTriples(const LabelMap& map, const TripleTable& table, const CanvasPlane& plane) {
  for (std::ptrdiff_t y = 0; y < map.height; ++y) {
    const std::uint8_t* labels = map.Row(y);
    std::uint8_t* row = plane.samples + y * plane.row_stride;
    ForEachPiece(map.width, [&](std::size_t x, std::size_t count) {
      LookUpTriples(table, labels + x, count, row + 3 * x);
    });
  }
}

void ColorizeLuma(const LabelMap& map, const LabelTable& table, const CanvasPlane& plane) {
  for (std::ptrdiff_t y = 0; y < map.height; ++y) {
    LookUp(table, map.Row(y), static_cast<std::size_t>(map.width),
           plane.samples + y * plane.row_stride);
  }
}

// Samples of two columns; `lower` repeats `upper` below the last row of an odd height.
EDGECV_INLINE void Average(const std::uint8_t* __restrict__ upper,
                           const std::uint8_t* __restrict__ lower, std::size_t count,
                           std::size_t step, std::uint8_t* __restrict__ out) {
  const auto mean = [&](std::size_t x) {
    return static_cast<std::uint8_t>((SumOfPair(upper + 2 * x) + SumOfPair(lower + 2 * x) + 2) >> 2);
  };
  if (step == 1) {
    for (std::size_t x = 0; x < count; ++x) out[x] = mean(x);
  } else {
    for (std::size_t x = 0; x < count; ++x) out[2 * x] = mean(x);
  }
}

void ColorizeHalf(const LabelMap& map, const LabelTable& table, const CanvasPlane& plane,
                  std::size_t channel) {
  Piece upper, lower;
  for (std::ptrdiff_t y = 0; y < map.height; y += 2) {
    std::uint8_t* row = plane.samples + y / 2 * plane.row_stride + channel;
    const std::uint8_t* above = map.Row(y);
    const std::uint8_t* below = y + 1 < map.height ? map.Row(y + 1) : above;
    ForEachPiece(map.width, [&](std::size_t x, std::size_t count) {
      LookUp(table, above + x, count, upper.data());
      LookUp(table, below + x, count, lower.data());
      if (count % 2 != 0) {  // the last column of an odd width stands for itself alone
        upper[count] = upper[count - 1], lower[count] = lower[count - 1];
      }
      const std::uint8_t *up = upper.data(), *down = lower.data();
      Dispatch<Average>(up, down, (count + 1) / 2, plane.channels,
                        row + plane.channels * (x / 2));
    });
  }
}

}  // namespace

std::size_t ColorizeCpu(const std::uint8_t* labels, std::ptrdiff_t label_stride,
                        const std::uint8_t* palette, std::size_t num_colours,
                        const Canvas& canvas) {
  const LabelMap map{labels, canvas.height, canvas.width, label_stride};
  const std::size_t without_colour = LargestWithoutColour(map, num_colours, nullptr);
  if (without_colour != 0) return without_colour;
  std::array<LabelTable, kMaxChannels> tables;
  for (std::size_t c = 0; c < kMaxChannels; ++c) tables[c] = ChannelTable(palette, num_colours, c);
  if (canvas.planes[0].channels == 3) {
    ColorizeTriples(map, TripleTable(tables), canvas.planes[0]);
    return 0;
  }
  ColorizeLuma(map, tables[0], canvas.planes[0]);
  std::size_t first = 1;
  for (std::size_t p = 1; p < canvas.num_planes; ++p) {
    for (std::size_t c = 0; c < canvas.planes[p].channels; ++c) {
      ColorizeHalf(map, tables[first++], canvas.planes[p], c);
    }
  }
  return 0;
}

}  // namespace edgecv
