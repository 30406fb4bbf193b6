// A map of labels, one byte per pixel, and what the operators that colour it share.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/canvas.h"
#include "common/simd.h"

namespace edgecv {

struct LabelMap {
  const std::uint8_t* labels;
  std::ptrdiff_t height, width;
  std::ptrdiff_t row_stride;  // bytes; a row is dense

  const std::uint8_t* Row(std::ptrdiff_t y) const { return labels + y * row_stride; }
};

// A byte for each label. Only the first `num_entries` are ever asked for.
struct LabelTable {
  alignas(64) std::array<std::uint8_t, 256> entries{};
  std::size_t num_entries = 256;
};

// out[x] = table.entries[labels[x]] for x < count, by byte shuffles where the processor has them.
// A label that is not below `table.num_entries` gives any byte. `out` does not overlap `labels`.
void LookUp(const LabelTable& table, const std::uint8_t* labels, std::size_t count,
            std::uint8_t* out);

// A table of channel `channel` of a palette of 3 bytes per colour.
LabelTable ChannelTable(const std::uint8_t* palette, std::size_t num_colours, std::size_t channel);

// The three bytes of each label: by channel, for shuffles, and in one word, for stores.
struct TripleTable {
  std::array<LabelTable, 3> channels;
  std::array<std::array<std::uint8_t, 4>, 256> words;

  explicit TripleTable(const std::array<LabelTable, 3>& tables);
};

// out[3 * x + c] = table.channels[c].entries[labels[x]] for x < count <= kPiece, as LookUp.
void LookUpTriples(const TripleTable& table, const std::uint8_t* labels, std::size_t count,
                   std::uint8_t* out);

// The largest label of the map that is not below `num_colours` and not ignored; 0 if there is none.
// `is_ignored` holds 256 bytes, 0 or 1, or is null: no label is ignored.
std::size_t LargestWithoutColour(const LabelMap& map, std::size_t num_colours,
                                 const std::uint8_t* is_ignored);

// Rows are worked off in pieces whose buffers stay in the first-level cache: an even number of
// pixels, and whole vectors.
constexpr std::size_t kPiece = 256;
using Piece = std::array<std::uint8_t, kPiece>;

// The sum of two neighbouring bytes, read as one word so that whole vectors of them add up.
EDGECV_INLINE std::uint16_t SumOfPair(const std::uint8_t* bytes) {
  std::uint16_t pair;
  std::memcpy(&pair, bytes, 2);
  return static_cast<std::uint16_t>((pair & 255) + (pair >> 8));
}

// Calls `work(x, count)` for the pieces of a row of `width` pixels.
template <typename Work>
EDGECV_INLINE void ForEachPiece(std::ptrdiff_t width, Work work) {
  const auto whole = static_cast<std::size_t>(width);
  for (std::size_t x = 0; x < whole; x += kPiece) work(x, std::min(kPiece, whole - x));
}

}  // namespace edgecv
