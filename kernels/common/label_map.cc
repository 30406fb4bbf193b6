// A table of 256 bytes is up to four registers of AVX-512, where VBMI looks 64 labels up at once.
// AVX2 shuffles within 16 bytes, so that there a table costs one shuffle per 16 entries; labels
// outside the 16 are moved to where the shuffle gives 0.

#include "common/label_map.h"

#include <cstring>

#include "common/intrinsics.h"
#include "common/simd.h"

namespace edgecv {
namespace {

EDGECV_INLINE void LookUpEach(const LabelTable& table, const std::uint8_t* labels,
                              std::size_t first, std::size_t count, std::uint8_t* out) {
  for (std::size_t x = first; x < count; ++x) out[x] = table.entries[labels[x]];
}

#if defined(__x86_64__)
__attribute__((target("arch=x86-64-v4,avx512vbmi"))) void LookUpVbmi(const LabelTable& table,
                                                                      const std::uint8_t* labels,
                                                                      std::size_t count,
                                                                      std::uint8_t* out) {
  const std::uint8_t* entries = table.entries.data();
  const __m512i t0 = _mm512_load_si512(entries), t1 = _mm512_load_si512(entries + 64);
  const __m512i t2 = _mm512_load_si512(entries + 128), t3 = _mm512_load_si512(entries + 192);
  const bool is_short = table.num_entries <= 64;
  for (std::size_t x = 0; x < count; x += 64) {
    const std::size_t left = count - x;
    const __mmask64 mask = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    const __m512i indices = _mm512_maskz_loadu_epi8(mask, labels + x);
    __m512i found;
    if (is_short) {
      // With a mask: GCC 12 takes the operand that the unmasked one leaves undefined for a mistake.
      found = _mm512_maskz_permutexvar_epi8(mask, indices, t0);
    } else {
      const __m512i low = _mm512_permutex2var_epi8(t0, indices, t1);
      const __m512i high = _mm512_permutex2var_epi8(t2, indices, t3);
      found = _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(indices), high);
    }
    _mm512_mask_storeu_epi8(out + x, mask, found);
  }
}

EDGECV_TARGET_V3 void LookUpV3(const LabelTable& table, const std::uint8_t* labels,
                               std::size_t count, std::uint8_t* out) {
  const __m256i sixteen = _mm256_set1_epi8(16), outside = _mm256_set1_epi8(0x70);
  const std::size_t whole = count / 32 * 32;
  for (std::size_t x = 0; x < whole; x += 32) {
    __m256i indices = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(labels + x));
    __m256i found = _mm256_setzero_si256();
    for (std::size_t k = 0; k < table.num_entries; k += 16) {
      const __m256i part = _mm256_broadcastsi128_si256(
          _mm_load_si128(reinterpret_cast<const __m128i*>(table.entries.data() + k)));
      // Saturates to a value with the sign bit unless the label is among these 16.
      const __m256i inside = _mm256_adds_epu8(indices, outside);
      found = _mm256_or_si256(found, _mm256_shuffle_epi8(part, inside));
      indices = _mm256_sub_epi8(indices, sixteen);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + x), found);
  }
  LookUpEach(table, labels, whole, count, out);
}

// Where each byte of three vectors of triples comes from: from the first or second vector, and for
// every third byte, from the third.
struct Triples {
  alignas(64) std::uint8_t pair[3][64];
  alignas(64) std::uint8_t third[3][64];
  std::uint64_t is_third[3];

  constexpr Triples() : pair{}, third{}, is_third{} {
    for (std::size_t i = 0; i < 192; ++i) {
      const auto pixel = static_cast<std::uint8_t>(i / 3);
      pair[i / 64][i % 64] = static_cast<std::uint8_t>(i % 3 == 1 ? 64 + pixel : pixel);
      third[i / 64][i % 64] = pixel;
      if (i % 3 == 2) is_third[i / 64] |= std::uint64_t{1} << (i % 64);
    }
  }
};
constexpr Triples kTriples;

// Returns the number of pixels done.
__attribute__((target("arch=x86-64-v4,avx512vbmi"))) std::size_t InterleaveVbmi(
    const std::uint8_t* first, const std::uint8_t* second, const std::uint8_t* third,
    std::size_t count, std::uint8_t* out) {
  const std::size_t whole = count / 64 * 64;
  for (std::size_t x = 0; x < whole; x += 64) {
    const __m512i a = _mm512_loadu_si512(first + x), b = _mm512_loadu_si512(second + x);
    const __m512i c = _mm512_loadu_si512(third + x);
    for (std::size_t part = 0; part < 3; ++part) {
      const __m512i pair =
          _mm512_permutex2var_epi8(a, _mm512_load_si512(kTriples.pair[part]), b);
      const __m512i triples = _mm512_mask_permutexvar_epi8(
          pair, kTriples.is_third[part], _mm512_load_si512(kTriples.third[part]), c);
      _mm512_storeu_si512(out + 3 * x + 64 * part, triples);
    }
  }
  return whole;
}

