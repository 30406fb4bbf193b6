#include "letterbox/elements.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "common/intrinsics.h"
#include "common/simd.h"

namespace edgecv {
namespace {

// Written as selections, so that it vectorises; adding 0.5 lets the float unit round what becomes
// subnormal.
EDGECV_INLINE std::uint16_t Half(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7fffffffu;
  float magnitude;
  std::memcpy(&magnitude, &bits, sizeof magnitude);
  const float shifted = magnitude + 0.5f;
  std::uint32_t subnormal;
  std::memcpy(&subnormal, &shifted, sizeof subnormal);
  subnormal -= 0x3f000000u;  // 0.5
  const std::uint32_t normal = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
  const std::uint32_t finite = bits < 0x38800000u ? subnormal : normal;  // 2^-14
  return static_cast<std::uint16_t>(sign | (bits < 0x477ff000u ? finite : 0x7c00u));  // 65520
}

EDGECV_INLINE void Halves(const float* __restrict__ values, std::size_t first, std::size_t count,
                          std::byte* __restrict__ out) {
  for (std::size_t x = first; x < count; ++x) {
    const std::uint16_t half = Half(values[x]);
    std::memcpy(out + 2 * x, &half, sizeof half);
  }
}

#if defined(__x86_64__)
// The processor's own conversion, which rounds alike.
EDGECV_TARGET_V3
void HalvesV3(const float* values, std::size_t count, std::byte* out) {
  std::size_t x = 0;
  for (; x + 8 <= count; x += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * x),
                     _mm256_cvtps_ph(_mm256_loadu_ps(values + x), _MM_FROUND_TO_NEAREST_INT));
  Halves(values, x, count, out);
}
#endif

// The bits of floats order as integers do, from 0 up: clamped so, the loop vectorises at every level,
// and no value is left that does not fit.
EDGECV_INLINE void Bytes(const float* __restrict__ values, std::size_t count,
                         std::uint8_t* __restrict__ out) {
  for (std::size_t x = 0; x < count; ++x) {
    std::int32_t bits;
    std::memcpy(&bits, values + x, sizeof bits);
    bits = bits > 0 ? bits : 0;
    bits = bits < 0x437f0000 ? bits : 0x437f0000;  // 255
    float kept;
    std::memcpy(&kept, &bits, sizeof kept);
    out[x] = static_cast<std::uint8_t>(static_cast<std::int32_t>(kept + 0.5f));
  }
}

template <typename Element>
EDGECV_INLINE void InterleaveElements(const Element* __restrict__ planar, std::size_t count,
                                      Element* __restrict__ out) {
  const Element* __restrict__ second = planar + count;
  const Element* __restrict__ third = second + count;
  for (std::size_t x = 0; x < count; ++x)
    out[3 * x] = planar[x], out[3 * x + 1] = second[x], out[3 * x + 2] = third[x];
}

template <typename Element>
void InterleaveAs(const std::byte* planar, std::size_t count, std::byte* out) {
  Dispatch<InterleaveElements<Element>>(reinterpret_cast<const Element*>(planar), count,
                                        reinterpret_cast<Element*>(out));
}

template <typename Element>
void RepeatAs(const std::byte* value, std::size_t count, std::byte* out) {
  std::fill_n(reinterpret_cast<Element*>(out), count, *reinterpret_cast<const Element*>(value));
}

}  // namespace

void ToHalves(const float* values, std::size_t count, std::byte* out) {
#if defined(__x86_64__)
  if (CpuLevel() != Level::kBaseline) return HalvesV3(values, count, out);
#endif
  Halves(values, 0, count, out);
}

void ToBytes(const float* values, std::size_t count, std::byte* out) {
  Dispatch<Bytes>(values, count, reinterpret_cast<std::uint8_t*>(out));
}

void Repeat(ElementType type, const std::byte* value, std::size_t count, std::byte* out) {
  switch (SizeOf(type)) {
    case 4: return RepeatAs<std::uint32_t>(value, count, out);
    case 2: return RepeatAs<std::uint16_t>(value, count, out);
    default: return RepeatAs<std::uint8_t>(value, count, out);
  }
}

void Interleave(ElementType type, const std::byte* planar, std::size_t count, std::byte* out) {
  switch (SizeOf(type)) {
    case 4: return InterleaveAs<std::uint32_t>(planar, count, out);
    case 2: return InterleaveAs<std::uint16_t>(planar, count, out);
    default: return InterleaveAs<std::uint8_t>(planar, count, out);
  }
}

}  // namespace edgecv
