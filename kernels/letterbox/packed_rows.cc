// With AVX-512 VBMI one instruction picks from 64 or 128 bytes. 8 outputs are a vector of 16-bit
// lanes, three channels and one unused for each, and a lane first holds two bytes: those of the
// left and of the right tap. So a single permutation, or few where the taps lie far apart, fetches
// all that the outputs need of a row. The taps are blended as fixed_point.h says, then two rows
// with each other, and only the result is split into channels.

#include "letterbox/packed_rows.h"

#include <algorithm>

#include "letterbox/components.h"

namespace edgecv {
namespace {

constexpr std::size_t kOutputs = 8;  // of a group
constexpr std::ptrdiff_t kStep = 3;  // bytes of a pixel

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

std::ptrdiff_t Longest(const Taps& columns) {
  std::ptrdiff_t longest = 0;
  for (std::size_t g = 0; g < NumGroups(columns); ++g) {
    const Extent extent = ExtentOf(columns, g);
    longest = std::max(longest, extent.end - extent.begin);
  }
  return longest;
}

}  // namespace

bool PackedRows::Serve(const Frame& frame, const Taps& rows, const Taps& columns,
                       const Normalisation& norm, const Input& out) {
  return LayoutOf(frame.format).kind == Kind::kRgb && ServeFusedRows(rows, norm, out) &&
         frame.width * kStep >= ByteWindows::kBytes &&
         ByteWindows::NumWindows(Longest(columns)) <= ByteWindows::kMaxWindows;
}

PackedRows::PackedRows(const Frame& frame, const Taps& rows, const Taps& columns,
                       const Normalisation& norm)
    : plane_(frame.planes[0]), rows_(rows), num_columns_(columns.size()),
      blending_(BlendingOf(columns)), bias_(norm.bias), weights_(NumGroups(columns)),
      windows_(weights_.size(), 1, ByteWindows::NumWindows(Longest(columns))) {
  std::array<std::ptrdiff_t, 3> offset;
  for (std::size_t c = 0; c < 3; ++c) {
    gain_[c] = norm.gain[c] / (1 << kPixelBits);
    const std::size_t component = norm.colour == Colour::kBgr ? 2 - c : c;
    offset[c] = LayoutOf(frame.format).components[component].offset;
  }
  for (std::size_t g = 0; g < weights_.size(); ++g) {
    windows_.Begin(g, 0, ExtentOf(columns, g).begin, frame.width * kStep);
    for (std::size_t i = 0; i < kOutputs; ++i) {
      const std::size_t x = ColumnOf(columns, g, i);
      for (std::size_t c = 0; c < 3; ++c) {
        windows_.Place(g, 8 * i + 2 * c, 0, columns.low[x] * kStep + offset[c]);
        if (columns.is_blended)
          windows_.Place(g, 8 * i + 2 * c + 1, 0, columns.high[x] * kStep + offset[c]);
      }
      std::fill_n(weights_[g].lanes.begin() + 4 * static_cast<std::ptrdiff_t>(i), 4,
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
template <Blending kBlending, std::size_t kNumWindows>
EDGECV_TARGET_VBMI void PackedRows::WriteRow(const Sources& sources,
                                             const std::array<float*, 3>& planes) const {
  // -64 and 64 for the taps of a lane: 128 is no signed byte, so their difference is Q6 at first.
  const __m512i minus_low_plus_high = _mm512_set1_epi16(0x40C0);
  const __m512i halves = _mm512_set1_epi16(0x4040);  // of Q7: their sum is the mean
  const auto sample = [&](const std::uint8_t* row, std::size_t g) EDGECV_TARGET_VBMI {
    const __m512i taps = windows_.Pick<kNumWindows>({row, row}, g);
    if constexpr (kBlending == Blending::kMean) return _mm512_maddubs_epi16(taps, halves);
    const __m512i low = _mm512_srli_epi16(_mm512_slli_epi16(taps, 8), 8 - kPixelBits);
    if constexpr (kBlending == Blending::kNone) return low;
    const __m512i difference =
        _mm512_slli_epi16(_mm512_maddubs_epi16(taps, minus_low_plus_high), kPixelBits - 6);
    return BlendLanes(low, difference, _mm512_load_si512(weights_[g].lanes.data()));
  };
  const __m512i weight = _mm512_set1_epi16(sources.weight);
  const auto pixels = [&](std::size_t g) EDGECV_TARGET_VBMI {
    const __m512i above = sample(sources.above, g);
    if (sources.weight == 0) return above;
    const __m512i below = sample(sources.below, g);
    if (sources.weight == kHalf) return _mm512_avg_epu16(above, below);
    return BlendLanes(above, _mm512_sub_epi16(below, above), weight);
  };
  // The two bytes of channel 0 of each of 16 outputs, for lanes of 32 bits.
  const __m512i channel_0 = _mm512_set_epi32(
      0x7978, 0x7170, 0x6968, 0x6160, 0x5958, 0x5150, 0x4948, 0x4140, 0x3938, 0x3130, 0x2928,
      0x2120, 0x1918, 0x1110, 0x0908, 0x0100);
  constexpr __mmask64 kLowHalves = 0x3333333333333333;
  std::ptrdiff_t fetched = windows_.FirstBegin();
  for (std::size_t g = 0; g < weights_.size(); g += 2) {
    for (; fetched <= windows_.LastBegin(g + 1); fetched += ByteWindows::kBytes) {
      FetchLine(sources.next_above + fetched);
      if (sources.weight != 0) FetchLine(sources.next_below + fetched);
    }
    const __m512i first = pixels(g), second = pixels(g + 1);
    const std::size_t x = g * kOutputs, rest = num_columns_ - x;
    for (std::size_t c = 0; c < 3; ++c) {
      const __m512i places =
          _mm512_add_epi16(channel_0, _mm512_set1_epi32(static_cast<int>(c) * 0x0202));
      StoreFloats(_mm512_maskz_permutex2var_epi8(kLowHalves, first, places, second), gain_[c],
                  bias_[c], rest, planes[c] + x);
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
  const std::size_t num_windows = windows_.num_windows();
  const auto write = [&](auto one, auto two, auto several) {
    (this->*(num_windows == 1 ? one : num_windows == 2 ? two : several))(sources, planes);
  };
  constexpr std::size_t kSeveral = ByteWindows::kSeveral;
  switch (blending_) {
    case Blending::kNone:
      return write(&PackedRows::WriteRow<Blending::kNone, 1>,
                   &PackedRows::WriteRow<Blending::kNone, 2>,
                   &PackedRows::WriteRow<Blending::kNone, kSeveral>);
    case Blending::kMean:
      return write(&PackedRows::WriteRow<Blending::kMean, 1>,
                   &PackedRows::WriteRow<Blending::kMean, 2>,
                   &PackedRows::WriteRow<Blending::kMean, kSeveral>);
    case Blending::kWeighted:
      return write(&PackedRows::WriteRow<Blending::kWeighted, 1>,
                   &PackedRows::WriteRow<Blending::kWeighted, 2>,
                   &PackedRows::WriteRow<Blending::kWeighted, kSeveral>);
  }
}
#else
void PackedRows::Write(std::size_t, const std::array<float*, 3>&) const {}  // never served
#endif

}  // namespace edgecv
