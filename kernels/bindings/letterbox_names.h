// The names by which Python says a letterbox's options, for every module that binds one.
#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

#include "letterbox/letterbox.h"

namespace edgecv::bindings {

template <typename Value, std::size_t N>
Value Named(std::string_view name,
            const std::array<std::pair<std::string_view, Value>, N>& values) {
  for (const auto& [known, value] : values)
    if (known == name) return value;
  throw nanobind::value_error("letterbox: an option has a name that is not known.");
}

inline PixelFormat FormatNamed(std::string_view name) {
  return Named<PixelFormat, 10>(name, {{{"bgr24", PixelFormat::kBgr24},
                                        {"rgb24", PixelFormat::kRgb24},
                                        {"gray8", PixelFormat::kGray8},
                                        {"yuv420p", PixelFormat::kYuv420p},
                                        {"nv12", PixelFormat::kNv12},
                                        {"yuyv422", PixelFormat::kYuyv422},
                                        {"bayer_rggb8", PixelFormat::kBayerRggb8},
                                        {"bayer_bggr8", PixelFormat::kBayerBggr8},
                                        {"bayer_grbg8", PixelFormat::kBayerGrbg8},
                                        {"bayer_gbrg8", PixelFormat::kBayerGbrg8}}});
}

inline ColourMatrix MatrixNamed(std::string_view name) {
  return Named<ColourMatrix, 2>(
      name, {{{"bt601", ColourMatrix::kBt601}, {"bt709", ColourMatrix::kBt709}}});
}

inline ColourRange RangeNamed(std::string_view name) {
  return Named<ColourRange, 2>(
      name, {{{"limited", ColourRange::kLimited}, {"full", ColourRange::kFull}}});
}

inline Colour ColourNamed(std::string_view name) {
  return Named<Colour, 3>(
      name, {{{"rgb", Colour::kRgb}, {"bgr", Colour::kBgr}, {"gray", Colour::kGray}}});
}

inline Interpolation InterpolationNamed(std::string_view name) {
  return Named<Interpolation, 2>(
      name, {{{"bilinear", Interpolation::kBilinear}, {"area", Interpolation::kArea}}});
}

inline ElementType TypeNamed(std::string_view name) {
  return Named<ElementType, 3>(name, {{{"float32", ElementType::kFloat32},
                                       {"float16", ElementType::kFloat16},
                                       {"uint8", ElementType::kUint8}}});
}

inline bool IsChannelsLast(std::string_view layout) {
  return Named<bool, 2>(layout, {{{"chw", false}, {"hwc", true}}});
}

}  // namespace edgecv::bindings
