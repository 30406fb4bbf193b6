// CPU implementation of blend_labels.h. What a label does to a sample is sample * keep + add in
// units of 1/256, both from a table: an ignored label keeps the whole and adds only the half that
// rounds.

#include "blend_labels/blend_labels.h"

#include <algorithm>
#include <array>

#include "common/label_map.h"
#include "common/simd.h"

namespace edgecv {
namespace {

constexpr std::uint32_t kWhole = 256;

struct Blending {
  const std::uint8_t* palette;
  std::size_t num_colours;
  const std::uint8_t* is_ignored;
  std::uint32_t alpha;  // of kWhole
};

template <std::size_t kChannels>
EDGECV_INLINE void BlendFull(const LabelMap& map, const Canvas& canvas, const CanvasPlane& plane,
                             const std::uint8_t* palette, const Blending& blending) {
  std::array<std::uint16_t, 256> keep{};
  std::array<std::array<std::uint16_t, 256>, kChannels> add{};
  for (std::size_t label = 0; label < 256; ++label) {
    const bool blends = label < blending.num_colours && blending.is_ignored[label] == 0;
    keep[label] = static_cast<std::uint16_t>(blends ? kWhole - blending.alpha : kWhole);
    for (std::size_t c = 0; c < kChannels; ++c) {
      const std::uint32_t colour = blends ? palette[kMaxChannels * label + c] : 0;
      add[c][label] = static_cast<std::uint16_t>(colour * blending.alpha + kWhole / 2);
    }
  }
  for (std::ptrdiff_t y = 0; y < canvas.height; ++y) {
    const std::uint8_t* labels = map.Row(y);
    std::uint8_t* row = plane.samples + y * plane.row_stride;
    for (std::ptrdiff_t x = 0; x < canvas.width; ++x) {
      const std::size_t label = labels[x];
      std::uint8_t* pixel = row + static_cast<std::ptrdiff_t>(kChannels) * x;
      for (std::size_t c = 0; c < kChannels; ++c) {
        pixel[c] = static_cast<std::uint8_t>((pixel[c] * keep[label] + add[c][label]) / kWhole);
      }
    }
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void BlendHalf(const LabelMap& map, const Canvas& canvas, const CanvasPlane& plane,
                             const std::uint8_t* palette, const Blending& blending) {
  // The colour's channels, then 1 for a label that blends, to count a sample's pixels that do.
  std::array<std::uint32_t, 256> table{};
  for (std::size_t label = 0; label < blending.num_colours; ++label) {
    if (blending.is_ignored[label] != 0) continue;
    table[label] = 1U << (kPackedBits * kChannels);
    for (std::size_t c = 0; c < kChannels; ++c) {
      table[label] |= std::uint32_t{palette[kMaxChannels * label + c]} << (kPackedBits * c);
    }
  }
  const std::uint32_t alpha = blending.alpha;
  for (std::ptrdiff_t y = 0; y < (canvas.height + 1) / 2; ++y) {
    std::uint8_t* row = plane.samples + y * plane.row_stride;
    ForEachSample(map, canvas, y, table.data(),
                  [row, alpha](std::ptrdiff_t x, std::uint32_t sum, std::uint32_t shift) {
                    std::uint8_t* sample = row + static_cast<std::ptrdiff_t>(kChannels) * x;
                    const std::uint32_t keep =
                        (kWhole << shift) - alpha * Unpacked(sum, kChannels);
                    for (std::size_t c = 0; c < kChannels; ++c) {
                      sample[c] = static_cast<std::uint8_t>(
                          (sample[c] * keep + alpha * Unpacked(sum, c) + (kWhole << shift) / 2) >>
                          (8 + shift));
                    }
                  });
  }
}

EDGECV_INLINE std::size_t LargestBlended(const LabelMap& map, const Canvas& canvas,
                                         const std::uint8_t* is_ignored) {
  std::array<std::uint8_t, 256> blended{};
  for (std::size_t label = 0; label < 256; ++label) {
    blended[label] = static_cast<std::uint8_t>(is_ignored[label] != 0 ? 0 : label);
  }
  std::uint8_t largest = 0;
  for (std::ptrdiff_t y = 0; y < canvas.height; ++y) {
    const std::uint8_t* labels = map.Row(y);
    for (std::ptrdiff_t x = 0; x < canvas.width; ++x) {
      largest = std::max(largest, blended[labels[x]]);
    }
  }
  return largest;
}

EDGECV_INLINE std::size_t Blend(const LabelMap* map, const Blending* blending,
                                const Canvas* canvas) {
  const std::size_t largest = LargestBlended(*map, *canvas, blending->is_ignored);
  if (largest >= blending->num_colours) return largest;
  const std::uint8_t* palette = blending->palette;
  for (std::size_t p = 0; p < canvas->num_planes; ++p) {
    const CanvasPlane& plane = canvas->planes[p];
    if (plane.channels == 3) {
      BlendFull<3>(*map, *canvas, plane, palette, *blending);
    } else if (p == 0) {
      BlendFull<1>(*map, *canvas, plane, palette, *blending);
    } else if (plane.channels == 2) {
      BlendHalf<2>(*map, *canvas, plane, palette, *blending);
    } else {
      BlendHalf<1>(*map, *canvas, plane, palette, *blending);
    }
    palette += plane.channels;
  }
  return largest;
}

}  // namespace

std::size_t BlendLabelsCpu(const std::uint8_t* labels, std::ptrdiff_t label_stride,
                           const std::uint8_t* palette, std::size_t num_colours,
                           const std::uint8_t* is_ignored, std::uint32_t alpha_256,
                           const Canvas& canvas) {
  const LabelMap map{labels, label_stride};
  const Blending blending{palette, num_colours, is_ignored, alpha_256};
  return Dispatch<Blend>(&map, &blending, &canvas);
}

}  // namespace edgecv
