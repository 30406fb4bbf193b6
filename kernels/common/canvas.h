// A frame that is drawn into: planes of 8-bit samples, changed in place.
//
// Contract of what draws into a canvas:
//   - plane p holds, for each of its samples, `channels` bytes, dense within a row; row y starts
//     `y * row_stride` bytes after `samples`, where `row_stride` may be negative or wide;
//   - a plane with `subsampling` 1 has a sample per pixel; with 2 it has one per 2 x 2 pixels:
//     ceil(height / 2) rows of ceil(width / 2) samples. The last sample of an odd side stands for
//     the pixels that there are;
//   - a colour has a byte per channel, in the order of the planes: 3 for `bgr24` or `rgb24` (one
//     plane), `yuv420p` (three) and `nv12` (two); 1 for gray;
//   - what is drawn changes a sample of a subsampled plane to the mean over its pixels of what each
//     of them would become, rounded once, halves up: a pixel that nothing covers weighs with the
//     value that the sample had.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace edgecv {

constexpr std::size_t kMaxChannels = 3;

struct CanvasPlane {
  std::uint8_t* samples;
  std::ptrdiff_t row_stride;  // bytes
  std::size_t channels;       // 1, 2 or 3
  std::ptrdiff_t subsampling;  // 1 or 2
};

struct Canvas {
  std::ptrdiff_t height, width;  // pixels, at least 1
  std::size_t num_planes;
  std::array<CanvasPlane, kMaxChannels> planes;
};

}  // namespace edgecv
