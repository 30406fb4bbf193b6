// A frame that is drawn into: planes of 8-bit samples, changed in place.
//
// Contract of what draws into a canvas:
//   - plane p holds, for each of its samples, `channels` bytes, dense within a row; row y starts
//     `y * row_stride` bytes after `samples`, where `row_stride` may be negative or wide;
//   - the first plane has a sample per pixel. The others, which go with a first plane of one channel
//     only, have one per 2 x 2 pixels: ceil(height / 2) rows of ceil(width / 2) samples, of which
//     the last of an odd side stands for the pixels that there are;
//   - so there is one plane of 3 channels (`bgr24`, `rgb24`) or of 1 (gray), three of 1 (`yuv420p`),
//     or one of 1 and one of 2 (`nv12`);
//   - a colour is 3 bytes, one per channel in the order of the planes; gray uses the first;
//   - what is drawn changes a sample to the mean over its pixels of what each of them would become,
//     rounded once, halves up: a pixel that nothing covers weighs with the sample's old value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace edgecv {

constexpr std::size_t kMaxChannels = 3;

struct CanvasPlane {
  std::uint8_t* samples;
  std::ptrdiff_t row_stride;  // bytes
  std::size_t channels;
};

struct Canvas {
  std::ptrdiff_t height, width;  // pixels, at least 1
  std::size_t num_planes;
  std::array<CanvasPlane, kMaxChannels> planes;
};

}  // namespace edgecv
