// Sums of weighted rows and columns, for area interpolation.
#pragma once

#include <cstddef>

#include "letterbox/fixed_point.h"
#include "letterbox/taps.h"

namespace edgecv {

// sum[x] = weight * row[x], or += if `is_first` is false.
void AddWeighted(const Pixel* row, float weight, bool is_first, std::size_t count, float* sum);

// out[k] = the weighted sum of `row` over span k, whose columns count from `first_column`.
void SumSpans(const float* row, const Spans& spans, std::ptrdiff_t first_column, Pixel* out);

}  // namespace edgecv
