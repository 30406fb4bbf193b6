// The masks of objects, blended over a frame: each in its colour.
//
// Contract of every implementation in this folder, beside that of common/canvas.h:
//   - which pixels mask i covers is what paste_masks/paste_masks.h says of `masks` and `threshold`;
//   - `colours` holds 3 bytes for each mask, of which a canvas of one channel uses the first;
//     `alpha_256` is 0 to 256;
//   - a pixel that a mask covers becomes (pixel * (256 - alpha_256) + colour * alpha_256) / 256,
//     rounded to the nearest, halves up;
//   - the first mask is on top: masks are blended from the last to the first;
//   - a count of 0 is valid and touches no memory; no array overlaps another.
//
// The definition is edgecv/kernels/reference/drawing.py; the tests hold both to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/canvas.h"
#include "common/mask_runs.h"

namespace edgecv {

// Throws std::bad_alloc only.
void DrawMasksCpu(const Canvas& canvas, const InstanceMasks& masks, const std::uint8_t* colours,
                  float threshold, std::uint32_t alpha_256);

}  // namespace edgecv
