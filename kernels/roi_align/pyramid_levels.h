// The level of a feature pyramid that suits each region of interest.
//
// Contract: `level_ids[i]` receives the level of RoI i, from 0 for the finest, below `num_levels`:
// Lin et al., "Feature Pyramid Networks", 2017, equation 1, floor(k0 + log2(sqrt(area) / s0)), in
// float32, with 1e-6 added so that a box of whole octaves is not rounded below its level, clamped
// to the pyramid. It receives -1 if the area is negative or not a number.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgecv {

constexpr std::int32_t kMaxPyramidLevels = 8;  // of one launch on a GPU

struct PyramidLevels {
  std::int32_t finest;           // the level of stride 2**finest
  std::int32_t num_levels;       // each of twice the stride of the one before, at least 1
  float canonical_size;          // s0, pixels
  std::int32_t canonical_level;  // k0, the level of a box with sides of s0
};

// The same rule as areas: a RoI of `areas[k]` square pixels or more is on level k or a coarser
// one. Areas are compared on a GPU, where a logarithm in double costs more than the rest of a RoI.
struct LeastAreas {
  float areas[kMaxPyramidLevels];  // rising, areas[0] is 0
};

// `levels.num_levels` is at most kMaxPyramidLevels.
LeastAreas LeastAreasOf(const PyramidLevels& levels);

void AssignPyramidLevels(const float* rois_xyxy, std::size_t count, const PyramidLevels& levels,
                         std::int32_t* level_ids);

}  // namespace edgecv
