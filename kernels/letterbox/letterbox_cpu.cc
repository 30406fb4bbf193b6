// CPU implementation of letterbox.h. For each output row the two source rows are blended first,
// over the frame's whole width, then sampled horizontally: the blend runs at full vector width on
// contiguous bytes, and the gather that cannot is done once per output value instead of twice.

#include "letterbox/letterbox.h"

#include <algorithm>
#include <vector>

#include "common/simd.h"

namespace edgecv {
namespace {

// Where one output coordinate samples a source axis: low + weight * (high - low).
struct Tap {
  std::int32_t low, high;
  float weight;
};

// double: a side of 6 million (a one-pixel strip, centre-cropped) still has exact half pixels.
Tap TapAt(std::ptrdiff_t position, std::ptrdiff_t resized, std::ptrdiff_t source) {
  const double centre = (static_cast<double>(position) + 0.5) * static_cast<double>(source) /
                            static_cast<double>(resized) -
                        0.5;
  const double clamped = std::clamp(centre, 0.0, static_cast<double>(source - 1));
  const auto low = static_cast<std::int32_t>(clamped);
  const auto high = static_cast<std::int32_t>(std::min<std::ptrdiff_t>(low + 1, source - 1));
  return {low, high, static_cast<float>(clamped - low)};
}

EDGECV_INLINE
void Fit(const Frame* source_frame, const FramePlacement* where, const Normalisation* how,
         std::ptrdiff_t out_height, std::ptrdiff_t out_width, float* out) {
  const Frame& frame = *source_frame;
  const FramePlacement& placement = *where;
  const Normalisation& norm = *how;
  const std::ptrdiff_t plane = out_height * out_width;
  const auto inside = [](std::ptrdiff_t value, std::ptrdiff_t limit) {
    return std::clamp(value, std::ptrdiff_t{0}, limit);
  };
  const std::ptrdiff_t left = inside(placement.offset_x, out_width);
  const std::ptrdiff_t right = inside(placement.offset_x + placement.resized_width, out_width);
  const std::ptrdiff_t top = inside(placement.offset_y, out_height);
  const std::ptrdiff_t bottom = inside(placement.offset_y + placement.resized_height, out_height);
  const std::ptrdiff_t columns = right - left;

  for (std::ptrdiff_t c = 0; c < 3; ++c) {
    const float bar = norm.pad * norm.gain[static_cast<std::size_t>(c)] +
                      norm.bias[static_cast<std::size_t>(c)];
    float* target = out + c * plane;
    std::fill(target, target + top * out_width, bar);
    for (std::ptrdiff_t y = top; y < bottom; ++y) {
      std::fill(target + y * out_width, target + y * out_width + left, bar);
      std::fill(target + y * out_width + right, target + (y + 1) * out_width, bar);
    }
    std::fill(target + bottom * out_width, target + plane, bar);
  }

  // Horizontal taps as separate arrays of indices into an interleaved row, for the gathers.
  std::vector<std::int32_t> low(static_cast<std::size_t>(columns));
  std::vector<std::int32_t> high(low.size());
  std::vector<float> weight(low.size());
  for (std::size_t x = 0; x < low.size(); ++x) {
    const Tap tap = TapAt(left + static_cast<std::ptrdiff_t>(x) - placement.offset_x,
                          placement.resized_width, frame.width);
    low[x] = 3 * tap.low, high[x] = 3 * tap.high, weight[x] = tap.weight;
  }

  const std::ptrdiff_t row_bytes = 3 * frame.width;
  std::vector<float> blended(static_cast<std::size_t>(row_bytes));
  for (std::ptrdiff_t y = top; y < bottom; ++y) {
    const Tap tap = TapAt(y - placement.offset_y, placement.resized_height, frame.height);
    const std::uint8_t* above = frame.pixels + tap.low * frame.row_stride;
    const std::uint8_t* below = frame.pixels + tap.high * frame.row_stride;
    float* __restrict__ row = blended.data();
    for (std::ptrdiff_t i = 0; i < row_bytes; ++i) {
      const float first = above[i];
      row[i] = first + tap.weight * (static_cast<float>(below[i]) - first);
    }
    for (std::ptrdiff_t c = 0; c < 3; ++c) {
      const float* source = blended.data() + (norm.reverse_channels ? 2 - c : c);
      const float gain = norm.gain[static_cast<std::size_t>(c)];
      const float bias = norm.bias[static_cast<std::size_t>(c)];
      const std::int32_t* __restrict__ lows = low.data();
      const std::int32_t* __restrict__ highs = high.data();
      const float* __restrict__ weights = weight.data();
      float* __restrict__ target = out + c * plane + y * out_width + left;
      for (std::ptrdiff_t x = 0; x < columns; ++x) {
        const float first = source[lows[x]];
        target[x] = (first + weights[x] * (source[highs[x]] - first)) * gain + bias;
      }
    }
  }
}

}  // namespace

void LetterboxCpu(const Frame& frame, const FramePlacement& placement, const Normalisation& norm,
                  std::ptrdiff_t out_height, std::ptrdiff_t out_width, float* out) {
  Dispatch<Fit>(&frame, &placement, &norm, out_height, out_width, out);
}

}  // namespace edgecv
