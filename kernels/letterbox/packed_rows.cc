// With AVX-512 VBMI one instruction picks from 64 or 128 bytes. 8 outputs are a vector of 16-bit
// lanes, three channels and one unused for each, and a lane first holds two bytes: those of the
// left and of the right tap. So a single permutation, or few where the taps lie far apart, fetches
// all that the outputs need of a row. The taps are blended as fixed_point.h says, then two rows
// with each other, and only the result is split into channels.

#include "letterbox/packed_rows.h"

#include <algorithm>

#include "letterbox/byte_permutation.h"
#include "letterbox/components.h"

namespace edgecv {
namespace {

constexpr std::ptrdiff_t kWindow = 64;  // bytes
constexpr std::size_t kOutputs = 8;     // of a group
constexpr std::ptrdiff_t kStep = 3;     // bytes of a pixel

// Beyond that many windows for 8 outputs, most of what they load is not wanted.
constexpr std::size_t kMaxWindows = 8;

// The bytes from the first tap of a group to behind the last.
struct Extent {
  std::ptrdiff_t begin, end;
};

// Columns beyond the last repeat it.
std::size_t ColumnOf(const Taps& columns, std::size_t group, std::size_t output) {
  return std::min(group * kOutputs + output, columns.size() - 1);
}

Extent ExtentOf(const Taps& columns, std::size_t group) {
  const std::size_t last = ColumnOf(columns, group, kOutputs - 1);
  return {columns.low[ColumnOf(columns, group, 0)] * kStep,
          ((columns.is_blended ? columns.high : columns.low)[last] + 1) * kStep};
}

std::size_t NumGroups(const Taps& columns) {
  return (columns.size() + 2 * kOutputs - 1) / (2 * kOutputs) * 2;
}

std::size_t NumWindows(const Taps& columns) {
  std::ptrdiff_t longest = 0;
  for (std::size_t g = 0; g < NumGroups(columns); ++g) {
    const Extent extent = ExtentOf(columns, g);
    longest = std::max(longest, extent.end - extent.begin);
  }
  return static_cast<std::size_t>((longest + kWindow - 1) / kWindow);
}

}  // namespace

bool PackedRows::Serve(const Frame& frame, const Taps& rows, const Taps& columns,
                       const Normalisation& norm, const Input& out) {
  return HasBytePermutation() && LayoutOf(frame.format).kind == Kind::kRgb &&
         norm.colour != Colour::kGray && out.type == ElementType::kFloat32 && !out.channels_last &&
         // Rows that several outputs sample are better kept.
         rows.low.back() - rows.low.front() >= static_cast<std::ptrdiff_t>(rows.size()) - 1 &&
         frame.width * kStep >= kWindow && NumWindows(columns) <= kMaxWindows;
}

PackedRows::PackedRows(const Frame& frame, const Taps& rows, const Taps& columns,
                       const Normalisation& norm)
    : plane_(frame.planes[0]), rows_(rows), num_columns_(columns.size()),
      num_windows_(NumWindows(columns)), is_blended_(columns.is_blended), bias_(norm.bias),
      groups_(NumGroups(columns)) {
  std::array<std::ptrdiff_t, 3> offset;
  for (std::size_t c = 0; c < 3; ++c) {
    gain_[c] = norm.gain[c] / (1 << kPixelBits);
    const std::size_t component = norm.colour == Colour::kBgr ? 2 - c : c;
    offset[c] = LayoutOf(frame.format).components[component].offset;
  }
  windows_.reserve(groups_.size() * num_windows_);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const std::ptrdiff_t begin = ExtentOf(columns, g).begin;
    Window* windows = windows_.data() + windows_.size();
    for (std::size_t w = 0; w < num_windows_; ++w) {
      const std::ptrdiff_t at = begin + static_cast<std::ptrdiff_t>(w) * kWindow;
      windows_.push_back({std::min(at, frame.width * kStep - kWindow), 0});
    }
    const auto place = [&](std::size_t lane_byte, std::ptrdiff_t at) {
      const auto w = static_cast<std::size_t>((at - begin) / kWindow);
      const std::ptrdiff_t second = w == 1 ? kWindow : 0;  // permuted together with the first
      groups_[g].places[lane_byte] = static_cast<std::uint8_t>(at - windows[w].begin + second);
      windows[w].taken |= std::uint64_t{1} << lane_byte;
    };
    for (std::size_t i = 0; i < kOutputs; ++i) {
      const std::size_t x = ColumnOf(columns, g, i);
      for (std::size_t c = 0; c < 3; ++c) {
        place(8 * i + 2 * c, columns.low[x] * kStep + offset[c]);
        if (is_blended_) place(8 * i + 2 * c + 1, columns.high[x] * kStep + offset[c]);
      }
      std::fill_n(groups_[g].weights.begin() + 4 * static_cast<std::ptrdiff_t>(i), 4,
                  columns.weight[x]);
    }
  }
}

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic push  // GCC 12's own header leaves the operands of unused lanes undefined
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
namespace {

EDGECV_TARGET_VBMI EDGECV_INLINE __m512i BlendLanes(__m512i a, __m512i difference,
                                                    __m512i weight) {
  return _mm512_add_epi16(a, _mm512_mulhrs_epi16(difference, weight));
}

}  // namespace

