// Where the small mask of an object lies in a frame, as runs of pixels: what paste_masks and
// draw_masks share, see the contract of paste_masks/paste_masks.h.
//
// Along a line of pixels a resized mask is piecewise linear between its few nodes, so that it
// crosses the threshold at most once between two of them. A line costs one vertical blend of the
// nodes and one division for each crossing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/simd.h"

namespace edgecv {

struct InstanceMasks {
  const float* probabilities;
  const float* boxes_xyxy;
  std::size_t count, side;
};

constexpr std::size_t kWord = 8;  // flags looked at together, as the bytes of one integer
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first flag is the lowest byte");

// Where a mask lies along one axis of the frame.
struct Extent {
  double origin = 0, nodes_per_pixel = 1;
  std::int64_t first = 0, last = 0;  // pixels of the frame that are in the box; the last excluded

  // The centre of a pixel in units of nodes, whose centres are the whole numbers.
  double Node(std::int64_t pixel) const {
    return (static_cast<double>(pixel) - origin + 0.5) * nodes_per_pixel - 0.5;
  }
  // The pixel, not whole, whose centre lies at `node`.
  double Pixel(double node) const { return (node + 0.5) / nodes_per_pixel - 0.5 + origin; }

  bool IsEmpty() const { return first >= last; }

  // `pixel` as a whole number between the two, which are frame pixels.
  static std::int64_t Clip(double pixel, std::int64_t low, std::int64_t high) {
    const double clipped =
        std::min(std::max(pixel, static_cast<double>(low)), static_cast<double>(high));
    return static_cast<std::int64_t>(clipped);
  }
};

// The extent of a box [low, high] whose mask has `side` nodes without its border.
inline Extent EnlargedExtent(float low, float high, std::size_t side, std::size_t frame_side) {
  constexpr float kFarthest = 1099511627776.0f;  // 2^40 pixels
  const auto nodes = static_cast<double>(side + 2);
  const auto growth = static_cast<float>(nodes / static_cast<double>(side));
  const float half = (high - low) * 0.5f * growth, centre = (high + low) * 0.5f;
  const float corners[2] = {centre - half, centre + half};
  if (corners[0] != corners[0] || corners[1] != corners[1]) return {};
  std::int64_t pixels[2];
  for (int i = 0; i < 2; ++i)
    pixels[i] = static_cast<std::int64_t>(std::clamp(corners[i], -kFarthest, kFarthest));
  Extent extent;
  const std::int64_t size = std::max<std::int64_t>(pixels[1] - pixels[0] + 1, 1);
  extent.origin = static_cast<double>(pixels[0]);
  extent.nodes_per_pixel = nodes / static_cast<double>(size);
  extent.first = std::max<std::int64_t>(pixels[0], 0);
  extent.last = std::min(pixels[1] + 1, static_cast<std::int64_t>(frame_side));
  return extent;
}

// A mask with its border, the nodes of each line padded to whole words, and room for one line.
class BorderedMask {
 public:
  explicit BorderedMask(std::size_t side)
      : side_(side),
        num_nodes_(side + 2),
        stride_((num_nodes_ + kWord) / kWord * kWord),  // at least one more than nodes
        values_(num_nodes_ * stride_),
        line_(stride_),
        starts_(num_nodes_ + 1),
        is_above_(stride_ + 1),
        changes_(stride_) {}

  // Lines of `values_` are rows of the mask, or its columns.
  void Load(const float* mask, bool lines_are_columns) {
    for (std::size_t row = 0; row < side_; ++row) {
      for (std::size_t column = 0; column < side_; ++column) {
        const std::size_t line = lines_are_columns ? column : row;
        const std::size_t node = lines_are_columns ? row : column;
        values_[(line + 1) * stride_ + node + 1] = mask[row * side_ + column];
      }
    }
  }

