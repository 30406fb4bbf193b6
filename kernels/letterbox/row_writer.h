// The last step of the fit: blend two rows, normalise, write them in the input's type and layout.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "letterbox/fixed_point.h"
#include "letterbox/letterbox.h"

namespace edgecv {

// The rows above and below a sample point, and the weight of the lower one.
struct RowPair {
  std::array<const Pixel*, 3> above, below;
  Weight weight;
};

class RowWriter {
 public:
  RowWriter(const Input& out, const Normalisation& norm);

  // Writes `count` pixels of row `y` from column `left`. `rows` holds a row per output channel.
  void Write(std::ptrdiff_t y, std::ptrdiff_t left, std::size_t count, const RowPair& rows);

  // Where the channels' values of row `y` from column `left` lie, in planes of float32.
  std::array<float*, 3> Floats(std::ptrdiff_t y, std::ptrdiff_t left) const;

  // Writes bar to columns [left, right) of row `y`.
  void Fill(std::ptrdiff_t y, std::ptrdiff_t left, std::ptrdiff_t right) const;

 private:
  std::byte* At(std::size_t channel, std::ptrdiff_t y, std::ptrdiff_t x) const;
  void Convert(const float* values, std::size_t count, std::byte* out) const;

  Input out_;
  Normalisation norm_;
  std::size_t num_channels_, element_size_;
  bool is_interleaved_;  // several channels, channels last
  std::vector<float> values_;      // of one row and channel, where they need converting
  std::vector<std::byte> planar_;  // elements of one row, where they need interleaving
  std::vector<std::byte> bar_;     // a row of it, as in the input: by channel or interleaved
};

}  // namespace edgecv
