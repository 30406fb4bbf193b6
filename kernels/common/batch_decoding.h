// What decoders on a GPU take and give: a batch of heads, and detections in rows of a fixed number.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/suppression.h"

namespace edgecv {

// The heads of a batch in device memory, dense: (images, channels, anchors) if `channels_first`, else
// (images, anchors, channels), of floats or half floats.
struct BatchHead {
  const void* data;
  bool is_half, channels_first;
  std::size_t num_images, num_channels, num_anchors;

  std::size_t ImageStride() const { return num_channels * num_anchors; }
  std::size_t ChannelStride() const { return channels_first ? num_anchors : 1; }
  std::size_t AnchorStride() const { return channels_first ? 1 : num_channels; }
};

// How boxes get from the network's input to the frame, x and y alike: (x - offset_x) / scale_x. In
// device memory at `address`, if that is not null: scale_x, scale_y, offset_x, offset_y per image.
struct FrameMapping {
  const float* address;
  float scale_x, scale_y, offset_x, offset_y;
};

struct BatchDecoding {
  Threshold score_threshold, iou_threshold;
  std::size_t max_detections;
  bool class_agnostic;
  FrameMapping mapping;
};

// `max_detections` rows per image: detections, best first, then boxes and scores of 0 and classes of
// -1. Every element is written.
struct BatchDetections {
  std::int32_t* num_detections;  // per image
  float* boxes_xyxy;             // pixels of the frame
  float* scores;
  std::int32_t* class_ids;
};

}  // namespace edgecv