template <bool kIsBlended, std::size_t kNumWindows>
EDGECV_TARGET_VBMI void PackedRows::WriteRow(const Sources& sources,
                                             const std::array<float*, 3>& planes) const {
  // -64 and 64 for the taps of a lane: 128 is no signed byte, so their difference is Q6 at first.
  const __m512i minus_low_plus_high = _mm512_set1_epi16(0x40C0);
  const auto sample = [&](const std::uint8_t* row, const Group& group,
                          const Window* windows) EDGECV_TARGET_VBMI {
    const __m512i places = _mm512_load_si512(group.places.data());
    const __m512i first = _mm512_loadu_si512(row + windows[0].begin);
    __m512i taps;
    if constexpr (kNumWindows == 1) {
      taps = _mm512_permutexvar_epi8(places, first);
    } else {
      taps = _mm512_permutex2var_epi8(first, places, _mm512_loadu_si512(row + windows[1].begin));
      if constexpr (kNumWindows > 2)
        for (std::size_t w = 2; w < num_windows_; ++w)
          taps = _mm512_mask_permutexvar_epi8(taps, windows[w].taken, places,
                                              _mm512_loadu_si512(row + windows[w].begin));
    }
    const __m512i low = _mm512_srli_epi16(_mm512_slli_epi16(taps, 8), 8 - kPixelBits);
    if constexpr (kIsBlended) {
      const __m512i difference =
          _mm512_slli_epi16(_mm512_maddubs_epi16(taps, minus_low_plus_high), kPixelBits - 6);
      return BlendLanes(low, difference, _mm512_load_si512(group.weights.data()));
    } else {
      return low;
    }
  };
  const __m512i weight = _mm512_set1_epi16(sources.weight);
  const auto pixels = [&](std::size_t g) EDGECV_TARGET_VBMI {
    const Window* windows = windows_.data() + g * num_windows_;
    const __m512i above = sample(sources.above, groups_[g], windows);
    if (sources.weight == 0) return above;
    const __m512i below = sample(sources.below, groups_[g], windows);
    return BlendLanes(above, _mm512_sub_epi16(below, above), weight);
  };
  // The two bytes of channel 0 of each of 16 outputs, for lanes of 32 bits.
  const __m512i channel_0 = _mm512_set_epi32(
      0x7978, 0x7170, 0x6968, 0x6160, 0x5958, 0x5150, 0x4948, 0x4140, 0x3938, 0x3130, 0x2928,
      0x2120, 0x1918, 0x1110, 0x0908, 0x0100);
  constexpr __mmask64 kLowHalves = 0x3333333333333333;
  std::ptrdiff_t fetched = windows_.front().begin;
  for (std::size_t g = 0; g < groups_.size(); g += 2) {
    // Rows that are far apart are nothing that the processor foresees.
    for (; fetched <= windows_[(g + 2) * num_windows_ - 1].begin; fetched += kWindow) {
      __builtin_prefetch(sources.next_above + fetched);
      if (sources.weight != 0) __builtin_prefetch(sources.next_below + fetched);
    }
    const __m512i first = pixels(g), second = pixels(g + 1);
    const std::size_t x = g * kOutputs, rest = num_columns_ - x;
    const auto written = static_cast<__mmask16>(rest >= 16 ? 0xFFFF : (1u << rest) - 1);
    for (std::size_t c = 0; c < 3; ++c) {
      const __m512i places =
          _mm512_add_epi16(channel_0, _mm512_set1_epi32(static_cast<int>(c) * 0x0202));
      const __m512 values =
          _mm512_cvtepi32_ps(_mm512_maskz_permutex2var_epi8(kLowHalves, first, places, second));
      _mm512_mask_storeu_ps(planes[c] + x, written,
                            _mm512_add_ps(_mm512_mul_ps(values, _mm512_set1_ps(gain_[c])),
                                          _mm512_set1_ps(bias_[c])));
    }
  }
}

#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif

void PackedRows::Write(std::size_t k, const std::array<float*, 3>& planes) const {
  const std::size_t next = std::min(k + 1, rows_.size() - 1);
  const Sources sources{plane_.Row(rows_.low[k]), plane_.Row(rows_.high[k]),
                        plane_.Row(rows_.low[next]), plane_.Row(rows_.high[next]),
                        rows_.weight[k]};
  const auto write = [&](auto one, auto two, auto more) {
    (this->*(num_windows_ == 1 ? one : num_windows_ == 2 ? two : more))(sources, planes);
  };
  if (is_blended_)
    write(&PackedRows::WriteRow<true, 1>, &PackedRows::WriteRow<true, 2>,
          &PackedRows::WriteRow<true, kMaxWindows>);
  else
    write(&PackedRows::WriteRow<false, 1>, &PackedRows::WriteRow<false, 2>,
          &PackedRows::WriteRow<false, kMaxWindows>);
}
#else
void PackedRows::Write(std::size_t, const std::array<float*, 3>&) const {}  // never served
#endif

}  // namespace edgecv
