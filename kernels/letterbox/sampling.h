// Where an output pixel samples the frame along one axis, worked out by the thread that needs it:
// the positions of taps.h on every device.
//
// Positions are whole numbers of 2^-32 pixels: exact where a ratio is a multiple of that, and off
// by at most 2^-33 of a pixel for each output before it otherwise, 2e-7 for the last of 2000.
#pragma once

#include <cstdint>

#include "common/host_device.h"

namespace edgecv {

constexpr std::uint64_t kWholePixel = std::uint64_t{1} << 32;

// One axis of a resize. Sides are less than 2^31.
struct SampledAxis {
  std::uint64_t step;             // source pixels for an output, Q32
  std::int32_t source, resized;   // pixels
};

inline SampledAxis AxisOf(std::int32_t source, std::int32_t resized) {
  const auto outputs = static_cast<std::uint64_t>(resized);
  return {((static_cast<std::uint64_t>(source) << 32) + outputs / 2) / outputs, source, resized};
}

EDGECV_HOST_DEVICE std::uint64_t PositionOf(const SampledAxis& axis, std::int32_t k) {
  return static_cast<std::uint64_t>(k) * axis.step;
}

EDGECV_HOST_DEVICE std::int32_t PixelAt(std::uint64_t position) {
  return static_cast<std::int32_t>(position >> 32);
}

EDGECV_HOST_DEVICE float InPixels(std::uint64_t distance) {
  return static_cast<float>(distance) * 0x1p-32f;
}

// The output is source[low] + weight * (source[high] - source[low]).
struct Tap {
  std::int32_t low, high;
  float weight;
};

// Bilinear: output k, 0 <= k < resized, samples at (k + 0.5) * source / resized - 0.5, clamped.
EDGECV_HOST_DEVICE Tap BilinearTap(const SampledAxis& axis, std::int32_t k) {
  const auto centre = static_cast<std::int64_t>(PositionOf(axis, k) + axis.step / 2) -
                      static_cast<std::int64_t>(kWholePixel / 2);
  const std::uint64_t position = centre < 0 ? 0 : static_cast<std::uint64_t>(centre);
  const std::int32_t low = PixelAt(position), last = axis.source - 1;
  if (low >= last) return {last, last, 0.0f};
  return {low, low + 1, static_cast<float>(static_cast<std::uint32_t>(position)) * 0x1p-32f};
}

// Area, where it enlarges: see letterbox.h. The weight jumps where an output begins with a pixel:
// there, rounding must not decide.
EDGECV_HOST_DEVICE Tap ReachTap(const SampledAxis& axis, std::int32_t k) {
  const std::int64_t source = axis.source, resized = axis.resized;
  std::int64_t low = PixelAt(PositionOf(axis, k));
  while (low * resized > k * source) --low;
  while ((low + 1) * resized <= k * source) ++low;
  const std::int64_t reach = (k + std::int64_t{1}) * source - (low + 1) * resized;
  const auto first = static_cast<std::int32_t>(low);
  return {first, first + 1 < axis.source ? first + 1 : first,
          reach < 0 ? 0.0f : static_cast<float>(reach) / static_cast<float>(source)};
}

// The output is the sum of weight * source[i], first <= i <= last, over the sum of the weights,
// which is `axis.step`; of the pixels between the first and the last it is 1.
struct Span {
  std::int32_t first, last;
  float first_weight, last_weight;

  EDGECV_HOST_DEVICE float WeightOf(std::int32_t i) const {
    return i == first ? first_weight : i == last ? last_weight : 1.0f;
  }
};

// Area, where it reduces: what [k, k + 1) * source / resized covers.
EDGECV_HOST_DEVICE Span MeanSpan(const SampledAxis& axis, std::int32_t k) {
  const std::uint64_t begin = PositionOf(axis, k);
  const std::uint64_t side = static_cast<std::uint64_t>(axis.source) << 32;
  const std::uint64_t end = begin + axis.step < side ? begin + axis.step : side;
  const std::int32_t first = PixelAt(begin), last = PixelAt(end - 1);
  const std::uint64_t next = (static_cast<std::uint64_t>(first) + 1) << 32;
  return {first, last, InPixels((end < next ? end : next) - begin),
          InPixels(end - (static_cast<std::uint64_t>(last) << 32))};
}

}  // namespace edgecv
