// Every value of a head is looked at once, in the order of memory and a vector at a time. With
// channels first, the best class of a block of anchors is a running maximum, plane by plane. All
// other searches take what is above the floor from runs of values that follow each other: with
// AVX-512 a comparison gives a mask and the lanes in it are compressed to keys; elsewhere 16 values
// are compared at once and looked at one by one only if one of them is above.

#include "common/class_search.h"

#include <algorithm>

#include "common/intrinsics.h"
#include "common/simd.h"

namespace edgecv {
namespace {

// `num_runs` runs of `length` values each; value i of run r belongs to pair
// first_pair + r * pairs_per_run + i * pairs_per_value, modulo 2**32.
struct Runs {
  const float* values;
  std::size_t num_runs, length, stride;
  std::uint32_t first_pair, pairs_per_run, pairs_per_value;
};

constexpr std::size_t kLanes = 16;

EDGECV_INLINE
Key* AppendAbove(const Runs& runs, float floor, Key* keys) {
  std::uint32_t run_pair = runs.first_pair;
  for (std::size_t r = 0; r < runs.num_runs; ++r, run_pair += runs.pairs_per_run) {
    const float* values = runs.values + r * runs.stride;
    std::uint32_t pair = run_pair;
    const auto look_at = [&](float value) {
      *keys = KeyOf(value, pair);  // overwritten by the next one unless it counts
      keys += value > floor ? 1 : 0;
      pair += runs.pairs_per_value;
    };
    std::size_t i = 0;
    for (; i + kLanes <= runs.length; i += kLanes) {
      int num_above = 0;
      for (std::size_t k = 0; k < kLanes; ++k) num_above += values[i + k] > floor ? 1 : 0;
      if (num_above == 0) {
        pair += static_cast<std::uint32_t>(kLanes) * runs.pairs_per_value;
      } else {
        for (std::size_t k = 0; k < kLanes; ++k) look_at(values[i + k]);
      }
    }
    for (; i < runs.length; ++i) look_at(values[i]);
  }
  return keys;
}

EDGECV_INLINE Key* AppendAboveBody(const Runs* runs, float floor, Key* keys) {
  return AppendAbove(*runs, floor, keys);
}

#if defined(__x86_64__)
EDGECV_TARGET_V4
Key* AppendAboveV4(const Runs& runs, float floor, Key* keys) {
  const __m512 floors = _mm512_set1_ps(floor);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  // The lower halves of keys come from the first operand, the upper ones from the second (16 + i).
  const __m512i first_keys =
      _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i last_keys = _mm512_add_epi32(first_keys, _mm512_set1_epi32(kLanes / 2));
  const __m512i steps =
      _mm512_mullo_epi32(lanes, _mm512_set1_epi32(static_cast<int>(runs.pairs_per_value)));
  std::uint32_t run_pair = runs.first_pair;
  for (std::size_t r = 0; r < runs.num_runs; ++r, run_pair += runs.pairs_per_run) {
    const float* values = runs.values + r * runs.stride;
    for (std::size_t i = 0; i < runs.length; i += kLanes) {
      const std::size_t left = runs.length - i;
      const auto valid = static_cast<__mmask16>(left < kLanes ? (1u << left) - 1u : 0xffffu);
      const __m512 value = _mm512_maskz_loadu_ps(valid, values + i);
      const __mmask16 above = _mm512_mask_cmp_ps_mask(valid, value, floors, _CMP_GT_OQ);
      if (above == 0) continue;
      const std::uint32_t pair = run_pair + static_cast<std::uint32_t>(i) * runs.pairs_per_value;
      const __m512i pairs = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(pair)), steps);
      const __m512i inverted = _mm512_xor_si512(pairs, _mm512_set1_epi32(-1));
      // Compressed in registers: a compressing store is microcode on some processors.
      const __m512i high = _mm512_maskz_compress_epi32(above, _mm512_castps_si512(value));
      const __m512i low = _mm512_maskz_compress_epi32(above, inverted);
      _mm512_storeu_si512(keys, _mm512_permutex2var_epi32(low, first_keys, high));
      const auto num_above = static_cast<unsigned>(__builtin_popcount(above));
      if (num_above > kLanes / 2)
        _mm512_storeu_si512(keys + kLanes / 2, _mm512_permutex2var_epi32(low, last_keys, high));
      keys += num_above;
    }
  }
  return keys;
}
#endif

