// From the class logits of a segmentation network to a label for every pixel of the frame, without
// the tensor of resized logits.
//
// Contract of every implementation in this folder:
//   - `logits` are `num_classes` planes of `height x width` floats, one after the other; there are
//     1 to 256 classes;
//   - the centre of output pixel k lies at (k + 0.5) * scale + bias of the logits, whose centres
//     are the whole numbers, computed in float and clamped to the first and last centre;
//   - `labels[y * out_width + x]` receives the class with the largest logit, interpolated between
//     the four neighbours floor(position) and floor(position) + 1, the latter at most the last;
//     equal values go to the lower class;
//   - a class with a NaN among the four is smaller than all numbers there; where every class is
//     NaN or -infinity the label is 0. Which class wins next to a +infinity is left open;
//   - `confidence`, unless null, receives the probability of that label under a softmax over the
//     interpolated logits, within 1e-5 for logits of magnitude up to 30; NaN where no class has a
//     finite value;
//   - every side is at least 1 and at most kMaxSide; `scale` and `bias` are finite, `scale` >= 0;
//   - the outputs overlap neither each other nor the logits; 4-byte alignment is enough.
//
// The definition is edgecv/kernels/reference/segmentation.py; the tests hold both to it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgecv {

constexpr std::size_t kMaxSide = std::size_t{1} << 22;  // a float holds every pixel's centre

struct Logits {
  const float* values;
  std::size_t num_classes, height, width;
};

struct AxisMap {
  float scale, bias;
};

void ResizeArgmaxCpu(const Logits& logits, AxisMap map_y, AxisMap map_x, std::size_t out_height,
                     std::size_t out_width, std::uint8_t* labels, float* confidence);

}  // namespace edgecv
