// A map of labels, one byte per pixel, and what the operators that colour it share.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "common/canvas.h"

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

// out[3 * x + c] = first, second or third [x] for x < count; nothing overlaps `out`.
void Interleave(const std::uint8_t* first, const std::uint8_t* second, const std::uint8_t* third,
                std::size_t count, std::uint8_t* out);

// A table of channel `channel` of a palette of 3 bytes per colour.
LabelTable ChannelTable(const std::uint8_t* palette, std::size_t num_colours, std::size_t channel);

// The largest label of the map that is not below `num_colours` and not ignored; 0 if there is none.
// `is_ignored` holds 256 bytes, 0 or 1, or is null: no label is ignored.
std::size_t LargestWithoutColour(const LabelMap& map, std::size_t num_colours,
                                 const std::uint8_t* is_ignored);

// Rows are worked off in pieces whose buffers stay in the first-level cache: an even number of
// pixels, and whole vectors.
constexpr std::size_t kPiece = 512;
using Piece = std::array<std::uint8_t, kPiece>;

// Calls `work(x, count)` for the pieces of a row of `width` pixels.
template <typename Work>
inline __attribute__((always_inline)) void ForEachPiece(std::ptrdiff_t width, Work work) {
  const auto whole = static_cast<std::size_t>(width);
  for (std::size_t x = 0; x < whole; x += kPiece) work(x, std::min(kPiece, whole - x));
}

}  // namespace edgecv
