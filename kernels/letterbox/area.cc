// Rows are averaged before columns, and where the pixels are bytes before their channels are told
// apart: most of the work is then to add bytes that lie side by side, exactly, in 16 bits. Columns
// are added a pixel at a time, its channels in one vector of four.

#include "letterbox/area.h"

#include <algorithm>
#include <cstring>

#include "common/simd.h"

namespace edgecv {
namespace {

// Rows of bytes that are added at a time.
constexpr std::size_t kRowsAtATime = 4;
using ByteRows = std::array<const std::uint8_t*, kRowsAtATime>;

using PixelRows = std::array<const Pixel*, kPixelRows>;

template <std::size_t kNumRows>
EDGECV_INLINE
void AddPixels(const PixelRows* rows, const float* weights, bool is_first, std::size_t count,
               float* __restrict__ sums) {
  const PixelRows row = *rows;
  std::array<float, kNumRows> weight;
  for (std::size_t i = 0; i < kNumRows; ++i) weight[i] = weights[i];
  const auto sum = [&](std::size_t x) {
    float total = weight[0] * static_cast<float>(row[0][x]);
    for (std::size_t i = 1; i < kNumRows; ++i) total += weight[i] * static_cast<float>(row[i][x]);
    return total;
  };
  if (is_first) {
    EDGECV_INDEPENDENT
    for (std::size_t x = 0; x < count; ++x) sums[x] = sum(x);
  } else {
    EDGECV_INDEPENDENT
    for (std::size_t x = 0; x < count; ++x) sums[x] += sum(x);
  }
}

template <std::size_t kNumRows>
EDGECV_INLINE
void AddBytes(const ByteRows* rows, bool is_first, std::size_t count,
              std::uint16_t* __restrict__ sums) {
  const ByteRows row = *rows;
  const auto sum = [&](std::size_t x) {
    unsigned total = 0;
    for (std::size_t i = 0; i < kNumRows; ++i) total += row[i][x];
    return static_cast<std::uint16_t>(total);
  };
  if (is_first) {
    EDGECV_INDEPENDENT
    for (std::size_t x = 0; x < count; ++x) sums[x] = sum(x);
  } else {
    EDGECV_INDEPENDENT
    for (std::size_t x = 0; x < count; ++x) sums[x] = static_cast<std::uint16_t>(sums[x] + sum(x));
  }
}

// sums[x] = the sum of `count` bytes x of `num_rows` rows from `row`.
void SumBytes(const std::uint8_t* row, std::ptrdiff_t stride, std::size_t num_rows,
              std::size_t count, std::uint16_t* sums) {
  std::size_t y = 0;
  do {
    const std::size_t some = std::min(num_rows - y, kRowsAtATime);
    ByteRows rows{};
    for (std::size_t i = 0; i < some; ++i)
      rows[i] = row + static_cast<std::ptrdiff_t>(y + i) * stride;
    switch (some) {
      case 0: Dispatch<AddBytes<0>>(&rows, y == 0, count, sums); break;
      case 1: Dispatch<AddBytes<1>>(&rows, y == 0, count, sums); break;
      case 2: Dispatch<AddBytes<2>>(&rows, y == 0, count, sums); break;
      case 3: Dispatch<AddBytes<3>>(&rows, y == 0, count, sums); break;
      default: Dispatch<AddBytes<4>>(&rows, y == 0, count, sums); break;
    }
    y += some;
  } while (y < num_rows);
}

EDGECV_INLINE
void Scale(const std::uint16_t* __restrict__ sums, float weight, std::size_t count,
           float* __restrict__ means) {
  for (std::size_t x = 0; x < count; ++x) means[x] = weight * static_cast<float>(sums[x]);
}

// A row at either end that is partly covered.
struct EndRow {
  const std::uint8_t* row;
  float weight;
};

EDGECV_INLINE
void ScaleWithEnds(const std::uint16_t* __restrict__ sums, float weight, EndRow first, EndRow last,
                   std::size_t count, float* __restrict__ means) {
  EDGECV_INDEPENDENT
  for (std::size_t x = 0; x < count; ++x)
    means[x] = first.weight * static_cast<float>(first.row[x]) +
               weight * static_cast<float>(sums[x]) + last.weight * static_cast<float>(last.row[x]);
}

// Not all of them are used, but all can be loaded at once.
using Quad = float __attribute__((vector_size(16)));

template <typename Values, std::ptrdiff_t kStep>
EDGECV_INLINE
void AddColumns(const float* __restrict__ row, const ColumnMeans::Span* __restrict__ spans,
                std::size_t count, std::ptrdiff_t num_inner, float* __restrict__ out) {
  const auto load = [](const float* from) {
    Values values;
    std::memcpy(&values, from, sizeof values);
    return values;
  };
  for (std::size_t k = 0; k < count; ++k) {
    const ColumnMeans::Span& span = spans[k];
    const float* first = row + span.first * kStep;
    Values inner{};
    for (std::ptrdiff_t i = 1; i <= num_inner; ++i) inner += load(first + i * kStep);
    const float* last = first + (num_inner + 1) * kStep;
    const Values sum = span.first_weight * load(first) + span.inner_weight * inner +
                       span.last_weights[0] * load(last) +
                       span.last_weights[1] * load(last + kStep);
    std::memcpy(out + k * (sizeof sum / sizeof(float)), &sum, sizeof sum);
  }
}

EDGECV_INLINE
void ToQuads(const float* __restrict__ channels, std::size_t count, float* __restrict__ quads) {
  for (std::size_t x = 0; x < count; ++x) {
    quads[4 * x] = channels[x];
    quads[4 * x + 1] = channels[count + x];
    quads[4 * x + 2] = channels[2 * count + x];
    quads[4 * x + 3] = 0.0f;
  }
}

// Rounded weights may add up to a little more than 1.
EDGECV_INLINE Pixel Rounded(float value) {
  const auto rounded = static_cast<std::int32_t>(value + 0.5f);
  return static_cast<Pixel>(std::min(rounded, std::int32_t{kPixelMax}));
}

EDGECV_INLINE
void Round(const float* __restrict__ values, std::size_t count, Pixel* __restrict__ out) {
  for (std::size_t x = 0; x < count; ++x) out[x] = Rounded(values[x]);
}

EDGECV_INLINE
void RoundFourths(const float* __restrict__ values, std::size_t count, Pixel* __restrict__ out) {
  for (std::size_t x = 0; x < count; ++x) out[x] = Rounded(values[4 * x]);
}

EDGECV_INLINE
void MixGray(const float* __restrict__ values, const std::array<std::ptrdiff_t, 3>* offset,
             std::size_t count, Pixel* __restrict__ out) {
  const float* red = values + (*offset)[0];
  const float* green = values + (*offset)[1];
  const float* blue = values + (*offset)[2];
  for (std::size_t x = 0; x < count; ++x)
    out[x] = Rounded(0.299f * red[4 * x] + 0.587f * green[4 * x] + 0.114f * blue[4 * x]);
}

// Columns between the ends in every span.
std::size_t NumInner(const Spans& spans) {
  std::size_t shortest = spans.length(0);
  for (std::size_t k = 1; k < spans.size(); ++k) shortest = std::min(shortest, spans.length(k));
  return std::max(shortest, std::size_t{2}) - 2;
}

}  // namespace

std::size_t LongestOf(const Spans& spans) {
  std::size_t longest = 0;
  for (std::size_t k = 0; k < spans.size(); ++k) longest = std::max(longest, spans.length(k));
  return longest;
}

void AddWeighted(const PixelRows& rows, const float* weights, std::size_t num_rows, bool is_first,
                 std::size_t count, float* sums) {
  switch (num_rows) {
    case 1: Dispatch<AddPixels<1>>(&rows, weights, is_first, count, sums); break;
    case 2: Dispatch<AddPixels<2>>(&rows, weights, is_first, count, sums); break;
    case 3: Dispatch<AddPixels<3>>(&rows, weights, is_first, count, sums); break;
    default: Dispatch<AddPixels<4>>(&rows, weights, is_first, count, sums); break;
  }
}

void MeanOfBytes(const Plane& plane, std::ptrdiff_t first_byte, const Spans& rows, std::size_t k,
                 std::size_t count, std::uint16_t* sums, float* means) {
  const std::size_t length = rows.length(k);
  const float* weights = rows.weights.data() + rows.offset[k];
  const std::uint8_t* row = plane.Row(rows.first[k]) + first_byte;
  constexpr float kOne = 1 << kPixelBits;
  // Between the ends, weights are equal and the largest.
  const float largest = weights[length / 2];
  const bool is_whole = weights[0] == largest && weights[length - 1] == largest;
  if (is_whole) {
    SumBytes(row, plane.row_stride, length, count, sums);
    Dispatch<Scale>(sums, weights[0] * kOne, count, means);
  } else {
    const auto last = static_cast<std::ptrdiff_t>(length - 1);
    SumBytes(row + plane.row_stride, plane.row_stride, length - 2, count, sums);
    Dispatch<ScaleWithEnds>(sums, weights[1] * kOne, EndRow{row, weights[0] * kOne},
                            EndRow{row + last * plane.row_stride, weights[last] * kOne}, count,
                            means);
  }
}

void SumSpans(const float* row, const Spans& spans, std::ptrdiff_t first_column, Pixel* out) {
  for (std::size_t k = 0; k < spans.size(); ++k) {
    const float* values = row + (spans.first[k] - first_column);
    const float* weights = spans.weights.data() + spans.offset[k];
    float sum = 0.0f;
    for (std::size_t i = 0; i < spans.length(k); ++i) sum += weights[i] * values[i];
    out[k] = Rounded(sum);
  }
}

void RoundValues(const float* values, std::size_t count, Pixel* out) {
  Dispatch<Round>(values, count, out);
}

void RoundChannels(const float* values, const std::array<std::ptrdiff_t, 3>& offset,
                   std::size_t count, Pixel* out) {
  for (std::size_t c = 0; c < 3; ++c)
    Dispatch<RoundFourths>(values + offset[c], count, out + c * count);
}

void RoundGray(const float* values, const std::array<std::ptrdiff_t, 3>& offset, std::size_t count,
               Pixel* out) {
  Dispatch<MixGray>(values, &offset, count, out);
}

bool ColumnMeans::Takes(const Spans& columns) {
  const std::size_t longest = LongestOf(columns);
  return longest <= kMaxSpan && longest <= NumInner(columns) + 3;
}

ColumnMeans::ColumnMeans(const Spans& columns) : num_inner_(NumInner(columns)) {
  const std::ptrdiff_t first = columns.first.front();
  num_columns_ = static_cast<std::size_t>(columns.first.back() - first) +
                 columns.length(columns.size() - 1);
  spans_.reserve(columns.size());
  for (std::size_t k = 0; k < columns.size(); ++k) {
    const float* weights = columns.weights.data() + columns.offset[k];
    const auto weight = [&](std::size_t i) { return i < columns.length(k) ? weights[i] : 0.0f; };
    spans_.push_back({columns.first[k] - first, weight(0), weight(1),
                      {weight(num_inner_ + 1), weight(num_inner_ + 2)}});
  }
}

void ColumnMeans::OfValues(const float* row, float* out) const {
  Dispatch<AddColumns<float, 1>>(row, spans_.data(), size(),
                                 static_cast<std::ptrdiff_t>(num_inner_), out);
}

void ColumnMeans::OfPlanes(const float* channels, float* quads, float* out) const {
  Dispatch<ToQuads>(channels, num_columns_, quads);
  Dispatch<AddColumns<Quad, 4>>(quads, spans_.data(), size(),
                                static_cast<std::ptrdiff_t>(num_inner_), out);
}

void ColumnMeans::OfTriples(const float* row, float* out) const {
  Dispatch<AddColumns<Quad, 3>>(row, spans_.data(), size(),
                                static_cast<std::ptrdiff_t>(num_inner_), out);
}

}  // namespace edgecv