Key* FindAbove(const Runs& runs, float floor, Key* keys) {
#if defined(__x86_64__)
  if (CpuLevel() == Level::kV4) return AppendAboveV4(runs, floor, keys);
#endif
  return Dispatch<AppendAboveBody>(&runs, floor, keys);
}

// Of keys whose pairs rise, keeps the best of each anchor.
Key* KeepBestOfAnchors(Key* begin, Key* end, std::size_t num_classes) {
  Key* kept = begin;
  std::uint64_t next_anchor = 0;  // the first pair that is not of the last kept key's anchor
  for (const Key* key = begin; key != end; ++key) {
    const std::uint32_t pair = PairOf(*key);
    if (pair >= next_anchor) {
      next_anchor = (pair / num_classes + 1) * num_classes;
      *kept++ = *key;
    } else if (ValueOf(*key) > ValueOf(kept[-1])) {
      kept[-1] = *key;
    }
  }
  return kept;
}

// Anchors whose best values so far stay in the first-level cache while the planes pass by; enough of
// them that each plane is read in runs as long as a page.
constexpr std::size_t kBlock = 1024;

// Four planes at a time: the best value and class of an anchor are loaded and stored once for them.
EDGECV_INLINE
void BestOfPlanes(HeadView classes, std::size_t num_classes, std::size_t count, float floor,
                  float* __restrict__ best_value, std::int32_t* __restrict__ best_class) {
  for (std::size_t i = 0; i < count; ++i) best_value[i] = floor, best_class[i] = -1;
  const std::size_t stride = classes.channel_stride;
  std::size_t c = 0;
  for (; c + 4 <= num_classes; c += 4) {
    const float* __restrict__ values = classes.data + c * stride;
    const auto id = static_cast<std::int32_t>(c);
    for (std::size_t i = 0; i < count; ++i) {
      float value = best_value[i];
      std::int32_t best = best_class[i];
      for (std::size_t k = 0; k < 4; ++k) {
        const float other = values[k * stride + i];
        best = other > value ? id + static_cast<std::int32_t>(k) : best;
        value = other > value ? other : value;
      }
      best_value[i] = value, best_class[i] = best;
    }
  }
  for (; c < num_classes; ++c) {
    const float* __restrict__ values = classes.data + c * stride;
    const auto id = static_cast<std::int32_t>(c);
    for (std::size_t i = 0; i < count; ++i) {
      const bool better = values[i] > best_value[i];
      best_value[i] = better ? values[i] : best_value[i];
      best_class[i] = better ? id : best_class[i];
    }
  }
}

Key* FindBestOfPlanes(HeadView classes, std::size_t num_classes, std::size_t first,
                      std::size_t count, float floor, Key* keys) {
  float best_value[kBlock];
  std::int32_t best_class[kBlock];
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t size = std::min(kBlock, count - begin);
    Dispatch<BestOfPlanes>(classes.From(0, begin), num_classes, size, floor,
                           static_cast<float*>(best_value), static_cast<std::int32_t*>(best_class));
    for (std::size_t i = 0; i < size; ++i) {
      const auto anchor_pair = static_cast<std::uint32_t>((first + begin + i) * num_classes);
      *keys = KeyOf(best_value[i], anchor_pair + static_cast<std::uint32_t>(best_class[i]));
      keys += best_class[i] >= 0 ? 1 : 0;
    }
  }
  return keys;
}

}  // namespace

Key* FindClasses(HeadView classes, std::size_t num_classes, std::size_t first, std::size_t count,
                 float floor, bool multi_label, Key* keys) {
  const auto first_pair = static_cast<std::uint32_t>(first * num_classes);
  const auto per_anchor = static_cast<std::uint32_t>(num_classes);
  if (classes.channels_first()) {
    if (!multi_label) return FindBestOfPlanes(classes, num_classes, first, count, floor, keys);
    const Runs planes{classes.data, num_classes, count, classes.channel_stride, first_pair, 1, per_anchor};
    return FindAbove(planes, floor, keys);
  }
  const Runs rows{classes.data, count, num_classes, classes.anchor_stride, first_pair, per_anchor, 1};
  Key* const end = FindAbove(rows, floor, keys);
  return multi_label ? end : KeepBestOfAnchors(keys, end, num_classes);
}

}  // namespace edgecv
