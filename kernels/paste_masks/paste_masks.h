// The small masks of an instance segmentation network, pasted into frames of their own: as pixels,
// or as COCO run lengths without a frame.
//
// Contract of every implementation in this folder:
//   - `probabilities` holds `count` masks of `side x side` floats, `boxes_xyxy` a box for each, in
//     frame pixels; `side` is at least 1;
//   - a mask is surrounded by a border of one zero; its box is enlarged alike about its centre, in
//     float, and its corners truncated to whole pixels, of which the last belongs to the box;
//   - a pixel of the box and the frame is 1 if the bordered mask, resized bilinearly to the pixels
//     of the box with half-pixel centres, is greater than `threshold` there, else 0; where the two
//     differ by less than 1e-5, either. `threshold` is in [0, 1]. Pixels outside of the box are 0;
//   - a box that is inverted, outside of the frame or has a NaN coordinate marks no pixel; corners
//     count as at most 2^40 pixels away. A NaN probability is greater than nothing, and so is what
//     is interpolated from it;
//   - PasteMasksCpu writes `count` planes of `height x width` bytes, every byte unless the caller
//     says that all of them are 0 already; height * width is below 2^62;
//   - PasteMasksRleCpu returns the `counts` of compressed COCO run lengths, see rle.h;
//   - may throw std::bad_alloc.
//
// The definition is edgecv/kernels/reference/segmentation.py; the tests hold both to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/mask_runs.h"

namespace edgecv {

void PasteMasksCpu(const InstanceMasks& masks, std::size_t height, std::size_t width,
                   float threshold, bool is_zero, std::uint8_t* out);

std::vector<std::string> PasteMasksRleCpu(const InstanceMasks& masks, std::size_t height,
                                          std::size_t width, float threshold);

}  // namespace edgecv
