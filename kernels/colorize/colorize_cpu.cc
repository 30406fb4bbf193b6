// CPU implementation of colorize.h. A pixel of three channels is stored as a word of four bytes
// whose last the next pixel overwrites; a subsampled plane adds up table entries that pack its
// channels into one word.

#include "colorize/colorize.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "common/label_map.h"
#include "common/simd.h"

namespace edgecv {
namespace {

EDGECV_INLINE std::uint8_t Largest(const std::uint8_t* labels, std::ptrdiff_t count) {
  std::uint8_t largest = 0;
  for (std::ptrdiff_t x = 0; x < count; ++x) largest = std::max(largest, labels[x]);
  return largest;
}

EDGECV_INLINE void ColorizeTriples(const LabelMap& map, const Canvas& canvas,
                                   const CanvasPlane& plane, const std::uint8_t* palette,
                                   std::size_t num_colours) {
  std::array<std::array<std::uint8_t, 4>, 256> table{};
  for (std::size_t k = 0; k < num_colours; ++k) {
    std::memcpy(table[k].data(), palette + 3 * k, 3);
  }
  for (std::ptrdiff_t y = 0; y < canvas.height; ++y) {
    const std::uint8_t* labels = map.Row(y);
    std::uint8_t* row = plane.samples + y * plane.row_stride;
    const std::ptrdiff_t last = canvas.width - 1;
    for (std::ptrdiff_t x = 0; x < last; ++x) {
      std::memcpy(row + 3 * x, table[labels[x]].data(), 4);
    }
    std::memcpy(row + 3 * last, table[labels[last]].data(), 3);
  }
}

EDGECV_INLINE void ColorizeLuma(const LabelMap& map, const Canvas& canvas,
                                const CanvasPlane& plane, const std::uint8_t* palette,
                                std::size_t num_colours) {
  std::array<std::uint8_t, 256> table{};
  for (std::size_t k = 0; k < num_colours; ++k) table[k] = palette[kMaxChannels * k];
  for (std::ptrdiff_t y = 0; y < canvas.height; ++y) {
    const std::uint8_t* labels = map.Row(y);
    std::uint8_t* row = plane.samples + y * plane.row_stride;
    for (std::ptrdiff_t x = 0; x < canvas.width; ++x) row[x] = table[labels[x]];
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void ColorizeHalf(const LabelMap& map, const Canvas& canvas,
                                const CanvasPlane& plane, const std::uint8_t* palette,
                                std::size_t num_colours) {
  std::array<std::uint32_t, 256> table{};
  for (std::size_t k = 0; k < num_colours; ++k) {
    for (std::size_t c = 0; c < kChannels; ++c) {
      table[k] |= std::uint32_t{palette[kMaxChannels * k + c]} << (kPackedBits * c);
    }
  }
  for (std::ptrdiff_t y = 0; y < (canvas.height + 1) / 2; ++y) {
    std::uint8_t* row = plane.samples + y * plane.row_stride;
    ForEachSample(map, canvas, y, table.data(),
                  [row](std::ptrdiff_t x, std::uint32_t sum, std::uint32_t shift) {
                    std::uint8_t* sample = row + static_cast<std::ptrdiff_t>(kChannels) * x;
                    for (std::size_t c = 0; c < kChannels; ++c) {
                      sample[c] = static_cast<std::uint8_t>(
                          (Unpacked(sum, c) + ((1U << shift) >> 1)) >> shift);
                    }
                  });
  }
}

EDGECV_INLINE std::size_t Colorize(const LabelMap* map, const std::uint8_t* palette,
                                   std::size_t num_colours, const Canvas* canvas) {
  std::uint8_t largest = 0;
  for (std::ptrdiff_t y = 0; y < canvas->height; ++y) {
    largest = std::max(largest, Largest(map->Row(y), canvas->width));
  }
  if (largest >= num_colours) return largest;
  for (std::size_t p = 0; p < canvas->num_planes; ++p) {
    const CanvasPlane& plane = canvas->planes[p];
    if (plane.channels == 3) {
      ColorizeTriples(*map, *canvas, plane, palette, num_colours);
    } else if (p == 0) {
      ColorizeLuma(*map, *canvas, plane, palette, num_colours);
    } else if (plane.channels == 2) {
      ColorizeHalf<2>(*map, *canvas, plane, palette, num_colours);
    } else {
      ColorizeHalf<1>(*map, *canvas, plane, palette, num_colours);
    }
    palette += plane.channels;
  }
  return largest;
}

}  // namespace

std::size_t ColorizeCpu(const std::uint8_t* labels, std::ptrdiff_t label_stride,
                        const std::uint8_t* palette, std::size_t num_colours,
                        const Canvas& canvas) {
  const LabelMap map{labels, label_stride};
  return Dispatch<Colorize>(&map, palette, num_colours, &canvas);
}

}  // namespace edgecv
