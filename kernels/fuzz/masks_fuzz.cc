// Fuzzes resize_argmax and paste_masks.

#include <vector>

#include "fuzz/fuzz_input.h"
#include "paste_masks/paste_masks.h"
#include "resize_argmax/resize_argmax.h"

namespace edgecv::fuzz {
namespace {

void RunResizeArgmax(FuzzInput& input) {
  const std::size_t num_classes = input.MostlySmall(1, 6, 256);
  const std::size_t height = input.MostlySmall(1, 6, 20), width = input.MostlySmall(1, 20, 40);
  const std::size_t out_height = input.MostlySmall(1, 8, 70);
  const std::size_t out_width = input.MostlySmall(1, 70, 150);
  const auto values = input.Floats(num_classes * height * width);
  const auto axis = [&input] {
    const float scale = input.Bool() ? input.Fraction() : input.Scale();
    return AxisMap{scale, static_cast<float>(input.In(-4000, 4000)) / 8.0f};
  };
  const AxisMap map_y = axis(), map_x = axis();
  std::vector<std::uint8_t> labels(out_height * out_width, 255);
  std::vector<float> confidence(input.Bool() ? labels.size() : 0);
  ResizeArgmaxCpu({values.data(), num_classes, height, width}, map_y, map_x, out_height, out_width,
                  labels.data(), confidence.empty() ? nullptr : confidence.data());
  for (const std::size_t label : labels) Check(label < num_classes, "labels are classes");
}

void RunPasteMasks(FuzzInput& input) {
  const std::size_t count = input.Size(0, 3), side = input.MostlySmall(1, 9, 30);
  const std::size_t height = input.MostlySmall(1, 16, 80);
  const std::size_t width = input.MostlySmall(1, 70, 120);
  const auto probabilities = input.Floats(count * side * side), boxes = input.Floats(4 * count);
  const float threshold = input.Fraction();
  const InstanceMasks masks{probabilities.data(), boxes.data(), count, side};
  if (input.Bool()) {
    const bool is_zero = input.Bool();
    std::vector<std::uint8_t> out(count * height * width, is_zero ? 0 : 255);
    PasteMasksCpu(masks, height, width, threshold, is_zero, out.data());
    for (const std::uint8_t pixel : out) Check(pixel <= 1, "pixels are 0 or 1");
  } else {
    const std::size_t large = input.MostlySmall(1, 1, 100);  // nothing of that size is stored
    Check(PasteMasksRleCpu(masks, height * large, width * large, threshold).size() == count,
          "there are run lengths for every mask");
  }
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::FuzzInput input(bytes, size);
  input.Bool() ? edgecv::fuzz::RunResizeArgmax(input) : edgecv::fuzz::RunPasteMasks(input);
  return 0;
}
