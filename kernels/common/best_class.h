// The best class of each anchor of a detection head.
//
// Contract: `classes` shows the class values of `count` anchors and `num_classes` classes.
// `best_class[i]` receives the class whose value is the largest of anchor i and greater than
// `floor`, the lowest class among equals, and `best_value[i]` that value; if no value is greater
// than `floor`, `best_class[i]` is -1 and `best_value[i]` is `floor`. NaN is greater than nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgecv {

// A head seen as channel x anchor, whichever of the two is contiguous in memory.
struct HeadView {
  const float* data;
  std::size_t channel_stride, anchor_stride;  // elements

  float at(std::size_t channel, std::size_t anchor) const {
    return data[channel * channel_stride + anchor * anchor_stride];
  }
  HeadView From(std::size_t channel, std::size_t anchor) const {
    return {data + channel * channel_stride + anchor * anchor_stride, channel_stride,
            anchor_stride};
  }
};

void BestClass(HeadView classes, std::size_t num_classes, std::size_t count, float floor,
               float* best_value, std::int32_t* best_class);

}  // namespace edgecv
