#include "letterbox/row_writer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "common/simd.h"
#include "letterbox/elements.h"

namespace edgecv {
namespace {

EDGECV_INLINE void Normalise(const Pixel* __restrict__ above, const Pixel* __restrict__ below,
                             Weight weight, float gain, float bias, std::size_t count,
                             float* __restrict__ out) {
  if (weight == 0) {
    for (std::size_t x = 0; x < count; ++x) out[x] = static_cast<float>(above[x]) * gain + bias;
  } else {
    for (std::size_t x = 0; x < count; ++x)
      out[x] = static_cast<float>(Blend(above[x], below[x], weight)) * gain + bias;
  }
}

}  // namespace

RowWriter::RowWriter(const Input& out, const Normalisation& norm)
    : out_(out), norm_(norm), num_channels_(norm.colour == Colour::kGray ? 1 : 3),
      element_size_(SizeOf(out.type)), is_interleaved_(out.channels_last && num_channels_ > 1) {
  const auto width = static_cast<std::size_t>(out.width);
  const std::size_t row_bytes = num_channels_ * width * element_size_;
  values_.resize(width), planar_.resize(row_bytes), bar_.resize(row_bytes);
  for (std::size_t c = 0; c < num_channels_; ++c) {
    std::fill(values_.begin(), values_.end(), norm.pad * norm.gain[c] + norm.bias[c]);
    Convert(values_.data(), width, planar_.data() + c * width * element_size_);
  }
  if (is_interleaved_)
    Interleave(out.type, planar_.data(), width, bar_.data());
  else
    bar_.swap(planar_);
}

std::byte* RowWriter::At(std::size_t channel, std::ptrdiff_t y, std::ptrdiff_t x) const {
  const auto channels = static_cast<std::ptrdiff_t>(num_channels_);
  const auto c = static_cast<std::ptrdiff_t>(channel);
  const std::ptrdiff_t element = is_interleaved_ ? (y * out_.width + x) * channels + c
                                                 : (c * out_.height + y) * out_.width + x;
  return static_cast<std::byte*>(out_.data) +
         element * static_cast<std::ptrdiff_t>(element_size_);
}

void RowWriter::Convert(const float* values, std::size_t count, std::byte* out) const {
  switch (out_.type) {
    case ElementType::kFloat32: std::memcpy(out, values, count * element_size_); break;
    case ElementType::kFloat16: ToHalves(values, count, out); break;
    case ElementType::kUint8: ToBytes(values, count, out); break;
  }
}

void RowWriter::Write(std::ptrdiff_t y, std::ptrdiff_t left, std::size_t count,
                      const RowPair& rows) {
  for (std::size_t c = 0; c < num_channels_; ++c) {
    std::byte* target = is_interleaved_ ? planar_.data() + c * count * element_size_ : At(c, y, left);
    const bool is_float = out_.type == ElementType::kFloat32;
    float* values = is_float ? reinterpret_cast<float*>(target) : values_.data();
    Dispatch<Normalise>(rows.above[c], rows.below[c], rows.weight,
                        norm_.gain[c] / (1 << kPixelBits), norm_.bias[c], count, values);
    if (!is_float) Convert(values, count, target);
  }
  if (is_interleaved_) Interleave(out_.type, planar_.data(), count, At(0, y, left));
}

std::array<float*, 3> RowWriter::Floats(std::ptrdiff_t y, std::ptrdiff_t left) const {
  std::array<float*, 3> planes;
  for (std::size_t c = 0; c < 3; ++c) planes[c] = reinterpret_cast<float*>(At(c, y, left));
  return planes;
}

void RowWriter::Fill(std::ptrdiff_t y, std::ptrdiff_t left, std::ptrdiff_t right) const {
  if (right <= left) return;
  const auto count = static_cast<std::size_t>(right - left);
  if (is_interleaved_) {
    std::memcpy(At(0, y, left), bar_.data(), num_channels_ * count * element_size_);
    return;
  }
  const std::size_t row_bytes = static_cast<std::size_t>(out_.width) * element_size_;
  for (std::size_t c = 0; c < num_channels_; ++c)
    Repeat(out_.type, bar_.data() + c * row_bytes, count, At(c, y, left));
}

}  // namespace edgecv
