// Four neighbouring pixels of an output row, in the colours of the output and before normalisation:
// what one thread of letterbox.cu computes of a frame.
//
// A `Sampler` is made for four columns; `Sample(row_k, quad)` sets `quad` to their values in row
// `row_k`, both counted from the corner of the resized frame, which must have them.
#pragma once

#include "common/launch.cuh"
#include "letterbox/fit.cuh"

namespace edgecv::fitting {

template <Source kSource>
struct PixelOf {
  float values[NumColours(kSource)];
};

struct SourceRow {
  const std::uint8_t* planes[3];
};

template <Source kSource>
__device__ __forceinline__ SourceRow RowOf(const Fit& fit, const FittedFrame& frame,
                                           std::int32_t y) {
  SourceRow row;
  row.planes[0] = frame.planes[0] + y * frame.row_strides[0];
  if constexpr (HasChroma(kSource)) {
    const std::int32_t chroma_y = y >> fit.chroma_shift_y;
    row.planes[1] = frame.planes[1] + chroma_y * frame.row_strides[1];
    if constexpr (kSource == Source::kYuv)
      row.planes[2] = frame.planes[2] + chroma_y * frame.row_strides[2];
  }
  return row;
}

// Offsets in a row are unsigned: the upper half of an address that is a signed one away takes a
// register of its own.
__device__ __forceinline__ float ByteAt(const std::uint8_t* row, std::uint32_t at) {
  return static_cast<float>(__ldg(row + at));
}

// The colour of pixel `x`.
template <Source kSource>
__device__ __forceinline__ PixelOf<kSource> ColourAt(const Fit& fit, const SourceRow& row,
                                                    std::uint32_t x) {
  if constexpr (kSource == Source::kPacked || kSource == Source::kPackedGray) {
    const float first = ByteAt(row.planes[0], 3 * x + fit.channel_byte[0]);
    const float second = ByteAt(row.planes[0], 3 * x + fit.channel_byte[1]);
    const float third = ByteAt(row.planes[0], 3 * x + fit.channel_byte[2]);
    if constexpr (kSource == Source::kPackedGray) return {{GrayOf(first, second, third)}};
    else return {{first, second, third}};
  } else {
    const float luma = ByteAt(row.planes[0], x * fit.luma_step);
    if constexpr (HasChroma(kSource)) {
      Chroma chroma;
      if constexpr (kSource == Source::kNv12) {
        const auto* pairs = reinterpret_cast<const std::uint16_t*>(row.planes[1]);
        const unsigned pair = __ldg(pairs + (x >> 1));
        chroma = {static_cast<float>(pair >> fit.first_chroma_bit & 0xff),
                  static_cast<float>(pair >> (8 - fit.first_chroma_bit) & 0xff)};
      } else {
        const std::uint32_t at = (x >> 1) * fit.chroma_step;
        chroma = {ByteAt(row.planes[1], at), ByteAt(row.planes[2], at)};
      }
      const Rgb rgb = ColoursOf(luma, chroma, fit.factors);
      return {{rgb.channels[0], rgb.channels[1], rgb.channels[2]}};
    } else {
      return {{GrayOfLuma(luma, fit.factors.black, fit.factors.luma)}};
    }
  }
}

template <Source kSource>
__device__ __forceinline__ PixelOf<kSource> BlendPixels(PixelOf<kSource> a,
                                                        const PixelOf<kSource>& b, float weight) {
  for (int c = 0; c < NumColours(kSource); ++c)
    a.values[c] = Blend(a.values[c], b.values[c], weight);
  return a;
}

template <Source kSource>
using Quad = PixelOf<kSource>[kQuad];

template <Source kSource, bool kBlendsRows, bool kBlendsColumns>
__device__ __forceinline__ void BlendQuad(const Fit& fit, const FittedFrame& frame, const Tap& row,
                                          const Tap (&columns)[kQuad], Quad<kSource>& quad) {
  const SourceRow low = RowOf<kSource>(fit, frame, row.low);
  const SourceRow high = RowOf<kSource>(fit, frame, row.high);
  for (unsigned i = 0; i < kQuad; ++i) {
    const Tap column = columns[i];
    const auto of_row = [&](const SourceRow& source) {
      const auto left = ColourAt<kSource>(fit, source, column.low);
      if constexpr (!kBlendsColumns) return left;
      else return BlendPixels(left, ColourAt<kSource>(fit, source, column.high), column.weight);
    };
    quad[i] = of_row(low);
    if constexpr (kBlendsRows) quad[i] = BlendPixels(quad[i], of_row(high), row.weight);
  }
}

template <Source kSource, Method kMethod>
class Sampler {
 public:
  // Of four columns of the resized frame.
  __device__ __forceinline__ Sampler(const Fit& fit, const FittedFrame& frame,
                                     const std::int32_t (&columns)[kQuad])
      : fit_(fit), frame_(frame), blends_(false) {
    for (unsigned i = 0; i < kQuad; ++i) {
      columns_[i] = TapAt(frame.columns, columns[i]);
      blends_ |= columns_[i].weight != 0.0f;
    }
  }

