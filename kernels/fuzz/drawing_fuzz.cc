// Fuzzes draw_boxes, draw_masks, colorize and blend_labels on canvases of every format and stride.

#include <numeric>
#include <vector>

#include "blend_labels/blend_labels.h"
#include "colorize/colorize.h"
#include "draw_boxes/draw_boxes.h"
#include "draw_masks/draw_masks.h"
#include "fuzz/fuzz_input.h"

namespace edgecv::fuzz {
namespace {

void Run(FuzzInput input) {
  const std::size_t height = input.MostlySmall(1, 16, 60), width = input.MostlySmall(1, 70, 140);
  // The channels of each plane of gray, packed colour, nv12 and yuv420p.
  const std::vector<std::size_t> kFormats[] = {{1}, {3}, {1, 2}, {1, 1, 1}};
  const auto& channels = kFormats[input.Size(0, 3)];
  Canvas canvas{static_cast<std::ptrdiff_t>(height), static_cast<std::ptrdiff_t>(width),
                channels.size(), {}};
  std::vector<Rows> planes;
  for (std::size_t p = 0; p < channels.size(); ++p) {
    const std::size_t subsampling = p > 0 ? 2 : 1;
    planes.emplace_back(input, (height + subsampling - 1) / subsampling,
                        (width + subsampling - 1) / subsampling * channels[p]);
    canvas.planes[p] = {planes.back().first, planes.back().stride, channels[p]};
  }
  const std::size_t choice = input.Size(0, 3);
  if (choice == 0) {
    const std::size_t n = input.Size(0, 12);
    const auto boxes = input.Floats(4 * n);
    const auto colours = input.Integers<std::uint8_t>(6 * n, 0, 255);
    const std::ptrdiff_t line_width = input.Offset(1, input.Bool() ? 6 : 4096);
    const auto num_words = input.Integers<std::int32_t>(n, 0, 3);
    const auto words =
        static_cast<std::size_t>(std::accumulate(num_words.begin(), num_words.end(), 0));
    const auto word_widths = input.Integers<std::int32_t>(words, 0, 40);
    const auto mask_width =
        static_cast<std::size_t>(std::accumulate(word_widths.begin(), word_widths.end(), 0));
    const std::size_t mask_height = input.Size(0, 20);
    const auto masks = input.Integers<std::uint8_t>(mask_width * mask_height, 0, 255);
    DrawBoxesCpu(canvas, boxes.data(), colours.data(), n, line_width,
                 {num_words.data(), word_widths.data(), masks.data(),
                  static_cast<std::ptrdiff_t>(mask_height)});
    return;
  }
  if (choice == 3) {
    const std::size_t n = input.Size(0, 4), side = input.MostlySmall(1, 9, 30);
    const auto masks = input.Floats(n * side * side), boxes = input.Floats(4 * n);
    const auto colours = input.Integers<std::uint8_t>(3 * n, 0, 255);
    const float threshold = input.Fraction();
    DrawMasksCpu(canvas, {masks.data(), boxes.data(), n, side}, colours.data(), threshold,
                 input.In<std::uint32_t>(0, 256));
    return;
  }
  const std::size_t num_colours = input.Size(1, 256);
  const auto palette = input.Integers<std::uint8_t>(3 * num_colours, 0, 255);
  Rows labels(input, height, width);
  if (input.Bool()) {  // otherwise a label without a colour is nearly certain
    for (std::uint8_t& label : labels.memory)
      label = static_cast<std::uint8_t>(label % num_colours);
  }
  if (choice == 1) {
    ColorizeCpu(labels.first, labels.stride, palette.data(), num_colours, canvas);
  } else {
    const auto is_ignored = input.Integers<std::uint8_t>(256, 0, 1);
    BlendLabelsCpu(labels.first, labels.stride, palette.data(), num_colours, is_ignored.data(),
                   input.In<std::uint32_t>(0, 256), canvas);
  }
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::Run({bytes, size});
  return 0;
}
