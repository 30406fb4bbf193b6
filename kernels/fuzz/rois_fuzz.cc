// Fuzzes roi_align, roi_pool and the choice of pyramid levels.

#include <vector>

#include "fuzz/fuzz_input.h"
#include "roi_align/pyramid_levels.h"
#include "roi_align/roi_align.h"
#include "roi_pool/roi_pool.h"

namespace edgecv::fuzz {
namespace {

void Run(FuzzInput input) {
  const std::size_t num_levels = input.Size(1, 3), batch = input.Size(0, 2);
  const std::size_t channels = input.MostlySmall(0, 9, 40), count = input.MostlySmall(0, 3, 12);
  const BinGrid grid{input.MostlySmall(1, 4, 9), input.MostlySmall(1, 4, 9)};
  std::vector<std::vector<float>> maps;
  std::vector<FeatureLevel> levels;
  for (std::size_t i = 0; i < num_levels; ++i) {
    const std::size_t height = input.MostlySmall(1, 6, 20), width = input.MostlySmall(1, 20, 40);
    maps.push_back(input.Floats(batch * channels * height * width));
    levels.push_back({maps.back().data(), height, width, input.Scale()});
  }
  const auto xyxy = input.Floats(4 * count);
  auto batch_ids = input.Integers<std::int32_t>(count, -1, 2);
  auto level_ids = input.Integers<std::int32_t>(count, -1, 3);
  if (input.Bool()) {
    const PyramidLevels pyramid{input.In<std::int32_t>(0, 5),
                                static_cast<std::int32_t>(num_levels), input.Scale(),
                                input.In<std::int32_t>(-3, 9)};
    AssignPyramidLevels(xyxy.data(), count, pyramid, level_ids.data());
    for (const std::int32_t level : level_ids)
      Check(level >= -1 && level < pyramid.num_levels, "levels are of the pyramid, or -1");
  }
  const Features features{levels.data(), num_levels, batch, channels};
  const Rois rois{xyxy.data(), input.Bool() ? batch_ids.data() : nullptr,
                  input.Bool() ? level_ids.data() : nullptr, count};
  std::vector<float> out(count * channels * grid.height * grid.width);
  if (input.Bool()) {
    RoiPoolCpu(features, rois, grid, out.data());
  } else {
    const std::size_t ratio = input.MostlySmall(0, 4, kMaxSamplingRatio);
    RoiAlignCpu(features, rois, grid, {ratio, input.Bool()}, out.data());
  }
}

}  // namespace
}  // namespace edgecv::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  edgecv::fuzz::Run({bytes, size});
  return 0;
}
