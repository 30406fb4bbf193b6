// Means of rows and of columns, for area interpolation.
//
// Values are Q7. All are sums of floats in an order that does not depend on the vectors of a CPU level.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "letterbox/components.h"
#include "letterbox/fixed_point.h"
#include "letterbox/taps.h"

namespace edgecv {

// The most rows in a span: what as many bytes add up to fits 16 bits.
constexpr std::size_t kMaxSpan = 257;

std::size_t LongestOf(const Spans& spans);

// Rows of pixels that are added at a time.
constexpr std::size_t kPixelRows = 4;

// sums[x] = the sum of weights[i] * rows[i][x] over the first `num_rows` rows, 1 to `kPixelRows`, or
// += if `is_first` is false.
void AddWeighted(const std::array<const Pixel*, kPixelRows>& rows, const float* weights,
                 std::size_t num_rows, bool is_first, std::size_t count, float* sums);

// means[x] = the mean over span `k` of `rows` of the bytes `first_byte + x` of `plane`'s rows.
// `sums` is scratch, of `count` too.
void MeanOfBytes(const Plane& plane, std::ptrdiff_t first_byte, const Spans& rows, std::size_t k,
                 std::size_t count, std::uint16_t* sums, float* means);

// out[k] = the weighted sum of `row` over span k, whose columns count from `first_column`, rounded.
void SumSpans(const float* row, const Spans& spans, std::ptrdiff_t first_column, Pixel* out);

// out[x] = values[x], rounded.
void RoundValues(const float* values, std::size_t count, Pixel* out);

// out[c * count + x] = values[4 * x + offset[c]], rounded.
void RoundChannels(const float* values, const std::array<std::ptrdiff_t, 3>& offset,
                   std::size_t count, Pixel* out);

// out[x] = the gray of the R G B at values[4 * x + offset[c]], rounded.
void RoundGray(const float* values, const std::array<std::ptrdiff_t, 3>& offset, std::size_t count,
               Pixel* out);

// Spans of columns that are alike: a first column, as many inner ones as all of them have, of equal
// weight, and two more, of which the last or both may weigh nothing.
class ColumnMeans {
 public:
  // Columns that are read after the last one, at no weight: they must be finite.
  static constexpr std::size_t kPadding = 2;

  static bool Takes(const Spans& columns);
  explicit ColumnMeans(const Spans& columns);

  std::size_t size() const { return spans_.size(); }
  // From the first to the last column that a span has. In a row below, they count from 0.
  std::size_t num_columns() const { return num_columns_; }

  // out[k] = the mean of row[x] over the columns x of span k.
  void OfValues(const float* row, float* out) const;

  // out[4 * k + c], c < 3, = the mean of channels[c * num_columns() + x] over the columns x of span k;
  // out[4 * k + 3] receives what happens to come. `quads` is scratch for 4 floats a column, padding
  // included.
  void OfPlanes(const float* channels, float* quads, float* out) const;

  // out[4 * k + c], c < 3, = the mean of row[3 * x + c] over the columns x of span k. Four floats are
  // read and written at a time: out[4 * k + 3] receives what happens to come, and `row` holds one
  // float more than its columns.
  void OfTriples(const float* row, float* out) const;

  struct Span {
    std::ptrdiff_t first;
    float first_weight, inner_weight;
    std::array<float, 2> last_weights;
  };

 private:
  std::vector<Span> spans_;
  std::size_t num_inner_, num_columns_;
};

}  // namespace edgecv
