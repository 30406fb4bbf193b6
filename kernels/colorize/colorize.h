// A map of labels becomes a picture: each label takes its colour of a palette.
//
// Contract of every implementation in this folder, beside that of common/canvas.h:
//   - `labels` holds canvas.height rows of canvas.width bytes, dense within a row; row y starts
//     `y * label_stride` bytes after it;
//   - `palette` holds `num_colours` colours, 1 to 256, each 3 bytes of which a canvas of one channel
//     uses the first;
//   - if a label of the map is not below `num_colours`, the largest is returned and nothing is
//     written; otherwise 0 is returned, and every sample of the canvas is written;
//   - no array overlaps another.
//
// The definition is edgecv/kernels/reference/drawing.py; the tests hold both to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/canvas.h"

namespace edgecv {

std::size_t ColorizeCpu(const std::uint8_t* labels, std::ptrdiff_t label_stride,
                        const std::uint8_t* palette, std::size_t num_colours,
                        const Canvas& canvas);

}  // namespace edgecv