bool HasVbmi() {
  static const bool has = CpuLevel() == Level::kV4 && __builtin_cpu_supports("avx512vbmi");
  return has;
}
#endif

// Whether shuffles beat looking each label up by itself.
bool HasShuffles([[maybe_unused]] const LabelTable& table) {
#if defined(__x86_64__)
  return HasVbmi() || (CpuLevel() != Level::kBaseline && table.num_entries <= 128);
#else
  return false;
#endif
}

EDGECV_INLINE void InterleaveEach(const std::uint8_t* __restrict__ first,
                                  const std::uint8_t* __restrict__ second,
                                  const std::uint8_t* __restrict__ third, std::size_t count,
                                  std::uint8_t* __restrict__ out) {
  for (std::size_t x = 0; x < count; ++x) {
    out[3 * x] = first[x], out[3 * x + 1] = second[x], out[3 * x + 2] = third[x];
  }
}

EDGECV_INLINE std::uint8_t LargestOf(const std::uint8_t* bytes, std::size_t count) {
  std::uint8_t largest = 0;
  for (std::size_t x = 0; x < count; ++x) largest = bytes[x] > largest ? bytes[x] : largest;
  return largest;
}

EDGECV_INLINE std::uint8_t Largest(const LabelMap* map, const LabelTable* table) {
  std::uint8_t largest = 0;
  Piece found;
  for (std::ptrdiff_t y = 0; y < map->height; ++y) {
    const std::uint8_t* row = map->Row(y);
    if (table == nullptr) {
      largest = std::max(largest, LargestOf(row, static_cast<std::size_t>(map->width)));
      continue;
    }
    ForEachPiece(map->width, [&](std::size_t x, std::size_t count) {
      LookUp(*table, row + x, count, found.data());
      largest = std::max(largest, LargestOf(found.data(), count));
    });
  }
  return largest;
}

}  // namespace

void LookUp(const LabelTable& table, const std::uint8_t* labels, std::size_t count,
            std::uint8_t* out) {
#if defined(__x86_64__)
  if (HasVbmi()) return LookUpVbmi(table, labels, count, out);
  if (HasShuffles(table)) return LookUpV3(table, labels, count, out);
#endif
  LookUpEach(table, labels, 0, count, out);
}

TripleTable::TripleTable(const std::array<LabelTable, 3>& tables) : channels(tables), words{} {
  for (std::size_t label = 0; label < 256; ++label) {
    for (std::size_t c = 0; c < 3; ++c) words[label][c] = tables[c].entries[label];
  }
}

void LookUpTriples(const TripleTable& table, const std::uint8_t* labels, std::size_t count,
                   std::uint8_t* out) {
  if (count == 0) return;
  if (!HasShuffles(table.channels[0])) {
    // Four bytes a pixel, of which the next pixel overwrites the last.
    for (std::size_t x = 0; x + 1 < count; ++x) {
      std::memcpy(out + 3 * x, table.words[labels[x]].data(), 4);
    }
    std::memcpy(out + 3 * (count - 1), table.words[labels[count - 1]].data(), 3);
    return;
  }
  std::array<Piece, 3> channels;
  for (std::size_t c = 0; c < 3; ++c) {
    LookUp(table.channels[c], labels, count, channels[c].data());
  }
  const std::uint8_t *first = channels[0].data(), *second = channels[1].data();
  const std::uint8_t* third = channels[2].data();
  std::size_t done = 0;
#if defined(__x86_64__)
  if (HasVbmi()) done = InterleaveVbmi(first, second, third, count, out);
#endif
  if (done == count) return;
  Dispatch<InterleaveEach>(first + done, second + done, third + done, count - done,
                           out + 3 * done);
}

LabelTable ChannelTable(const std::uint8_t* palette, std::size_t num_colours,
                        std::size_t channel) {
  LabelTable table;
  table.num_entries = num_colours;
  for (std::size_t k = 0; k < num_colours; ++k) {
    table.entries[k] = palette[kMaxChannels * k + channel];
  }
  return table;
}

std::size_t LargestWithoutColour(const LabelMap& map, std::size_t num_colours,
                                 const std::uint8_t* is_ignored) {
  if (num_colours == 256) return 0;
  const LabelTable* all = nullptr;
  const std::size_t largest = Dispatch<Largest>(&map, all);
  if (largest < num_colours) return 0;
  if (is_ignored == nullptr) return largest;
  LabelTable table;
  for (std::size_t label = num_colours; label < 256; ++label) {
    table.entries[label] = static_cast<std::uint8_t>(is_ignored[label] != 0 ? 0 : label);
  }
  const LabelTable* without_colour = &table;
  return Dispatch<Largest>(&map, without_colour);
}

}  // namespace edgecv
