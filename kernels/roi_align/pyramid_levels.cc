#include "roi_align/pyramid_levels.h"

#include <algorithm>
#include <cmath>

namespace edgecv {

void AssignPyramidLevels(const float* rois_xyxy, std::size_t count, const PyramidLevels& levels,
                         std::int32_t* level_ids) {
  const float lowest = static_cast<float>(levels.finest);
  const float highest = lowest + static_cast<float>(levels.num_levels - 1);
  for (std::size_t i = 0; i < count; ++i) {
    const float* box = rois_xyxy + 4 * i;
    const float area = (box[2] - box[0]) * (box[3] - box[1]);
    if (!(area >= 0.0f)) {
      level_ids[i] = -1;
      continue;
    }
    // In double and rounded once: the logarithms of different libraries differ in the last bit.
    const double octaves = std::log2(static_cast<double>(std::sqrt(area) / levels.canonical_size));
    const float level = std::floor(static_cast<float>(levels.canonical_level) +
                                   static_cast<float>(octaves) + 1e-6f);
    level_ids[i] = static_cast<std::int32_t>(std::clamp(level, lowest, highest) - lowest);
  }
}

}  // namespace edgecv
