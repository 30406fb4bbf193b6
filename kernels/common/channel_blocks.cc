// Both directions transpose tiles of 16 pixels by 16 channels in registers. The last tile of a run
// is shifted back to overlap the one before, unless so little is left that it goes float by float.

#include "common/channel_blocks.h"

#include <algorithm>

#include "common/intrinsics.h"
#include "common/simd.h"

namespace edgecv {
namespace {

constexpr std::size_t kTile = kBlockChannels;

// A tail of so many pixels costs less than another tile.
constexpr std::size_t kShortTail = 4;

void TransposePlain(const float* from, std::size_t from_stride, float* to, std::size_t to_stride) {
  for (std::size_t i = 0; i < kTile; ++i)
    for (std::size_t j = 0; j < kTile; ++j) to[i * to_stride + j] = from[j * from_stride + i];
}

#if defined(__x86_64__)
EDGECV_TARGET_V3 void Transpose8x8(const float* from, std::size_t from_stride, float* to,
                                   std::size_t to_stride) {
  __m256 r[8], t[8];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(from + i * from_stride);
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
    _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

EDGECV_TARGET_V3 void TransposeV3(const float* from, std::size_t from_stride, float* to,
                                  std::size_t to_stride) {
  for (std::size_t i = 0; i < kTile; i += 8)
    for (std::size_t j = 0; j < kTile; j += 8) 
      Transpose8x8(from + j * from_stride + i, from_stride, to + i * to_stride + j, to_stride);
}

EDGECV_TARGET_V4 void TransposeV4(const float* from, std::size_t from_stride, float* to,
                                  std::size_t to_stride) {
  __m512 r[16], t[16];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(from + i * from_stride);
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
    _mm512_storeu_ps(to + k * to_stride, _mm512_shuffle_f32x4(t[k], t[8 + k], 0x88));
    _mm512_storeu_ps(to + (4 + k) * to_stride, _mm512_shuffle_f32x4(t[4 + k], t[12 + k], 0x88));
    _mm512_storeu_ps(to + (8 + k) * to_stride, _mm512_shuffle_f32x4(t[k], t[8 + k], 0xdd));
    _mm512_storeu_ps(to + (12 + k) * to_stride, _mm512_shuffle_f32x4(t[4 + k], t[12 + k], 0xdd));
  }
}
#endif

using Transpose = void (*)(const float* from, std::size_t from_stride, float* to,
                           std::size_t to_stride);

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

// Transposes all tiles of `count` pixels and returns how many pixels those are, the first ones. A
// step is from one pixel to the next, a stride from one row of a tile to the next.
std::size_t TransposeTiles(const float* from, std::size_t from_step, std::size_t from_stride,
                           float* to, std::size_t to_step, std::size_t to_stride,
                           std::size_t count) {
  const Transpose transpose = BestTranspose();
  std::size_t done = 0;
  while (count - done >= kTile || (count >= kTile && count - done > kShortTail)) {
    const std::size_t first = std::min(done, count - kTile);
    transpose(from + first * from_step, from_stride, to + first * to_step, to_stride);
    done = first + kTile;
  }
  return done;
}

}  // namespace

void PackChannels(const float* planes, std::size_t plane_stride, std::size_t num_channels,
                  std::size_t count, ChannelBlock* out) {
  std::size_t i = 0;
  if (num_channels == kTile)
    i = TransposeTiles(planes, 1, plane_stride, LanesOf(out), kTile, kTile, count);
  for (; i < count; ++i)
    for (std::size_t c = 0; c < kTile; ++c)
      out[i].lanes[c] = c < num_channels ? planes[c * plane_stride + i] : 0.0f;
}

void UnpackChannels(const ChannelBlock* blocks, std::size_t count, float* planes) {
  for (std::size_t i = TransposeTiles(LanesOf(blocks), kTile, kTile, planes, 1, count, count);
       i < count; ++i)
    for (std::size_t c = 0; c < kTile; ++c) planes[c * count + i] = blocks[i].lanes[c];
}

}  // namespace edgecv
