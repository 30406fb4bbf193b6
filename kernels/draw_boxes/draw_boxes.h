// Outlines of boxes and plates of text, drawn into a frame.
//
// Contract of every implementation in this folder, beside that of common/canvas.h:
//   - `boxes_xyxy` holds `n` boxes x1, y1, x2, y2 in pixels; a coordinate is rounded to the nearest
//     whole pixel, halves to even, and clipped to the frame. A box that is then empty, that was
//     inverted or that has a NaN is not drawn, nor is its label;
//   - an outline is `line_width` >= 1 pixels wide, inside the clipped box;
//   - `colours` holds, for each box, the colour of outline and plate, then that of the text, each 3
//     bytes of which a canvas of one channel uses the first;
//   - the first box is on top: boxes are drawn from the last to the first, and after them the
//     labels from the last to the first, so that no outline crosses a text;
//   - box i has `num_words[i]` words, one after the other in `word_widths` and `masks`; a word is
//     `labels.height` rows of `word_widths[w]` bytes, the text's coverage of the plate, 0 to 255.
//     A pixel of the plate becomes the mixture (plate * (255 - c) + text * c) / 255, rounded to
//     the nearest;
//   - the words of a label stand side by side. Their plate begins at the box's left edge, or so far
//     to the left of it that it ends with the frame; it ends with the lowest row of the outline's
//     upper edge, or, where there is no room for that, begins with the highest; it stays within
//     the frame, and what is larger than the frame loses its right and lower part;
//   - n == 0 is valid and touches no memory; no array overlaps another.
//
// The definition is edgecv/kernels/reference/drawing.py; the tests hold both to it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/canvas.h"

namespace edgecv {

struct BoxLabels {
  const std::int32_t* num_words;    // of each box, at least 0
  const std::int32_t* word_widths;  // of each word, at least 0
  const std::uint8_t* masks;
  std::ptrdiff_t height;
};

// Throws std::bad_alloc only.
void DrawBoxesCpu(const Canvas& canvas, const float* boxes_xyxy, const std::uint8_t* colours,
                  std::size_t n, std::ptrdiff_t line_width, const BoxLabels& labels);

}  // namespace edgecv
