#include "letterbox/row_sampler.h"

#include <algorithm>

#include "common/simd.h"
#include "letterbox/demosaic.h"
#include "letterbox/gray_factors.h"
#include "letterbox/yuv_factors.h"

namespace edgecv {
namespace {

// The samples of a component at the taps. `high` is `low` where the taps do not blend: the blend
// then changes nothing and its result is thrown away with `weight` null.
struct Samples {
  const std::uint8_t* low;
  const std::uint8_t* high;
};

EDGECV_INLINE
void BlendBytes(Samples samples, const Weight* __restrict__ weight, std::size_t count,
                Pixel* __restrict__ out) {
  const std::uint8_t* __restrict__ low = samples.low;
  const std::uint8_t* __restrict__ high = samples.high;
  if (weight == nullptr) {
    for (std::size_t x = 0; x < count; ++x) out[x] = FromByte(low[x]);
  } else {
    for (std::size_t x = 0; x < count; ++x)
      out[x] = Blend(FromByte(low[x]), FromByte(high[x]), weight[x]);
  }
}

EDGECV_INLINE std::int16_t Clamped(std::int16_t value) {
  const std::int16_t floored = value < 0 ? std::int16_t{0} : value;
  return floored > kYuvMax ? kYuvMax : floored;
}

EDGECV_INLINE Pixel FromYuv(std::int16_t value) {
  return static_cast<Pixel>(Clamped(value) << (kPixelBits - kYuvBits));
}

EDGECV_INLINE std::int16_t LumaTerm(std::uint8_t y, YuvFactors factors) {
  const auto above_black = static_cast<std::int16_t>(y - factors.black);
  const std::int16_t kept = above_black < 0 ? std::int16_t{0} : above_black;
  return MultiplyHigh(static_cast<std::int16_t>(kept << 7), factors.luma);
}

EDGECV_INLINE std::int16_t Centred(std::uint8_t chroma) {  // Q8
  return static_cast<std::int16_t>((chroma - 128) * 256);
}

EDGECV_INLINE Pixel Red(std::int16_t luma, std::int16_t v, YuvFactors factors) {
  return FromYuv(static_cast<std::int16_t>(luma + MultiplyHigh(v, factors.v_to_r)));
}

EDGECV_INLINE Pixel Green(std::int16_t luma, std::int16_t u, std::int16_t v, YuvFactors factors) {
  return FromYuv(static_cast<std::int16_t>(luma + MultiplyHigh(u, factors.u_to_g) +
                                           MultiplyHigh(v, factors.v_to_g)));
}

EDGECV_INLINE Pixel Blue(std::int16_t luma, std::int16_t u, YuvFactors factors) {
  return FromYuv(static_cast<std::int16_t>(luma + MultiplyHigh(u, factors.u_to_b)));
}

// Each tap's pixel is converted and clamped before the two are blended.
EDGECV_INLINE
void BlendYuv(const std::array<Samples, 3>* samples, YuvFactors factors,
              const Weight* __restrict__ weight, std::size_t count,
              const std::array<Pixel*, 3>* rows) {
  const std::uint8_t* __restrict__ y0 = (*samples)[0].low;
  const std::uint8_t* __restrict__ u0 = (*samples)[1].low;
  const std::uint8_t* __restrict__ v0 = (*samples)[2].low;
  const std::uint8_t* __restrict__ y1 = (*samples)[0].high;
  const std::uint8_t* __restrict__ u1 = (*samples)[1].high;
  const std::uint8_t* __restrict__ v1 = (*samples)[2].high;
  Pixel* __restrict__ red = (*rows)[0];
  Pixel* __restrict__ green = (*rows)[1];
  Pixel* __restrict__ blue = (*rows)[2];
  if (weight == nullptr) {
    EDGECV_INDEPENDENT
    for (std::size_t x = 0; x < count; ++x) {
      const std::int16_t y = LumaTerm(y0[x], factors), u = Centred(u0[x]), v = Centred(v0[x]);
      red[x] = Red(y, v, factors);
      green[x] = Green(y, u, v, factors);
      blue[x] = Blue(y, u, factors);
    }
    return;
  }
  EDGECV_INDEPENDENT
  for (std::size_t x = 0; x < count; ++x) {
    const std::int16_t ya = LumaTerm(y0[x], factors), ua = Centred(u0[x]), va = Centred(v0[x]);
    const std::int16_t yb = LumaTerm(y1[x], factors), ub = Centred(u1[x]), vb = Centred(v1[x]);
    red[x] = Blend(Red(ya, va, factors), Red(yb, vb, factors), weight[x]);
    green[x] = Blend(Green(ya, ua, va, factors), Green(yb, ub, vb, factors), weight[x]);
    blue[x] = Blend(Blue(ya, ua, factors), Blue(yb, ub, factors), weight[x]);
  }
}

EDGECV_INLINE
void BlendLuma(Samples samples, YuvFactors factors, const Weight* __restrict__ weight,
               std::size_t count, Pixel* __restrict__ out) {
  const std::uint8_t* __restrict__ low = samples.low;
  const std::uint8_t* __restrict__ high = samples.high;
  if (weight == nullptr) {
    for (std::size_t x = 0; x < count; ++x) out[x] = FromYuv(LumaTerm(low[x], factors));
  } else {
    for (std::size_t x = 0; x < count; ++x)
      out[x] = Blend(FromYuv(LumaTerm(low[x], factors)), FromYuv(LumaTerm(high[x], factors)),
                     weight[x]);
  }
}

EDGECV_INLINE
void Gray(const std::array<Pixel*, 3>* rgb, std::size_t count, Pixel* __restrict__ out) {
  const Pixel* __restrict__ red = (*rgb)[0];
  const Pixel* __restrict__ green = (*rgb)[1];
  const Pixel* __restrict__ blue = (*rgb)[2];
  for (std::size_t x = 0; x < count; ++x) {
    const std::int32_t sum = red[x] * kRedInGray + green[x] * kGreenInGray + blue[x] * kBlueInGray;
    out[x] = static_cast<Pixel>((sum + (1 << (kGrayBits - 1))) >> kGrayBits);
  }
}

}  // namespace

RowSampler::RowSampler(const Frame& frame, Colour colour, Taps taps)
    : frame_(frame), layout_(LayoutOf(frame.format)), taps_(std::move(taps)),
      is_bgr_(colour == Colour::kBgr && layout_.kind != Kind::kGray), first_column_(0),
      mosaic_columns_(0) {
  const bool is_gray = colour == Colour::kGray || layout_.kind == Kind::kGray;
  const bool has_luma = layout_.kind == Kind::kGray || layout_.kind == Kind::kYuv;
  num_channels_ = is_gray ? 1 : 3;
  num_components_ = is_gray && has_luma ? 1 : 3;

  if (layout_.kind == Kind::kBayer) {
    const std::ptrdiff_t last = taps_.is_blended ? taps_.high.back() : taps_.low.back();
    // A column at the edge repeats its neighbour, which must be among the demosaiced.
    first_column_ = std::min<std::ptrdiff_t>(taps_.low.front(), frame.width - 2);
    mosaic_columns_ = std::max<std::ptrdiff_t>(last, 1) + 1 - first_column_;
  }
  for (std::size_t plane = 0; plane < 3; ++plane) {
    std::vector<Stream> streams;
    std::vector<std::vector<std::int32_t>> index;
    int shift_y = 0;
    for (std::size_t c = 0; c < num_components_; ++c) {
      const Component& component = layout_.components[c];
      if (component.plane != plane) continue;
      shift_y = component.shift_y;
      for (const bool is_high : {false, true}) {
        if (is_high && !taps_.is_blended) continue;
        streams.push_back({c, is_high});
        index.push_back(is_high ? taps_.high : taps_.low);
        for (std::int32_t& x : index.back())
          x = static_cast<std::int32_t>(((x - first_column_) >> component.shift_x) *
                                            component.step + component.offset);
      }
    }
    if (!streams.empty())
      row_plans_.push_back({plane, shift_y, std::move(streams), GatherPlan(std::move(index))});
  }
}

RowSampler::Scratch RowSampler::MakeScratch() const {
  Scratch scratch;
  for (std::size_t c = 0; c < num_components_; ++c) {
    scratch.low[c].resize(GatherRoom(num_columns()));
    if (taps_.is_blended) scratch.high[c].resize(GatherRoom(num_columns()));
    scratch.mosaic[c].resize(static_cast<std::size_t>(mosaic_columns_));
    if (num_channels_ < num_components_) scratch.colours[c].resize(num_columns());
  }
  return scratch;
}

void RowSampler::GatherSamples(std::ptrdiff_t y, std::ptrdiff_t upcoming,
                               Scratch& scratch) const {
  if (layout_.kind == Kind::kBayer)
    DemosaicRow(frame_, y, first_column_, mosaic_columns_,
                {scratch.mosaic[0].data(), scratch.mosaic[1].data(), scratch.mosaic[2].data()});
  for (const RowPlan& row_plan : row_plans_) {
    const auto row_at = [&](std::ptrdiff_t at) {
      return layout_.kind == Kind::kBayer ? scratch.mosaic[row_plan.plane].data()
                                          : frame_.planes[row_plan.plane].Row(at >> row_plan.shift_y);
    };
    Streams out{};
    for (std::size_t s = 0; s < row_plan.streams.size(); ++s) {
      const Stream& stream = row_plan.streams[s];
      out[s] = (stream.is_high ? scratch.high : scratch.low)[stream.component].data();
    }
    row_plan.plan.Gather(row_at(y), row_at(upcoming), out);
  }
}

void RowSampler::Sample(std::ptrdiff_t y, std::ptrdiff_t upcoming, Scratch& scratch,
                        const std::array<Pixel*, 3>& rows) const {
  const std::array<Pixel*, 3> rgb = is_bgr_ ? std::array{rows[2], rows[1], rows[0]} : rows;
  GatherSamples(y, upcoming, scratch);
  const Weight* weight = taps_.is_blended ? taps_.weight.data() : nullptr;
  std::array<Samples, 3> samples;
  for (std::size_t c = 0; c < 3; ++c) samples[c] = {scratch.low[c].data(), scratch.high[c].data()};
  const std::size_t count = num_columns();

  if (layout_.kind == Kind::kYuv) {
    const YuvFactors factors = FactorsOf(frame_.matrix, frame_.range);
    if (num_channels_ == 1)
      Dispatch<BlendLuma>(samples[0], factors, weight, count, rows[0]);
    else
      Dispatch<BlendYuv>(&samples, factors, weight, count, &rgb);
  } else if (num_channels_ == num_components_) {
    for (std::size_t c = 0; c < num_channels_; ++c)
      Dispatch<BlendBytes>(samples[c], weight, count, rgb[c]);
  } else {
    std::array<Pixel*, 3> colours;
    for (std::size_t c = 0; c < 3; ++c) {
      colours[c] = scratch.colours[c].data();
      Dispatch<BlendBytes>(samples[c], weight, count, colours[c]);
    }
    Dispatch<Gray>(&colours, count, rows[0]);
  }
}

}  // namespace edgecv
