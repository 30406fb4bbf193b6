// CPU implementation of blend_labels.h. The colours of a piece of a row are looked up
// (common/label_map.h), then blended in 16 bits, or in 32 where a sample stands for several pixels. A
// piece that is ignored altogether, as most of a background is, is not touched.

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

enum class Share { kNone, kSome, kAll };

// How many of the bytes, each 0 or 255, are set.
EDGECV_INLINE Share ShareSet(const std::uint8_t* bytes, std::size_t count) {
  std::uint8_t all = 255, any = 0;
  for (std::size_t x = 0; x < count; ++x) {
    all = static_cast<std::uint8_t>(all & bytes[x]);
    any = static_cast<std::uint8_t>(any | bytes[x]);
  }
  return any == 0 ? Share::kNone : all == 255 ? Share::kAll : Share::kSome;
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

template <std::size_t kChannels>
EDGECV_INLINE void BlendFull(const LabelMap* map, const Blending* blending,
                             const CanvasPlane* plane) {
  const LabelTable& mask = blending->ignored;
  const TripleTable colours(blending->colours), masks({mask, mask, mask});
  std::array<std::uint8_t, kChannels * kPiece> paint, ignored;
  const auto look_up = [](const TripleTable& table, const std::uint8_t* labels, std::size_t count,
                          std::uint8_t* out) {
    if constexpr (kChannels == 3) {
      LookUpTriples(table, labels, count, out);
    } else {
      LookUp(table.channels[0], labels, count, out);
    }
  };
  for (std::ptrdiff_t y = 0; y < map->height; ++y) {
    const std::uint8_t* labels = map->Row(y);
    std::uint8_t* row = plane->samples + y * plane->row_stride;
    ForEachPiece(map->width, [&](std::size_t x, std::size_t count) {
      std::uint8_t* samples = row + kChannels * x;
      Share share = Share::kNone;
      if (blending->ignores_any) {
        LookUp(mask, labels + x, count, ignored.data());
        share = ShareSet(ignored.data(), count);
      }
      if (share == Share::kAll) return;
      look_up(colours, labels + x, count, paint.data());
      if (share == Share::kNone) {
        Mix(samples, paint.data(), kChannels * count, blending->alpha);
      } else {
        if constexpr (kChannels == 3) LookUpTriples(masks, labels + x, count, ignored.data());
        MixUnlessIgnored(samples, paint.data(), ignored.data(), kChannels * count,
                         blending->alpha);
      }
    });
  }
}

// Samples of 1 << shift pixels: `sums` adds up their colours and `blended` counts those that blend.
template <std::size_t kStep>
EDGECV_INLINE void MixSamples(std::uint8_t* __restrict__ samples,
                              const std::uint16_t* __restrict__ sums,
                              const std::uint16_t* __restrict__ blended, std::size_t first,
                              std::size_t end, std::uint32_t shift, std::uint32_t alpha) {
  const std::uint32_t whole = 256U << shift;
  for (std::size_t x = first; x < end; ++x) {
    std::uint8_t& sample = samples[kStep * x];
    sample = static_cast<std::uint8_t>(
        (sample * (whole - alpha * blended[x]) + alpha * sums[x] + whole / 2) >> (8 + shift));
  }
}

// Adds up two rows over the two columns of each sample; the row below an odd height is null.
EDGECV_INLINE void AddPixels(const std::uint8_t* __restrict__ upper,
                             const std::uint8_t* __restrict__ lower, std::size_t count,
                             std::uint16_t* __restrict__ sums) {
  for (std::size_t x = 0; x < count; ++x) {
    sums[x] = static_cast<std::uint16_t>(SumOfPair(upper + 2 * x) + SumOfPair(lower + 2 * x));
  }
}

template <std::size_t kStep>
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
        std::uint8_t* samples = planes[p].samples + y / 2 * planes[p].row_stride + kStep * (x / 2);
        for (std::size_t c = 0; c < kStep; ++c, ++channel) {
          add(blending->colours[channel], above, below, count, sums.data());
          MixSamples<kStep>(samples + c, sums.data(), blended.data(), 0, paired, 1 + tall,
                            blending->alpha);
          MixSamples<kStep>(samples + c, sums.data(), blended.data(), paired, num_samples, tall,
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
  if (planes->channels == 3) {
    Dispatch<BlendFull<3>>(where, how, planes);
    return 0;
  }
  Dispatch<BlendFull<1>>(where, how, planes);
  if (canvas.num_planes == 2) Dispatch<BlendHalf<2>>(where, how, planes + 1, std::size_t{1});
  if (canvas.num_planes == 3) Dispatch<BlendHalf<1>>(where, how, planes + 1, std::size_t{2});
  return 0;
}

}  // namespace edgecv
