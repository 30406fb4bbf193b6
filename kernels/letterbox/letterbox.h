// A frame of 8-bit colour pixels becomes a network's input in one pass: resize, place, reorder
// the channels, normalise, split into planes.
//
// Contract of every implementation in this folder:
//   - `frame` holds `height` rows of `width` pixels of 3 bytes; row y starts `y * row_stride` bytes
//     after `pixels`, where `row_stride` may be negative or wider than a row;
//   - the frame, resized to `resized_height x resized_width`, has its corner at
//     (`offset_x`, `offset_y`) of the input; what sticks out is lost, what is not covered is bar;
//   - resizing is bilinear with half-pixel centres: output pixel k samples the frame at
//     (k + 0.5) * frame_side / resized_side - 0.5, clamped to the first and last pixel centre.
//     There is no antialiasing;
//   - `out` receives 3 planes of `out_height x out_width` floats; plane c holds
//     pixel * gain[c] + bias[c] of source channel c, or 2 - c with `reverse_channels`; a bar's
//     pixel is `pad`. Every element is written;
//   - every side is at least 1; `out` does not overlap the frame.
//
// The definition is edgecv/kernels/reference.py; the tests hold both to it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace edgecv {

struct Frame {
  const std::uint8_t* pixels;
  std::ptrdiff_t height, width;
  std::ptrdiff_t row_stride;  // bytes
};

struct FramePlacement {
  std::ptrdiff_t resized_height, resized_width;
  std::ptrdiff_t offset_x, offset_y;
};

struct Normalisation {
  bool reverse_channels;
  float pad;
  std::array<float, 3> gain, bias;
};

void LetterboxCpu(const Frame& frame, const FramePlacement& placement, const Normalisation& norm,
                  std::ptrdiff_t out_height, std::ptrdiff_t out_width, float* out);

}  // namespace edgecv
