// What resize_argmax_cpu.cc shares with the code of one instruction set, resize_argmax_lanes.inc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgecv::resize_argmax {

// Columns filled or computed together; a multiple of every vector's lanes. The same for all
// instruction sets, because where a tile is filled a tie may fall differently from where it is
// computed.
constexpr std::size_t kTileColumns = 16;
constexpr std::size_t kMaxClasses = 256;

// Comparing so few takes less than finding out which of them can be left out.
constexpr std::size_t kFewClasses = 3;

// The two logits between which each output pixel of an axis lies, and the weight of the second.
struct Taps {
  const std::int32_t *low, *high;
  const float* weight;
};

// Output rows between the same two rows of logits, over the columns of neighbouring tiles.
struct Tiles {
  const float *row0, *row1;  // of class 0
  std::size_t plane;         // elements from a class to the next
  std::size_t num_classes;
  Taps columns;              // of the first column; whole tiles can be read
  std::size_t num_columns;   // to write
  const float* row_weights;  // of row1
  std::size_t num_rows;
  std::uint8_t* labels;      // of the first pixel
  float* confidence;         // idem, or null
  std::size_t stride;        // elements from an output row to the next
};

// The classes that can win somewhere in a vector of columns, interpolated horizontally: the value
// of class `id[k]` in a row of weight w is `base + w * slope`.
struct Rivals {
  alignas(64) float base[kMaxClasses * kTileColumns];
  alignas(64) float slope[kMaxClasses * kTileColumns];
  std::int32_t id[kMaxClasses];
};

}  // namespace edgecv::resize_argmax
