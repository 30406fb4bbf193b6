// Rows of normalised values in the types and the layout of a network's input.
#pragma once

#include <cstddef>

#include "letterbox/letterbox.h"

namespace edgecv {

constexpr std::size_t SizeOf(ElementType type) {
  return type == ElementType::kFloat32 ? 4 : type == ElementType::kFloat16 ? 2 : 1;
}

// To half floats: the nearest, ties to even.
void ToHalves(const float* values, std::size_t count, std::byte* out);

// To uint8: the nearest, ties up, saturated; NaN becomes 0 or 255, by its sign.
void ToBytes(const float* values, std::size_t count, std::byte* out);

// `count` times the element at `value`.
void Repeat(ElementType type, const std::byte* value, std::size_t count, std::byte* out);

// out[3 * x + c] = planar[c * count + x], in elements of `type`.
void Interleave(ElementType type, const std::byte* planar, std::size_t count, std::byte* out);

}  // namespace edgecv
