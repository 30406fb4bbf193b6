#include "roi_align/pyramid_levels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace edgecv {
namespace {

// `area` is at least 0.
std::int32_t LevelOf(float area, const PyramidLevels& levels) {
  const float lowest = static_cast<float>(levels.finest);
  const float highest = lowest + static_cast<float>(levels.num_levels - 1);
  // In double and rounded once: the logarithms of different libraries differ in the last bit.
  const double octaves = std::log2(static_cast<double>(std::sqrt(area) / levels.canonical_size));
  const float level = std::floor(static_cast<float>(levels.canonical_level) +
                                 static_cast<float>(octaves) + 1e-6f);
  return static_cast<std::int32_t>(std::clamp(level, lowest, highest) - lowest);
}

// The least area of a RoI on `level` or a coarser one. Positive floats are in the order of their
// bits, of which it takes the first that will do; infinity does.
float LeastAreaOf(std::int32_t level, const PyramidLevels& levels) {
  const auto area_of = [](std::uint32_t bits) {
    float area;
    std::memcpy(&area, &bits, sizeof area);
    return area;
  };
  std::uint32_t low = 0, high = 0x7f800000;
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (LevelOf(area_of(middle), levels) >= level) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return area_of(low);
}

}  // namespace

LeastAreas LeastAreasOf(const PyramidLevels& levels) {
  LeastAreas least = {};
  for (std::int32_t level = 1; level < levels.num_levels; ++level)
    least.areas[level] = LeastAreaOf(level, levels);
  return least;
}

void AssignPyramidLevels(const float* rois_xyxy, std::size_t count, const PyramidLevels& levels,
                         std::int32_t* level_ids) {
  for (std::size_t i = 0; i < count; ++i) {
    const float* box = rois_xyxy + 4 * i;
    const float area = (box[2] - box[0]) * (box[3] - box[1]);
    level_ids[i] = area >= 0.0f ? LevelOf(area, levels) : -1;
  }
}

}  // namespace edgecv
