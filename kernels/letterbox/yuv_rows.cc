// 32 outputs are a vector of 16-bit lanes, and few permutations bring into a lane the luma of its two
// taps, and U and V. Neighbouring pixels mostly share a sample of chroma: what it adds to red, green
// and blue is then computed once for two or four of them.

#include "letterbox/yuv_rows.h"

#include <algorithm>

namespace edgecv {
namespace {

using Columns = std::vector<std::int32_t>;

constexpr std::size_t kOutputs = 32;      // of a group
constexpr std::size_t kLeastWindows = 2;  // of a group: as many as one instruction permutes

// Outputs x and x + 16 share 32 bits, from which masking and shifting part them. Columns beyond the
// last repeat it.
std::size_t ColumnOf(std::size_t num_columns, std::size_t group, std::size_t lane) {
  return std::min(group * kOutputs + lane / 2 + lane % 2 * (kOutputs / 2), num_columns - 1);
}

std::size_t NumGroups(const Columns& taps) { return (taps.size() + kOutputs - 1) / kOutputs; }

const Columns& RightTaps(const Taps& columns) {
  return columns.is_blended ? columns.high : columns.low;
}

// The bytes that a group needs of a row that holds these components, which are one or U and V.
struct Extent {
  std::ptrdiff_t begin, end;
};

std::ptrdiff_t PlaceOf(const Component& component, std::ptrdiff_t x) {
  return (x >> component.shift_x) * component.step + component.offset;
}

Extent ExtentOf(const Component& first, const Component& last, const Columns& low,
                const Columns& high, std::size_t group) {
  return {PlaceOf(first, low[ColumnOf(low.size(), group, 0)]),
          PlaceOf(last, high[ColumnOf(high.size(), group, kOutputs - 1)]) + 1};
}

// As many as hold what any group needs of such a row.
std::size_t NumWindows(const Component& first, const Component& last, const Columns& low,
                       const Columns& high) {
  std::ptrdiff_t longest = 0;
  for (std::size_t g = 0; g < NumGroups(low); ++g) {
    const Extent extent = ExtentOf(first, last, low, high, g);
    longest = std::max(longest, extent.end - extent.begin);
  }
  return ByteWindows::NumWindows(longest);
}

// Of a row, up to the last that the component has.
std::ptrdiff_t RowBytes(const Frame& frame, const Component& component) {
  return PlaceOf(component, frame.width - 1) + 1;
}

// U and V lie in one row or in two alike.
std::size_t NumChromaRows(const FormatLayout& layout) {
  return layout.components[1].plane == layout.components[2].plane ? 1 : 2;
}

// What the windows of a chroma row end with; they begin with U, or in a row of V as if it were U.
const Component& LastOfChroma(const FormatLayout& layout) {
  return layout.components[NumChromaRows(layout) == 1 ? 2 : 1];
}

}  // namespace

bool YuvRows::Serve(const Frame& frame, const Taps& rows, const Taps& columns,
                    const Normalisation& norm, const Input& out) {
  const FormatLayout layout = LayoutOf(frame.format);
  if (layout.kind != Kind::kYuv || !ServeFusedRows(rows, norm, out)) return false;
  const auto& [y, u, v] = layout.components;
  const auto fits = [&](const Component& first, const Component& last, std::size_t num_rows) {
    return RowBytes(frame, last) >= ByteWindows::kBytes &&
           num_rows * NumWindows(first, last, columns.low, RightTaps(columns)) <=
               ByteWindows::kMaxWindows;
  };
  return fits(y, y, 1) && fits(u, LastOfChroma(layout), NumChromaRows(layout));
}

YuvRows::YuvRows(const Frame& frame, const Taps& rows, const Taps& columns,
                 const Normalisation& norm)
    : frame_(frame), layout_(LayoutOf(frame.format)), rows_(rows),
      factors_(FactorsOf(frame.matrix, frame.range)), num_columns_(columns.size()),
      is_bgr_(norm.colour == Colour::kBgr), blending_(BlendingOf(columns)),
      weights_(NumGroups(columns.low)),
      luma_(weights_.size(), 1,
            std::max(NumWindows(layout_.components[0], layout_.components[0], columns.low,
                                RightTaps(columns)),
                     kLeastWindows)) {
  for (std::size_t c = 0; c < 3; ++c) {
    const std::size_t channel = is_bgr_ ? 2 - c : c;
    gain_[c] = norm.gain[channel] / (1 << kPixelBits);
    bias_[c] = norm.bias[channel];
  }
  const Component& y = layout_.components[0];
  for (std::size_t g = 0; g < weights_.size(); ++g) {
    luma_.Begin(g, 0, ExtentOf(y, y, columns.low, RightTaps(columns), g).begin,
                RowBytes(frame, y));
    for (std::size_t lane = 0; lane < kOutputs; ++lane) {
      const std::size_t x = ColumnOf(num_columns_, g, lane);
      weights_[g].lanes[lane] = columns.weight[x];
      luma_.Place(g, 2 * lane, 0, PlaceOf(y, columns.low[x]));
      if (columns.is_blended) luma_.Place(g, 2 * lane + 1, 0, PlaceOf(y, columns.high[x]));
    }
  }
  PlaceChroma(columns.low);
  bool shares_chroma = true;
  for (std::size_t x = 0; x < num_columns_; ++x)
    shares_chroma &= columns.weight[x] == 0 || PlaceOf(layout_.components[1], columns.low[x]) ==
                                                  PlaceOf(layout_.components[1], columns.high[x]);
  if (columns.is_blended && !shares_chroma) PlaceChroma(columns.high);
  are_two_windows_ = luma_.num_windows() == 2;
  for (const ByteWindows& chroma : chroma_) are_two_windows_ &= chroma.num_windows() == 2;
}

void YuvRows::PlaceChroma(const Columns& taps) {
  const Component &u = layout_.components[1], &v = layout_.components[2];
  const Component& last = LastOfChroma(layout_);
  const std::size_t num_rows = NumChromaRows(layout_);
  ByteWindows& chroma =
      chroma_.emplace_back(weights_.size(), num_rows,
                           std::max(NumWindows(u, last, taps, taps), kLeastWindows / num_rows));
  for (std::size_t g = 0; g < weights_.size(); ++g) {
    for (std::size_t row = 0; row < num_rows; ++row)
      chroma.Begin(g, row, ExtentOf(u, last, taps, taps, g).begin, RowBytes(frame_, last));
    for (std::size_t lane = 0; lane < kOutputs; ++lane) {
      const std::size_t x = ColumnOf(num_columns_, g, lane);
      chroma.Place(g, 2 * lane, 0, PlaceOf(u, taps[x]));
      chroma.Place(g, 2 * lane + 1, num_rows - 1, PlaceOf(v, taps[x]));
    }
  }
}

YuvRows::Source YuvRows::SourceAt(std::ptrdiff_t y) const {
  const auto row = [&](std::size_t c) {
    const Component& component = layout_.components[c];
    return frame_.planes[component.plane].Row(y >> component.shift_y);
  };
  return {{row(0), row(0)}, {row(1), row(2)}};
}

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic push  // GCC 12's own header leaves the operands of unused lanes undefined
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
namespace {

EDGECV_TARGET_VBMI EDGECV_INLINE __m512i Product(__m512i value, std::int16_t factor) {
  return _mm512_mulhrs_epi16(value, _mm512_set1_epi16(factor));
}

struct Rgb {
  __m512i r, g, b;
};

// What chroma adds to luma, in Q5.
EDGECV_TARGET_VBMI EDGECV_INLINE Rgb TermsOf(__m512i chroma, const YuvFactors& factors) {
  const __m512i high_bytes = _mm512_set1_epi16(static_cast<std::int16_t>(0xFF00));
  const __m512i centre = _mm512_set1_epi16(static_cast<std::int16_t>(0x8000));
  const __m512i u = _mm512_xor_si512(_mm512_slli_epi16(chroma, 8), centre);
  const __m512i v = _mm512_xor_si512(_mm512_and_si512(chroma, high_bytes), centre);
  return {Product(v, factors.v_to_r),
          _mm512_add_epi16(Product(u, factors.u_to_g), Product(v, factors.v_to_g)),
          Product(u, factors.u_to_b)};
}

// In Q5. `which` holds 64 for the one byte of a lane that is wanted: Q6, since 128 is no signed byte,
// for which the factor is doubled.
EDGECV_TARGET_VBMI EDGECV_INLINE __m512i LumaOf(__m512i taps, std::int16_t which,
                                                const YuvFactors& factors) {
  return Product(_mm512_maddubs_epi16(taps, _mm512_set1_epi16(which)),
                 static_cast<std::int16_t>(2 * factors.luma));
}

EDGECV_TARGET_VBMI EDGECV_INLINE __m512i ColourOf(__m512i luma, __m512i term) {
  const __m512i sum = _mm512_add_epi16(luma, term);
  const __m512i clamped = _mm512_min_epi16(_mm512_max_epi16(sum, _mm512_setzero_si512()),
                                           _mm512_set1_epi16(kYuvMax));
  return _mm512_slli_epi16(clamped, kPixelBits - kYuvBits);
}

EDGECV_TARGET_VBMI EDGECV_INLINE Rgb ColoursOf(__m512i luma, const Rgb& terms) {
  return {ColourOf(luma, terms.r), ColourOf(luma, terms.g), ColourOf(luma, terms.b)};
}

EDGECV_TARGET_VBMI EDGECV_INLINE Rgb MeanRgb(const Rgb& a, const Rgb& b) {
  return {_mm512_avg_epu16(a.r, b.r), _mm512_avg_epu16(a.g, b.g), _mm512_avg_epu16(a.b, b.b)};
}

EDGECV_TARGET_VBMI EDGECV_INLINE Rgb BlendRgb(const Rgb& a, const Rgb& b, __m512i weight) {
  return {BlendLanes(a.r, _mm512_sub_epi16(b.r, a.r), weight),
          BlendLanes(a.g, _mm512_sub_epi16(b.g, a.g), weight),
          BlendLanes(a.b, _mm512_sub_epi16(b.b, a.b), weight)};
}

}  // namespace

template <Blending kBlending, bool kSharesChroma, std::size_t kNumWindows>
EDGECV_TARGET_VBMI void YuvRows::WriteRow(const Sources& sources,
                                          const std::array<float*, 3>& rgb) const {
  const YuvFactors factors = factors_;
  const __m512i black = _mm512_set1_epi8(static_cast<char>(factors.black));
  const __m512i row_weight = _mm512_set1_epi16(sources.weight);
  const auto terms = [&](const Source& source, std::size_t tap, std::size_t g) EDGECV_TARGET_VBMI {
    return TermsOf(chroma_[tap].Pick<kNumWindows>(source.chroma, g), factors);
  };
  const auto sample = [&](const Source& source, const Rgb& left, const Rgb& right,
                          std::size_t g) EDGECV_TARGET_VBMI {
    const __m512i taps = _mm512_subs_epu8(luma_.Pick<kNumWindows>(source.luma, g), black);
    const Rgb low = ColoursOf(LumaOf(taps, 0x0040, factors), left);
    if constexpr (kBlending == Blending::kNone) return low;
    const Rgb high = ColoursOf(LumaOf(taps, 0x4000, factors), right);
    if constexpr (kBlending == Blending::kMean) return MeanRgb(low, high);
    return BlendRgb(low, high, _mm512_load_si512(weights_[g].lanes.data()));
  };
  const auto blend_rows = [&](const Rgb& above, const Rgb& below) EDGECV_TARGET_VBMI {
    return sources.weight == kHalf ? MeanRgb(above, below) : BlendRgb(above, below, row_weight);
  };
  const auto right_terms = [&](const Source& source, const Rgb& left,
                               std::size_t g) EDGECV_TARGET_VBMI {
    if constexpr (kSharesChroma) return left;
    return terms(source, 1, g);
  };
  const __m512i low_halves = _mm512_set1_epi32(0xFFFF);
  const auto store = [&, num_columns = num_columns_](__m512i colour, std::size_t c, std::size_t g)
                         EDGECV_TARGET_VBMI {
    const std::size_t x = g * kOutputs, rest = num_columns - x;
    float* out = rgb[c] + x;
    StoreFloats(_mm512_and_si512(colour, low_halves), gain_[c], bias_[c], rest, out);
    if (rest > 16)
      StoreFloats(_mm512_srli_epi32(colour, 16), gain_[c], bias_[c], rest - 16, out + 16);
  };
  for (std::size_t g = 0; g < weights_.size(); ++g) {
    luma_.Fetch<kNumWindows>(sources.next_above.luma, g);
    chroma_[0].Fetch<kNumWindows>(sources.next_above.chroma, g);
    Rgb left = terms(sources.above, 0, g);
    Rgb right = right_terms(sources.above, left, g);
    Rgb colours = sample(sources.above, left, right, g);
    if (sources.weight != 0) {
      luma_.Fetch<kNumWindows>(sources.next_below.luma, g);
      if (!sources.share_chroma) {
        chroma_[0].Fetch<kNumWindows>(sources.next_below.chroma, g);
        left = terms(sources.below, 0, g);
        right = right_terms(sources.below, left, g);
      }
      colours = blend_rows(colours, sample(sources.below, left, right, g));
    }
    store(colours.r, 0, g);
    store(colours.g, 1, g);
    store(colours.b, 2, g);
  }
}

#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif

template <Blending kBlending>
void YuvRows::WriteBlended(const Sources& sources, const std::array<float*, 3>& rgb) const {
  constexpr std::size_t kSeveral = ByteWindows::kSeveral;
  const auto write = [&](auto two, auto several) {
    (this->*(are_two_windows_ ? two : several))(sources, rgb);
  };
  if (chroma_.size() == 1)
    write(&YuvRows::WriteRow<kBlending, true, 2>, &YuvRows::WriteRow<kBlending, true, kSeveral>);
  else
    write(&YuvRows::WriteRow<kBlending, false, 2>, &YuvRows::WriteRow<kBlending, false, kSeveral>);
}

void YuvRows::Write(std::size_t k, const std::array<float*, 3>& planes) const {
  const std::size_t next = std::min(k + 1, rows_.size() - 1);
  const int shift_y = layout_.components[1].shift_y;
  const Sources sources{SourceAt(rows_.low[k]),    SourceAt(rows_.high[k]),
                        SourceAt(rows_.low[next]), SourceAt(rows_.high[next]), rows_.weight[k],
                        rows_.low[k] >> shift_y == rows_.high[k] >> shift_y};
  const std::array rgb{planes[is_bgr_ ? 2 : 0], planes[1], planes[is_bgr_ ? 0 : 2]};
  switch (blending_) {
    case Blending::kNone: return WriteBlended<Blending::kNone>(sources, rgb);
    case Blending::kMean: return WriteBlended<Blending::kMean>(sources, rgb);
    case Blending::kWeighted: return WriteBlended<Blending::kWeighted>(sources, rgb);
  }
}
#else
void YuvRows::Write(std::size_t, const std::array<float*, 3>&) const {}  // never served
#endif

}  // namespace edgecv
