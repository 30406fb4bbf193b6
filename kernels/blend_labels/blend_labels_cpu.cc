// CPU implementation of blend_labels.h. The colours of a piece of a row are looked up channel by
// channel, as byte shuffles do it, then blended in 16 bits, or in 32 where a sample stands for
// several pixels. A piece that is ignored altogether, as most of a background is, is not touched.

#include "blend_labels/blend_labels.h"

#include <array>

#include "common/label_map.h"
#include "common/simd.h"

namespace edgecv {
namespace {

struct Blending {
  std::array<LabelTable, kMaxChannels> colours;  // 0 for ignored labels
  LabelTable ignored;                            // 255 for ignored labels, else 0
  bool ignores_any;
  std::uint32_t alpha;  // of 256
};

EDGECV_INLINE bool AllSet(const std::uint8_t* bytes, std::size_t count) {
  std::uint8_t all = 255;
  for (std::size_t x = 0; x < count; ++x) all = static_cast<std::uint8_t>(all & bytes[x]);
  return all == 255;
}

EDGECV_INLINE void Mix(std::uint8_t* __restrict__ samples, const std::uint8_t* __restrict__ colours,
                       std::size_t count, std::uint32_t alpha) {
  const auto paint = static_cast<std::uint16_t>(alpha);
  const auto keep = static_cast<std::uint16_t>(256 - alpha);
  for (std::size_t x = 0; x < count; ++x) {
    const auto sum = static_cast<std::uint16_t>(samples[x] * keep + colours[x] * paint + 128);
    samples[x] = static_cast<std::uint8_t>(sum >> 8);
  }
}

EDGECV_INLINE void MixUnlessIgnored(std::uint8_t* __restrict__ samples,
                                    const std::uint8_t* __restrict__ colours,
                                    const std::uint8_t* __restrict__ ignored, std::size_t count,
                                    std::uint32_t alpha) {
  const auto paint = static_cast<std::uint16_t>(alpha);
  const auto keep = static_cast<std::uint16_t>(256 - alpha);
  for (std::size_t x = 0; x < count; ++x) {
    const auto sum = static_cast<std::uint16_t>(samples[x] * keep + colours[x] * paint + 128);
    samples[x] = static_cast<std::uint8_t>((samples[x] & ignored[x]) | ((sum >> 8) & ~ignored[x]));
  }
}

EDGECV_INLINE void BlendFull(const LabelMap* map, const Blending* blending,
                             const CanvasPlane* plane) {
  const std::size_t channels = plane->channels;
  std::array<Piece, kMaxChannels> colours;
  Piece ignored;
  std::array<std::uint8_t, kMaxChannels * kPiece> triples, ignored_triples;
  for (std::ptrdiff_t y = 0; y < map->height; ++y) {
    const std::uint8_t* labels = map->Row(y);
    std::uint8_t* row = plane->samples + y * plane->row_stride;
    ForEachPiece(map->width, [&](std::size_t x, std::size_t count) {
      if (blending->ignores_any) {
        LookUp(blending->ignored, labels + x, count, ignored.data());
        if (AllSet(ignored.data(), count)) return;
      }
      for (std::size_t c = 0; c < channels; ++c) {
        LookUp(blending->colours[c], labels + x, count, colours[c].data());
      }
      const std::uint8_t *paint = colours[0].data(), *left = ignored.data();
      if (channels == 3) {
        Interleave(colours[0].data(), colours[1].data(), colours[2].data(), count, triples.data());
        paint = triples.data();
        if (blending->ignores_any) {
          Interleave(left, left, left, count, ignored_triples.data());
          left = ignored_triples.data();
        }
      }
      std::uint8_t* samples = row + channels * x;
      if (blending->ignores_any) {
        MixUnlessIgnored(samples, paint, left, channels * count, blending->alpha);
      } else {
        Mix(samples, paint, channels * count, blending->alpha);
      }
    });
  }
}

// Samples of 1 << shift pixels: `sums` adds up their colours and `blended` counts those that blend.
EDGECV_INLINE void MixSamples(std::uint8_t* samples, std::size_t step,
                              const std::uint16_t* __restrict__ sums,
                              const std::uint16_t* __restrict__ blended, std::size_t first,
                              std::size_t end, std::uint32_t shift, std::uint32_t alpha) {
  const std::uint32_t whole = 256U << shift;
  for (std::size_t x = first; x < end; ++x) {
    std::uint8_t& sample = samples[step * x];
    sample = static_cast<std::uint8_t>(
        (sample * (whole - alpha * blended[x]) + alpha * sums[x] + whole / 2) >> (8 + shift));
  }
}

// Adds up two rows over the two columns of each sample; the row below an odd height is null.
EDGECV_INLINE void AddPixels(const std::uint8_t* __restrict__ upper,
                             const std::uint8_t* __restrict__ lower, std::size_t count,
                             std::uint16_t* __restrict__ sums) {
  for (std::size_t x = 0; x < count; ++x) {
    sums[x] = static_cast<std::uint16_t>(upper[2 * x] + upper[2 * x + 1] + lower[2 * x] +
                                         lower[2 * x + 1]);
  }
}

EDGECV_INLINE void BlendHalf(const LabelMap* map, const Blending* blending,
                             const CanvasPlane* planes, std::size_t num_planes) {
  // Zero at the odd end of a row, and below the last row, where there is no pixel to add.
  std::array<std::uint8_t, kPiece + 2> upper{}, lower{};
  std::array<std::uint16_t, kPiece / 2> sums, blended;
  const auto add = [&](const LabelTable& table, const std::uint8_t* above,
                       const std::uint8_t* below, std::size_t count, std::uint16_t* out) {
    LookUp(table, above, count, upper.data());
    if (below != nullptr) LookUp(table, below, count, lower.data());
    upper[count] = lower[count] = 0;
    AddPixels(upper.data(), lower.data(), (count + 1) / 2, out);
  };
  LabelTable blends;  // 1 for the labels that blend
  for (std::size_t label = 0; label < 256; ++label) {
    blends.entries[label] = blending->ignored.entries[label] != 0 ? 0 : 1;
  }
  blends.num_entries = blending->ignored.num_entries;

  for (std::ptrdiff_t y = 0; y < map->height; y += 2) {
    const bool is_tall = y + 1 < map->height;
    if (!is_tall) lower.fill(0);
    const std::uint32_t tall = is_tall ? 1 : 0;
    ForEachPiece(map->width, [&](std::size_t x, std::size_t count) {
      const std::uint8_t* above = map->Row(y) + x;
      const std::uint8_t* below = is_tall ? map->Row(y + 1) + x : nullptr;
      const std::size_t num_samples = (count + 1) / 2, paired = count / 2;
      add(blends, above, below, count, blended.data());
      std::uint16_t any = 0;
      for (std::size_t i = 0; i < num_samples; ++i) any = static_cast<std::uint16_t>(any | blended[i]);
      if (any == 0) return;
      std::size_t channel = 1;
      for (std::size_t p = 0; p < num_planes; ++p) {
        const std::size_t step = planes[p].channels;
        std::uint8_t* samples = planes[p].samples + y / 2 * planes[p].row_stride + step * (x / 2);
        for (std::size_t c = 0; c < step; ++c, ++channel) {
          add(blending->colours[channel], above, below, count, sums.data());
          if (step == 1) {
            MixSamples(samples, 1, sums.data(), blended.data(), 0, paired, 1 + tall,
                       blending->alpha);
          } else {
            MixSamples(samples + c, 2, sums.data(), blended.data(), 0, paired, 1 + tall,
                       blending->alpha);
          }
          MixSamples(samples + c, step, sums.data(), blended.data(), paired, num_samples, tall,
                     blending->alpha);
        }
      }
    });
  }
}

}  // namespace

std::size_t BlendLabelsCpu(const std::uint8_t* labels, std::ptrdiff_t label_stride,
                           const std::uint8_t* palette, std::size_t num_colours,
                           const std::uint8_t* is_ignored, std::uint32_t alpha_256,
                           const Canvas& canvas) {
  const LabelMap map{labels, canvas.height, canvas.width, label_stride};
  const std::size_t without_colour = LargestWithoutColour(map, num_colours, is_ignored);
  if (without_colour != 0) return without_colour;
  Blending blending{{}, {}, false, alpha_256};
  for (std::size_t c = 0; c < kMaxChannels; ++c) {
    blending.colours[c] = ChannelTable(palette, num_colours, c);
  }
  // Labels that have no colour are ignored ones: tables reach as far as those do.
  std::size_t num_entries = num_colours;
  for (std::size_t label = 0; label < 256; ++label) {
    if (is_ignored[label] == 0) continue;
    blending.ignores_any = true;
    blending.ignored.entries[label] = 255;
    for (LabelTable& colours : blending.colours) colours.entries[label] = 0;
    if (label >= num_entries) num_entries = label + 1;
  }
  blending.ignored.num_entries = num_entries;
  for (LabelTable& colours : blending.colours) colours.num_entries = num_entries;

  const Blending* how = &blending;
  const LabelMap* where = &map;
  const CanvasPlane* planes = canvas.planes.data();
  Dispatch<BlendFull>(where, how, planes);
  if (canvas.num_planes > 1) Dispatch<BlendHalf>(where, how, planes + 1, canvas.num_planes - 1);
  return 0;
}

}  // namespace edgecv
