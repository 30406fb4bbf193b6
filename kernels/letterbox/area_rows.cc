#include "letterbox/area_rows.h"

#include <algorithm>

#include "letterbox/components.h"

namespace edgecv {

bool AreaRowsOfBytes::Takes(PixelFormat format, const Spans& rows, const Spans& columns) {
  const Kind kind = LayoutOf(format).kind;
  return (kind == Kind::kRgb || kind == Kind::kGray) && LongestOf(rows) <= kMaxSpan &&
         ColumnMeans::Takes(columns);
}

AreaRowsOfBytes::AreaRowsOfBytes(const Frame& frame, Colour colour, const Spans& rows,
                                 const Spans& columns)
    : plane_(frame.planes[0]), rows_(rows), columns_(columns),
      is_gray_frame_(LayoutOf(frame.format).kind == Kind::kGray),
      num_channels_(is_gray_frame_ || colour == Colour::kGray ? 1 : 3) {
  const std::array<Component, 3> components = LayoutOf(frame.format).components;
  const std::size_t step = is_gray_frame_ ? 1 : 3;
  for (std::size_t c = 0; c < 3; ++c)
    offset_[c] = components[colour == Colour::kBgr ? 2 - c : c].offset;
  first_byte_ = columns.first.front() * static_cast<std::ptrdiff_t>(step);
  num_bytes_ = columns_.num_columns() * step;
  sums_.resize(num_bytes_);
  row_means_.resize((columns_.num_columns() + ColumnMeans::kPadding) * step + 1);
  means_.resize(columns_.size() * (is_gray_frame_ ? 1 : 4));
  pixels_.resize(columns_.size() * num_channels_);
}

RowPair AreaRowsOfBytes::At(std::size_t k) {
  MeanOfBytes(plane_, first_byte_, rows_, k, num_bytes_, sums_.data(), row_means_.data());
  const std::size_t width = columns_.size();
  if (is_gray_frame_) {
    columns_.OfValues(row_means_.data(), means_.data());
    RoundValues(means_.data(), width, pixels_.data());
  } else {
    columns_.OfTriples(row_means_.data(), means_.data());
    if (num_channels_ == 1)
      RoundGray(means_.data(), offset_, width, pixels_.data());
    else
      RoundChannels(means_.data(), offset_, width, pixels_.data());
  }
  RowPair pair{};
  for (std::size_t c = 0; c < 3; ++c)
    pair.above[c] = pixels_.data() + std::min(c, num_channels_ - 1) * width;
  pair.below = pair.above;
  return pair;
}

AreaRowsOfColours::AreaRowsOfColours(const RowSampler& sampler, const Spans& rows,
                                     const Spans& columns)
    : sampler_(sampler), scratch_(sampler.MakeScratch()), rows_(rows), columns_(columns),
      num_channels_(sampler.num_channels()), width_(sampler.num_columns()),
      colours_(num_channels_ * width_), sums_(num_channels_ * width_),
      pixels_(num_channels_ * columns.size()) {}

RowPair AreaRowsOfColours::At(std::size_t k) {
  std::array<Pixel*, 3> colours;
  for (std::size_t c = 0; c < 3; ++c)
    colours[c] = colours_.data() + std::min(c, num_channels_ - 1) * width_;
  for (std::size_t i = 0; i < rows_.length(k); ++i) {
    const std::ptrdiff_t y = rows_.first[k] + static_cast<std::ptrdiff_t>(i);
    // The last row of a span may be the first of the next.
    if (held_ != y) sampler_.Sample(y, y, scratch_, colours);
    held_ = y;
    for (std::size_t c = 0; c < num_channels_; ++c)
      AddWeighted(colours[c], rows_.weights[rows_.offset[k] + i], i == 0, width_,
                  sums_.data() + c * width_);
  }
  RowPair pair{};
  for (std::size_t c = 0; c < 3; ++c) {
    Pixel* out = pixels_.data() + std::min(c, num_channels_ - 1) * columns_.size();
    pair.above[c] = out;
    if (c < num_channels_)
      SumSpans(sums_.data() + c * width_, columns_, columns_.first.front(), out);
  }
  pair.below = pair.above;
  return pair;
}

}  // namespace edgecv
