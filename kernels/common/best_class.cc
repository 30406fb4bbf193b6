#include "common/best_class.h"

#include "common/simd.h"

namespace edgecv {
namespace {

// Classes outside, anchors inside: with channels first, which is what detectors export, the inner
// loop reads whole vectors and carries no dependency.
EDGECV_INLINE
void Search(HeadView classes, std::size_t num_classes, std::size_t count, float floor,
            float* __restrict__ best_value, std::int32_t* __restrict__ best_class) {
  for (std::size_t i = 0; i < count; ++i) best_value[i] = floor, best_class[i] = -1;
  for (std::size_t c = 0; c < num_classes; ++c) {
    const float* values = classes.data + c * classes.channel_stride;
    const auto id = static_cast<std::int32_t>(c);
    if (classes.anchor_stride == 1) {
      for (std::size_t i = 0; i < count; ++i) {
        const bool better = values[i] > best_value[i];
        best_value[i] = better ? values[i] : best_value[i];
        best_class[i] = better ? id : best_class[i];
      }
    } else {
      for (std::size_t i = 0; i < count; ++i) {
        const float value = values[i * classes.anchor_stride];
        const bool better = value > best_value[i];
        best_value[i] = better ? value : best_value[i];
        best_class[i] = better ? id : best_class[i];
      }
    }
  }
}

}  // namespace

void BestClass(HeadView classes, std::size_t num_classes, std::size_t count, float floor,
               float* best_value, std::int32_t* best_class) {
  Dispatch<Search>(classes, num_classes, count, floor, best_value, best_class);
}

}  // namespace edgecv
