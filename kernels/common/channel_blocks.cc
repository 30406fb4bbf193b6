// Both directions transpose tiles of 16 pixels by 16 channels in registers. The last tile of a run
// is shifted back to overlap the one before; only runs of less than a tile go float by float.

#include "common/channel_blocks.h"

#include <algorithm>
#include <array>

#include "common/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace edgecv {
namespace {

constexpr std::size_t kTile = kBlockChannels;

// The first float of each row of a tile.
using From = std::array<const float*, kTile>;
using To = std::array<float*, kTile>;

void TransposePlain(const From& from, const To& to) {
  for (std::size_t i = 0; i < kTile; ++i)
    for (std::size_t j = 0; j < kTile; ++j) to[i][j] = from[j][i];
}

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic push  // GCC 12's own header leaves the operands of unused lanes undefined
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
EDGECV_TARGET_V3 void Transpose8x8(const float* const* from, std::size_t column, float* const* to,
                                   std::size_t to_column) {
  __m256 r[8], t[8];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(from[i] + column);
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (std::size_t i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to[i] + to_column, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(to[i + 4] + to_column, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

EDGECV_TARGET_V3 void TransposeV3(const From& from, const To& to) {
  for (std::size_t i = 0; i < kTile; i += 8)
    for (std::size_t j = 0; j < kTile; j += 8) Transpose8x8(&from[j], i, &to[i], j);
}

EDGECV_TARGET_V4 void TransposeV4(const From& from, const To& to) {
  __m512 r[16], t[16];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(from[i]);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 16; i += 4) {  // r[i + k]: columns k, 4 + k, 8 + k, 12 + k of 4 rows
    r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (std::size_t k = 0; k < 4; ++k) {
    t[k] = _mm512_shuffle_f32x4(r[k], r[4 + k], 0x88);
    t[4 + k] = _mm512_shuffle_f32x4(r[k], r[4 + k], 0xdd);
    t[8 + k] = _mm512_shuffle_f32x4(r[8 + k], r[12 + k], 0x88);
    t[12 + k] = _mm512_shuffle_f32x4(r[8 + k], r[12 + k], 0xdd);
    _mm512_storeu_ps(to[k], _mm512_shuffle_f32x4(t[k], t[8 + k], 0x88));
    _mm512_storeu_ps(to[4 + k], _mm512_shuffle_f32x4(t[4 + k], t[12 + k], 0x88));
    _mm512_storeu_ps(to[8 + k], _mm512_shuffle_f32x4(t[k], t[8 + k], 0xdd));
    _mm512_storeu_ps(to[12 + k], _mm512_shuffle_f32x4(t[4 + k], t[12 + k], 0xdd));
  }
}
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

using Transpose = void (*)(const From&, const To&);

Transpose BestTranspose() {
#if defined(__x86_64__)
  switch (CpuLevel()) {
    case Level::kV4: return TransposeV4;
    case Level::kV3: return TransposeV3;
    default: break;
  }
#endif
  return TransposePlain;
}

}  // namespace

void PackChannels(const float* planes, std::size_t plane_stride, std::size_t num_channels,
                  std::size_t count, ChannelBlock* out) {
  std::array<const float*, kTile> plane;
  for (std::size_t c = 0; c < kTile; ++c)
    plane[c] = planes + std::min(c, num_channels - 1) * plane_stride;
  if (count < kTile) {
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t c = 0; c < kTile; ++c) out[i].lanes[c] = plane[c][i];
    return;
  }
  const Transpose transpose = BestTranspose();
  From from;
  To to;
  for (std::size_t first = 0; first < count; first += kTile) {
    const std::size_t begin = std::min(first, count - kTile);
    for (std::size_t k = 0; k < kTile; ++k) {
      from[k] = plane[k] + begin;
      to[k] = out[begin + k].lanes;
    }
    transpose(from, to);
  }
}

void UnpackChannels(const ChannelBlock* blocks, std::size_t count, std::size_t num_channels,
                    std::size_t plane_stride, float* planes) {
  if (count < kTile) {
    for (std::size_t c = 0; c < num_channels; ++c)
      for (std::size_t i = 0; i < count; ++i) planes[c * plane_stride + i] = blocks[i].lanes[c];
    return;
  }
  const Transpose transpose = BestTranspose();
  alignas(64) float unwanted[kTile];
  From from;
  To to;
  for (std::size_t first = 0; first < count; first += kTile) {
    const std::size_t begin = std::min(first, count - kTile);
    for (std::size_t k = 0; k < kTile; ++k) {
      from[k] = blocks[begin + k].lanes;
      to[k] = k < num_channels ? planes + k * plane_stride + begin : unwanted;
    }
    transpose(from, to);
  }
}

}  // namespace edgecv
