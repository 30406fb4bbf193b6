#include "letterbox/area.h"

#include <algorithm>

#include "common/simd.h"

namespace edgecv {
namespace {

EDGECV_INLINE
void Add(const Pixel* __restrict__ row, float weight, bool is_first, std::size_t count,
         float* __restrict__ sum) {
  if (is_first) {
    for (std::size_t x = 0; x < count; ++x) sum[x] = weight * static_cast<float>(row[x]);
  } else {
    for (std::size_t x = 0; x < count; ++x) sum[x] += weight * static_cast<float>(row[x]);
  }
}

}  // namespace

void AddWeighted(const Pixel* row, float weight, bool is_first, std::size_t count, float* sum) {
  Dispatch<Add>(row, weight, is_first, count, sum);
}

void SumSpans(const float* row, const Spans& spans, std::ptrdiff_t first_column, Pixel* out) {
  for (std::size_t k = 0; k < spans.size(); ++k) {
    const float* values = row + (spans.first[k] - first_column);
    const float* weights = spans.weights.data() + spans.offset[k];
    float sum = 0.0f;
    for (std::size_t i = 0; i < spans.length(k); ++i) sum += weights[i] * values[i];
    // Rounded weights may add up to a little more than 1.
    out[k] = std::min(static_cast<Pixel>(sum + 0.5f), kPixelMax);
  }
}

}  // namespace edgecv
