// What the rows share that go from source bytes to planes of floats in registers.
#pragma once

#include <algorithm>

#include "letterbox/byte_permutation.h"
#include "letterbox/fixed_point.h"
#include "letterbox/letterbox.h"
#include "letterbox/taps.h"

namespace edgecv {

// Whether such rows are for this fit, as far as the format of the frame is no matter.
inline bool ServeFusedRows(const Taps& rows, const Normalisation& norm, const Input& out) {
  return HasBytePermutation() && norm.colour != Colour::kGray &&
         out.type == ElementType::kFloat32 && !out.channels_last &&
         // Rows that several outputs sample are better kept.
         rows.low.back() - rows.low.front() >= static_cast<std::ptrdiff_t>(rows.size()) - 1;
}

constexpr Weight kHalf = 1 << 14;

// How columns are blended. Half and half, as even ratios have it, is a mean, rounded as any blend is.
enum class Blending { kNone, kMean, kWeighted };

inline Blending BlendingOf(const Taps& columns) {
  if (!columns.is_blended) return Blending::kNone;
  const auto is_half = [](Weight weight) { return weight == kHalf; };
  return std::all_of(columns.weight.begin(), columns.weight.end(), is_half) ? Blending::kMean
                                                                            : Blending::kWeighted;
}

#if defined(__x86_64__)
// `Blend` of fixed_point.h, given what there is between `a` and the other.
EDGECV_TARGET_VBMI EDGECV_INLINE __m512i BlendLanes(__m512i a, __m512i difference,
                                                    __m512i weight) {
  return _mm512_add_epi16(a, _mm512_mulhrs_epi16(difference, weight));
}

// Normalises 16 values of 16 bits, in lanes of 32, and writes the first `count` of them.
EDGECV_TARGET_VBMI EDGECV_INLINE void StoreFloats(__m512i values, float gain, float bias,
                                                  std::size_t count, float* out) {
  // As the last bits of 2^23 they are floats at once, sooner than by conversion.
  const __m512i raise = _mm512_castps_si512(_mm512_set1_ps(0x1p23f));
  const __m512 pixels = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_or_si512(values, raise)),
                                      _mm512_set1_ps(0x1p23f));
  const __m512 floats =
      _mm512_add_ps(_mm512_mul_ps(pixels, _mm512_set1_ps(gain)), _mm512_set1_ps(bias));
  if (count >= 16)
    _mm512_storeu_ps(out, floats);
  else
    _mm512_mask_storeu_ps(out, static_cast<__mmask16>((1u << count) - 1), floats);
}
#endif

}  // namespace edgecv
