// draw_boxes, draw_masks, colorize and blend_labels: what they have in common is the canvas, a sequence of the
// planes of a frame whose shapes tell the format.

#include <nanobind/stl/vector.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bindings/bindings.h"
#include "blend_labels/blend_labels.h"
#include "colorize/colorize.h"
#include "common/canvas.h"
#include "draw_boxes/draw_boxes.h"
#include "draw_masks/draw_masks.h"

namespace edgecv::bindings {
namespace {

using Plane = nb::ndarray<std::uint8_t, nb::device::cpu>;
using Labels = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::device::cpu>;
using Colours = nb::ndarray<const std::uint8_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using ColourPairs =
    nb::ndarray<const std::uint8_t, nb::shape<-1, 2, 3>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<const std::uint8_t, nb::shape<256>, nb::c_contig, nb::device::cpu>;
using MaskGrids = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Masks = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The stride of an axis of length 1 means nothing.
template <typename Array>
bool HasDenseRows(const Array& array) {
  std::int64_t expected = 1;
  for (std::size_t axis = array.ndim(); axis-- > 1;) {
    if (array.shape(axis) != 1 && array.stride(axis) != expected) return false;
    expected *= static_cast<std::int64_t>(array.shape(axis));
  }
  return true;
}

// (H, W, 3), (H, W), (H, W) with two of (H/2, W/2) or with one of (H/2, W/2, 2), halves rounded up.
Canvas CanvasOf(const std::vector<Plane>& planes) {
  static constexpr const char* kShapes = "drawing: `planes` must be the planes of one frame.";
  static constexpr std::array<std::size_t, 3> kHalfChannels{0, 2, 1};  // by planes less 1
  Require(!planes.empty() && planes.size() <= 3, kShapes);
  Require(planes[0].ndim() == 2 ||
              (planes[0].ndim() == 3 && planes[0].shape(2) == 3 && planes.size() == 1),
          kShapes);
  const std::size_t height = planes[0].shape(0), width = planes[0].shape(1);
  Require(height > 0 && width > 0, kShapes);
  Canvas canvas{static_cast<std::ptrdiff_t>(height), static_cast<std::ptrdiff_t>(width),
                planes.size(), {}};
  for (std::size_t p = 0; p < planes.size(); ++p) {
    const Plane& plane = planes[p];
    const std::size_t channels = plane.ndim() == 3 ? plane.shape(2) : 1;
    if (p > 0) {
      Require((plane.ndim() == 2 || plane.ndim() == 3) &&
                  channels == kHalfChannels[planes.size() - 1] &&
                  plane.shape(0) == (height + 1) / 2 && plane.shape(1) == (width + 1) / 2,
              kShapes);
    }
    Require(HasDenseRows(plane), "drawing: `planes` must hold each row densely.");
    canvas.planes[p] = {plane.data(), plane.stride(0), channels};
  }
  return canvas;
}

void RequireLabels(const Labels& labels, const Canvas& canvas, const Colours& palette) {
  Require(static_cast<std::ptrdiff_t>(labels.shape(0)) == canvas.height &&
              static_cast<std::ptrdiff_t>(labels.shape(1)) == canvas.width,
          "drawing: `labels` must have a label for each pixel.");
  Require(HasDenseRows(labels), "drawing: `labels` must hold each row densely.");
  Require(palette.shape(0) >= 1 && palette.shape(0) <= 256,
          "drawing: `palette` must hold 1 to 256 colours.");
}

// The words' sizes decide what is read: they must account for all of the masks, and no more.
void RequireWords(const Counts& num_words, const Counts& word_widths, const Masks& masks,
                  std::size_t mask_height) {
  static constexpr const char* kWords = "draw_boxes_cpu: the words must account for all masks.";
  std::size_t words = 0, width = 0;
  for (std::size_t i = 0; i < num_words.shape(0); ++i) {
    Require(num_words.data()[i] >= 0, kWords);
    words += static_cast<std::size_t>(num_words.data()[i]);
  }
  for (std::size_t w = 0; w < word_widths.shape(0); ++w) {
    Require(word_widths.data()[w] >= 0, kWords);
    width += static_cast<std::size_t>(word_widths.data()[w]);
  }
  Require(words == word_widths.shape(0), kWords);
  Require(width == 0 ? masks.shape(0) == 0
                     : masks.shape(0) % width == 0 && masks.shape(0) / width == mask_height,
          kWords);
}

}  // namespace

void BindDrawing(nb::module_& m) {
  m.def(
      "draw_boxes_cpu",
      [](const std::vector<Plane>& planes, Boxes boxes_xyxy, ColourPairs colours,
         std::uint32_t line_width, Counts num_words, Counts word_widths, Masks masks,
         std::uint32_t mask_height) {
        const Canvas canvas = CanvasOf(planes);
        const std::size_t n = boxes_xyxy.shape(0);
        Require(colours.shape(0) == n && num_words.shape(0) == n,
                "draw_boxes_cpu: `colours` and `num_words` must have a row per box.");
        Require(line_width >= 1, "draw_boxes_cpu: `line_width` must be at least 1.");
        RequireWords(num_words, word_widths, masks, mask_height);
        const BoxLabels labels{num_words.data(), word_widths.data(), masks.data(), mask_height};
        const WithoutGil nogil;
        DrawBoxesCpu(canvas, boxes_xyxy.data(), colours.data(), n, line_width, labels);
      },
      "planes"_a.noconvert(), "boxes_xyxy"_a.noconvert(), "colours"_a.noconvert(), "line_width"_a,
      "num_words"_a.noconvert(), "word_widths"_a.noconvert(), "masks"_a.noconvert(),
      "mask_height"_a);
  m.def(
      "draw_masks_cpu",
      [](const std::vector<Plane>& planes, MaskGrids masks, Boxes boxes_xyxy, Colours colours,
         float threshold, std::uint32_t alpha_256) {
        const Canvas canvas = CanvasOf(planes);
        const std::size_t n = masks.shape(0), side = masks.shape(1);
        Require(side >= 1 && masks.shape(2) == side, "draw_masks_cpu: `masks` must be squares.");
        Require(boxes_xyxy.shape(0) == n && colours.shape(0) == n,
                "draw_masks_cpu: `boxes_xyxy` and `colours` must have a row per mask.");
        Require(alpha_256 <= 256, "draw_masks_cpu: `alpha_256` must be at most 256.");
        const WithoutGil nogil;
        DrawMasksCpu(canvas, {masks.data(), boxes_xyxy.data(), n, side}, colours.data(), threshold,
                     alpha_256);
      },
      "planes"_a.noconvert(), "masks"_a.noconvert(), "boxes_xyxy"_a.noconvert(),
      "colours"_a.noconvert(), "threshold"_a, "alpha_256"_a);
  m.def(
      "colorize_cpu",
      [](Labels labels, Colours palette, const std::vector<Plane>& planes) {
        const Canvas canvas = CanvasOf(planes);
        RequireLabels(labels, canvas, palette);
        const WithoutGil nogil;
        return ColorizeCpu(labels.data(), labels.stride(0), palette.data(), palette.shape(0),
                           canvas);
      },
      "labels"_a.noconvert(), "palette"_a.noconvert(), "planes"_a.noconvert());
  m.def(
      "blend_labels_cpu",
      [](const std::vector<Plane>& planes, Labels labels, Colours palette, Flags is_ignored,
         std::uint32_t alpha_256) {
        const Canvas canvas = CanvasOf(planes);
        RequireLabels(labels, canvas, palette);
        Require(alpha_256 <= 256, "blend_labels_cpu: `alpha_256` must be at most 256.");
        const WithoutGil nogil;
        return BlendLabelsCpu(labels.data(), labels.stride(0), palette.data(), palette.shape(0),
                              is_ignored.data(), alpha_256, canvas);
      },
      "planes"_a.noconvert(), "labels"_a.noconvert(), "palette"_a.noconvert(),
      "is_ignored"_a.noconvert(), "alpha_256"_a);
}

}  // namespace edgecv::bindings
