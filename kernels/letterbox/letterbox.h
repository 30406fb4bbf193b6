// A frame of 8-bit pixels becomes a network's input in one pass: convert the colours, resize, place,
// normalise, split into planes. No full-size intermediate is made.
//
// Contract of every implementation in this folder:
//   - `frame` holds its pixels in the planes that `PlanesFit` describes; row y of a plane starts
//     `y * row_stride` bytes after `data`, where `row_stride` may be negative or wider than a row;
//   - colours: YUV becomes RGB by `matrix` and `range` with chroma replicated, not interpolated;
//     luma below the black of the limited range counts as black; every channel is then clamped to
//     0..255. Bayer mosaics are completed by bilinear demosaicing, rounded to whole pixel values,
//     the outermost rows and columns repeating their inner neighbours. `kGray` is 0.299 R + 0.587 G
//     + 0.114 B of packed and Bayer frames, and the luma expanded to 0..255 of YUV ones, whose chroma
//     is not read; a gray frame has three equal channels;
//   - the frame, resized to `resized_height x resized_width`, has its corner at
//     (`offset_x`, `offset_y`) of the input; what sticks out is lost, what is not covered is bar;
//   - bilinear: output pixel k samples the frame at (k + 0.5) * frame_side / resized_side - 0.5,
//     clamped to the first and last pixel centre. There is no antialiasing;
//   - area: output pixel k is the mean of what [k, k + 1) * frame_side / resized_side covers. If
//     either axis is enlarged, both are sampled between pixel s = floor(k * frame_side /
//     resized_side) and the next, at the weight by which the output pixel reaches into the next:
//     max(0, k + 1 - (s + 1) * resized_side / frame_side), of which the fraction counts;
//   - element (c, y, x) of `out`, in either layout, receives pixel * gain[c] + bias[c]; a bar's
//     pixel is `pad`. Half floats are rounded to the nearest, ties to even; uint8 to the nearest,
//     ties up, and saturated. Every element is written;
//   - pixel values are off by at most 0.04 (packed, gray), 0.15 (YUV) or 0.54 (Bayer) of 255 before
//     `gain`, and identical at every CPU level;
//   - every side is at least 1, of a Bayer frame 3; rows are shorter than 2 GiB; `out` does not
//     overlap the frame.
//
// The definition is edgecv/kernels/reference/fitting.py; the tests hold both to it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace edgecv {

enum class PixelFormat {
  kBgr24, kRgb24, kGray8, kYuv420p, kNv12, kYuyv422,
  kBayerRggb8, kBayerBggr8, kBayerGrbg8, kBayerGbrg8,
};
enum class ColourMatrix { kBt601, kBt709 };
enum class ColourRange { kLimited, kFull };
enum class Colour { kRgb, kBgr, kGray };
enum class Interpolation { kBilinear, kArea };
enum class ElementType { kFloat32, kFloat16, kUint8 };

struct Plane {
  const std::uint8_t* data;
  std::ptrdiff_t rows, row_bytes;
  std::ptrdiff_t row_stride;  // bytes

  const std::uint8_t* Row(std::ptrdiff_t y) const { return data + y * row_stride; }
};

struct Frame {
  PixelFormat format;
  ColourMatrix matrix;
  ColourRange range;
  std::ptrdiff_t height, width;
  std::array<Plane, 3> planes;  // as many as the format has, from the first
};

struct FramePlacement {
  std::ptrdiff_t resized_height, resized_width;
  std::ptrdiff_t offset_x, offset_y;
};

struct Normalisation {
  Colour colour;
  float pad;
  std::array<float, 3> gain, bias;  // in the order of `colour`, from the first
};

struct Input {
  void* data;  // contiguous
  ElementType type;
  bool channels_last;
  std::ptrdiff_t height, width;
};

// Whether `num_planes` planes hold a frame of this format and size.
bool PlanesFit(const Frame& frame, std::size_t num_planes);

void LetterboxCpu(const Frame& frame, const FramePlacement& placement, Interpolation interpolation,
                  const Normalisation& norm, const Input& out);

}  // namespace edgecv
