// One row of a Bayer mosaic completed to three colours.
//
// Contract: `rgb[0..2]` receive the red, green and blue bytes of pixels [first, first + count) of
// row y, by bilinear demosaicing: a colour that a pixel lacks is the rounded mean of its 2 or 4
// nearest neighbours that have it. Rows and columns at the frame's edge repeat those next to them.
// The frame has at least 3 rows and 3 columns, and one of the wanted columns is not at its edge.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "letterbox/letterbox.h"

namespace edgecv {

void DemosaicRow(const Frame& frame, std::ptrdiff_t y, std::ptrdiff_t first, std::ptrdiff_t count,
                 const std::array<std::uint8_t*, 3>& rgb);

}  // namespace edgecv