  // Calls `add(begin, end)` for the runs above the threshold, in order; some may be empty. Pixel
  // `along` of line `across` is number across * line_length + along.
  template <typename Add>
  void ForEachRun(const Extent& across, const Extent& along, std::int64_t line_length,
                  float threshold, Add add) {
    starts_[0] = along.first;
    starts_[num_nodes_] = along.last;
    for (std::size_t i = 1; i < num_nodes_; ++i) {
      const double start = std::ceil(along.Pixel(static_cast<double>(i)));
      starts_[i] = Extent::Clip(start, along.first, along.last);
    }
    for (std::int64_t k = across.first; k < across.last; ++k) {
      const double position = std::max(across.Node(k), 0.0);
      const std::size_t low = std::min(static_cast<std::size_t>(position), num_nodes_ - 1);
      const std::size_t high = std::min(low + 1, num_nodes_ - 1);
      const auto weight = static_cast<float>(position - static_cast<double>(low));
      Dispatch<BlendLine>(values_.data() + low * stride_, values_.data() + high * stride_, weight,
                          threshold, stride_, line_.data(), is_above_.data(), changes_.data());
      std::int64_t begin = along.first;
      bool is_above = is_above_[0] != 0;
      for (std::size_t word = 0; word < stride_; word += kWord) {
        std::uint64_t changes;
        std::memcpy(&changes, changes_.data() + word, sizeof changes);
        for (; changes != 0; changes &= changes - 1) {
          const std::size_t node = word + static_cast<std::size_t>(__builtin_ctzll(changes)) / 8;
          if (node + 1 >= num_nodes_) break;  // between the last node and the padding
          const std::int64_t end = Crossing(along, node, threshold, is_above);
          if (is_above) add(k * line_length + begin, k * line_length + end);
          begin = end;
          is_above = !is_above;
        }
      }
      if (is_above) add(k * line_length + begin, k * line_length + along.last);
    }
  }

 private:
  // The nodes of a line between two lines, which of them are above the threshold, and after which
  // of them that changes; flags are 0 or 1.
  EDGECV_INLINE
  static void BlendLine(const float* __restrict__ low, const float* __restrict__ high,
                        float weight, float threshold, std::size_t count,
                        float* __restrict__ line, std::uint8_t* __restrict__ is_above,
                        std::uint8_t* __restrict__ changes) {
    const float rest = 1.0f - weight;
    for (std::size_t i = 0; i < count; ++i) {
      const float value = low[i] * rest + high[i] * weight;
      line[i] = value;
      is_above[i] = value > threshold ? 1 : 0;
    }
    for (std::size_t i = 0; i < count; ++i)
      changes[i] = static_cast<std::uint8_t>(is_above[i] ^ is_above[i + 1]);
  }

  // The first pixel past the crossing between `node` and the next. From or to a NaN, the pixels
  // between belong to the NaN.
  std::int64_t Crossing(const Extent& along, std::size_t node, float threshold,
                        bool is_falling) const {
    const double value = line_[node], next = line_[node + 1];
    const double part = (static_cast<double>(threshold) - value) / (next - value);
    if (part != part) return starts_[is_falling ? node : node + 1];
    const double pixel = along.Pixel(static_cast<double>(node) + part);
    // At the crossing itself the value equals the threshold: below, not above.
    const double first = is_falling ? std::ceil(pixel) : std::floor(pixel) + 1;
    return Extent::Clip(first, starts_[node], starts_[node + 1]);
  }

  const std::size_t side_, num_nodes_, stride_;
  std::vector<float> values_;  // num_nodes_ lines
  std::vector<float> line_;
  std::vector<std::int64_t> starts_;  // the first pixel at or past each node
  std::vector<std::uint8_t> is_above_, changes_;
};

struct Placed {
  Extent rows, columns;
  bool IsEmpty() const { return rows.IsEmpty() || columns.IsEmpty(); }
};

inline Placed PlaceMask(const InstanceMasks& masks, std::size_t index, std::size_t height,
                        std::size_t width) {
  const float* box = masks.boxes_xyxy + 4 * index;
  return {EnlargedExtent(box[1], box[3], masks.side, height),
          EnlargedExtent(box[0], box[2], masks.side, width)};
}

}  // namespace edgecv
