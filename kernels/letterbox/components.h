// Where the samples of a pixel lie: every format as a table of components.
//
// Sample (x, y) of a component is byte `(x >> shift_x) * step + offset` of row `y >> shift_y` of its
// plane. A mosaic has no components of its own; demosaicing gives it three planar ones.
#pragma once

#include <array>
#include <cstddef>

#include "letterbox/letterbox.h"

namespace edgecv {

struct Component {
  std::size_t plane;
  int shift_x, shift_y;
  std::ptrdiff_t step, offset;  // bytes
};

enum class Kind { kRgb, kYuv, kGray, kBayer };

struct FormatLayout {
  Kind kind;
  std::size_t num_planes;
  std::array<Component, 3> components;  // R G B, or Y U V, or gray alone
};

inline constexpr std::array<Component, 3> kPlanarComponents{
    {{0, 0, 0, 1, 0}, {1, 0, 0, 1, 0}, {2, 0, 0, 1, 0}}};

constexpr FormatLayout LayoutOf(PixelFormat format) {
  switch (format) {
    case PixelFormat::kBgr24: return {Kind::kRgb, 1, {{{0, 0, 0, 3, 2}, {0, 0, 0, 3, 1}, {0, 0, 0, 3, 0}}}};
    case PixelFormat::kRgb24: return {Kind::kRgb, 1, {{{0, 0, 0, 3, 0}, {0, 0, 0, 3, 1}, {0, 0, 0, 3, 2}}}};
    case PixelFormat::kGray8: return {Kind::kGray, 1, {{{0, 0, 0, 1, 0}}}};
    case PixelFormat::kYuv420p: return {Kind::kYuv, 3, {{{0, 0, 0, 1, 0}, {1, 1, 1, 1, 0}, {2, 1, 1, 1, 0}}}};
    case PixelFormat::kNv12: return {Kind::kYuv, 2, {{{0, 0, 0, 1, 0}, {1, 1, 1, 2, 0}, {1, 1, 1, 2, 1}}}};
    case PixelFormat::kYuyv422: return {Kind::kYuv, 1, {{{0, 0, 0, 2, 0}, {0, 1, 0, 4, 1}, {0, 1, 0, 4, 3}}}};
    default: return {Kind::kBayer, 1, kPlanarComponents};
  }
}

}  // namespace edgecv
