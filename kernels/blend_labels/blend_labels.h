// A map of labels blended over a frame: each label with its colour of a palette.
//
// Contract of every implementation in this folder, beside that of common/canvas.h:
//   - `labels` and `palette` are as in colorize/colorize.h; `alpha_256` is 0 to 256;
//   - a pixel whose label l has `is_ignored[l]` == 0 becomes
//     (pixel * (256 - alpha_256) + colour * alpha_256) / 256, rounded to the nearest, halves up;
//     `is_ignored` holds 256 bytes, each 0 or 1, and a pixel of a label with 1 is left as it is;
//   - if a label of the map is not below `num_colours` and not ignored, the largest of these is
//     returned and nothing is written; otherwise 0 is returned;
//   - no array overlaps another.
//
// The definition is edgecv/kernels/reference/drawing.py; the tests hold both to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/canvas.h"

namespace edgecv {

std::size_t BlendLabelsCpu(const std::uint8_t* labels, std::ptrdiff_t label_stride,
                           const std::uint8_t* palette, std::size_t num_colours,
                           const std::uint8_t* is_ignored, std::uint32_t alpha_256,
                           const Canvas& canvas);

}  // namespace edgecv
