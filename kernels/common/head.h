// A detection head, whichever way it lies in memory, and the boxes that are made from it.
#pragma once

#include <cstddef>

namespace edgecv {

struct Box {
  float x1, y1, x2, y2;  // pixels of the network's input
};

// A head seen as channel x anchor. One of the two strides is 1: the anchors of a channel follow each
// other in memory ("channels first"), or the channels of an anchor do.
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
  bool channels_first() const { return anchor_stride == 1; }
};

}  // namespace edgecv
