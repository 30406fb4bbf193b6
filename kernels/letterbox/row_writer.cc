#include "letterbox/row_writer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "common/simd.h"

namespace edgecv {
namespace {

struct Half {
  std::uint16_t bits;
};

EDGECV_INLINE void Convert(float value, float& out) { out = value; }

// To the nearest half, ties to even. Written as selections, so that it vectorises; adding 0.5 lets
// the float unit round what becomes subnormal.
EDGECV_INLINE void Convert(float value, Half& out) {
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
  out.bits = static_cast<std::uint16_t>(sign | (bits < 0x477ff000u ? finite : 0x7c00u));  // 65520
}

EDGECV_INLINE void Convert(float value, std::uint8_t& out) {
  const float floored = value > 0.0f ? value : 0.0f;  // NaN too
  const float kept = floored < 255.0f ? floored : 255.0f;
  out = static_cast<std::uint8_t>(static_cast<std::int32_t>(kept + 0.5f));
}

template <typename Element>
EDGECV_INLINE void WriteRow(const Pixel* __restrict__ above, const Pixel* __restrict__ below,
                            Weight weight, float gain, float bias, std::size_t count,
                            Element* __restrict__ out) {
  if (weight == 0) {
    for (std::size_t x = 0; x < count; ++x)
      Convert(static_cast<float>(above[x]) * gain + bias, out[x]);
  } else {
    for (std::size_t x = 0; x < count; ++x)
      Convert(static_cast<float>(Blend(above[x], below[x], weight)) * gain + bias, out[x]);
  }
}

template <typename Element>
EDGECV_INLINE void Interleave(const Element* __restrict__ planar, std::size_t count,
                              Element* __restrict__ out) {
  for (std::size_t x = 0; x < count; ++x) {
    out[3 * x] = planar[x];
    out[3 * x + 1] = planar[count + x];
    out[3 * x + 2] = planar[2 * count + x];
  }
}

// Calls `use` with a null pointer to the element type.
template <typename Use>
void WithElement(ElementType type, Use use) {
  switch (type) {
    case ElementType::kFloat32: return use(static_cast<float*>(nullptr));
    case ElementType::kFloat16: return use(static_cast<Half*>(nullptr));
    case ElementType::kUint8: return use(static_cast<std::uint8_t*>(nullptr));
  }
}

std::size_t SizeOf(ElementType type) {
  return type == ElementType::kFloat32 ? 4 : type == ElementType::kFloat16 ? 2 : 1;
}

}  // namespace

RowWriter::RowWriter(const Input& out, const Normalisation& norm, std::size_t num_pixels)
    : out_(out), norm_(norm), num_channels_(norm.colour == Colour::kGray ? 1 : 3),
      element_size_(SizeOf(out.type)) {
  if (out.channels_last && num_channels_ > 1)
    planar_.resize(num_channels_ * num_pixels * element_size_);
}

std::byte* RowWriter::At(std::size_t channel, std::ptrdiff_t y, std::ptrdiff_t x) const {
  const auto channels = static_cast<std::ptrdiff_t>(num_channels_);
  const auto c = static_cast<std::ptrdiff_t>(channel);
  const std::ptrdiff_t element = out_.channels_last
                                     ? (y * out_.width + x) * channels + c
                                     : (c * out_.height + y) * out_.width + x;
  return static_cast<std::byte*>(out_.data) +
         element * static_cast<std::ptrdiff_t>(element_size_);
}

void RowWriter::Write(std::ptrdiff_t y, std::ptrdiff_t left, std::size_t count,
                      const RowPair& rows) {
  WithElement(out_.type, [&](auto* element) {
    using Element = std::remove_pointer_t<decltype(element)>;
    const bool is_planar = planar_.empty();
    for (std::size_t c = 0; c < num_channels_; ++c) {
      std::byte* target =
          is_planar ? At(c, y, left) : planar_.data() + c * count * element_size_;
      Dispatch<WriteRow<Element>>(rows.above[c], rows.below[c], rows.weight,
                                  norm_.gain[c] / (1 << kPixelBits), norm_.bias[c], count,
                                  reinterpret_cast<Element*>(target));
    }
    if (!is_planar)
      Dispatch<Interleave<Element>>(reinterpret_cast<const Element*>(planar_.data()), count,
                                    reinterpret_cast<Element*>(At(0, y, left)));
  });
}

void RowWriter::Fill(std::ptrdiff_t y, std::ptrdiff_t left, std::ptrdiff_t right) const {
  if (right <= left) return;
  WithElement(out_.type, [&](auto* element) {
    using Element = std::remove_pointer_t<decltype(element)>;
    std::array<Element, 3> bar;
    for (std::size_t c = 0; c < num_channels_; ++c)
      Convert(norm_.pad * norm_.gain[c] + norm_.bias[c], bar[c]);
    if (planar_.empty()) {
      for (std::size_t c = 0; c < num_channels_; ++c)
        std::fill_n(reinterpret_cast<Element*>(At(c, y, left)), right - left, bar[c]);
    } else {
      auto* pixel = reinterpret_cast<Element*>(At(0, y, left));
      for (std::ptrdiff_t x = left; x < right; ++x, pixel += 3)
        std::copy(bar.begin(), bar.end(), pixel);
    }
  });
}

}  // namespace edgecv