  __device__ __forceinline__ void Sample(std::int32_t row_k, Quad<kSource>& quad) const {
    const Tap row = TapAt(frame_.rows, row_k);
    if (row.weight != 0.0f) {
      if (blends_) BlendQuad<kSource, true, true>(fit_, frame_, row, columns_, quad);
      else BlendQuad<kSource, true, false>(fit_, frame_, row, columns_, quad);
    } else {
      if (blends_) BlendQuad<kSource, false, true>(fit_, frame_, row, columns_, quad);
      else BlendQuad<kSource, false, false>(fit_, frame_, row, columns_, quad);
    }
  }

 private:
  __device__ __forceinline__ static Tap TapAt(const SampledAxis& axis, std::int32_t k) {
    if constexpr (kMethod == Method::kReach) return ReachTap(axis, k);
    else return BilinearTap(axis, k);
  }

  const Fit& fit_;
  const FittedFrame& frame_;
  Tap columns_[kQuad];
  bool blends_;
};

// The thread that makes a pixel reads what it covers, each row once for the four.
template <Source kSource>
class Sampler<kSource, Method::kMean> {
 public:
  __device__ __forceinline__ Sampler(const Fit& fit, const FittedFrame& frame,
                                     const std::int32_t (&columns)[kQuad])
      : fit_(fit), frame_(frame) {
    for (unsigned i = 0; i < kQuad; ++i) columns_[i] = MeanSpan(frame.columns, columns[i]);
    // Means are rounded to 1 / 128 of a pixel value, as the processor's: an area of one colour is
    // that colour, however its weights were rounded.
    per_unit_ = 128.0f * 255.0f / White(kSource) /
                (InPixels(frame.columns.step) * InPixels(frame.rows.step));
  }

  __device__ __forceinline__ void Sample(std::int32_t row_k, Quad<kSource>& quad) const {
    const Span rows = MeanSpan(frame_.rows, row_k);
    for (unsigned i = 0; i < kQuad; ++i) quad[i] = {};
    for (std::int32_t y = rows.first; y <= rows.last; ++y) {
      const SourceRow row = RowOf<kSource>(fit_, frame_, y);
      for (unsigned i = 0; i < kQuad; ++i) {
        PixelOf<kSource> sum = {};
        for (std::int32_t x = columns_[i].first; x <= columns_[i].last; ++x)
          AddWeighted(ColourAt<kSource>(fit_, row, x), columns_[i].WeightOf(x), sum);
        AddWeighted(sum, rows.WeightOf(y), quad[i]);
      }
    }
    for (unsigned i = 0; i < kQuad; ++i)
      for (float& value : quad[i].values)
        value = rintf(value * per_unit_) * (White(kSource) / (128.0f * 255.0f));
  }

 private:
  __device__ __forceinline__ static void AddWeighted(const PixelOf<kSource>& colour, float weight,
                                                     PixelOf<kSource>& sum) {
    for (int c = 0; c < NumColours(kSource); ++c)
      sum.values[c] = FusedMultiplyAdd(weight, colour.values[c], sum.values[c]);
  }

  const Fit& fit_;
  const FittedFrame& frame_;
  Span columns_[kQuad];
  float per_unit_;
};

}  // namespace edgecv::fitting
