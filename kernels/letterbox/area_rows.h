// The rows of a frame, made smaller by area interpolation: `At(k)` gives row k as a row writer takes
// it. One object serves one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "letterbox/area.h"
#include "letterbox/fixed_point.h"
#include "letterbox/letterbox.h"
#include "letterbox/row_sampler.h"
#include "letterbox/row_writer.h"
#include "letterbox/taps.h"

namespace edgecv {

// Of frames whose bytes are their colours: the mean of bytes is the colour of the mean.
class AreaRowsOfBytes {
 public:
  // Whether it can make these. Otherwise use the other class.
  static bool Takes(PixelFormat format, const Spans& rows, const Spans& columns);

  AreaRowsOfBytes(const Frame& frame, Colour colour, const Spans& rows, const Spans& columns);

  RowPair At(std::size_t k);

 private:
  Plane plane_;
  const Spans& rows_;
  ColumnMeans columns_;
  bool is_gray_frame_;
  std::size_t num_channels_;
  std::array<std::ptrdiff_t, 3> offset_;  // of the channels in a pixel: of the output's, or R G B
  std::ptrdiff_t first_byte_;
  std::size_t num_bytes_;
  std::vector<std::uint16_t> sums_;
  std::vector<float> row_means_, means_;
  std::vector<Pixel> pixels_;
};

// Of every frame: each pixel is converted, and clamped, before it is part of a mean. The sampler has
// a tap for every column of the spans.
class AreaRowsOfColours {
 public:
  AreaRowsOfColours(const RowSampler& sampler, const Spans& rows, const Spans& columns);

  RowPair At(std::size_t k);

 private:
  void MeanOfRows(std::size_t k);
  const Pixel* Colours(std::ptrdiff_t y);

  const RowSampler& sampler_;
  RowSampler::Scratch scratch_;
  const Spans& rows_;
  const Spans& columns_;
  std::optional<ColumnMeans> column_means_;  // none: the spans are too long, or not alike
  std::size_t num_channels_, width_;
  // Channel by channel. Row y is held in slot y modulo their number: the last row of a span may be
  // the first of the next.
  std::vector<Pixel> colours_;
  std::array<std::ptrdiff_t, kPixelRows> held_;
  std::vector<float> row_means_, quads_, means_;
  std::vector<Pixel> pixels_;
};

}  // namespace edgecv
