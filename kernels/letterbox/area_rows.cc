#include "letterbox/area_rows.h"

#include <algorithm>

#include "letterbox/components.h"

namespace edgecv {
namespace {

// A row to be blended with itself; gray is all three of its channels.
RowPair SameRow(const Pixel* pixels, std::size_t num_channels, std::size_t width) {
  RowPair pair{};
  for (std::size_t c = 0; c < 3; ++c)
    pair.above[c] = pixels + std::min(c, num_channels - 1) * width;
  pair.below = pair.above;
  return pair;
}

}  // namespace

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
  return SameRow(pixels_.data(), num_channels_, width);
}

AreaRowsOfColours::AreaRowsOfColours(const RowSampler& sampler, const Spans& rows,
                                     const Spans& columns)
    : sampler_(sampler), scratch_(sampler.MakeScratch()), rows_(rows), columns_(columns),
      num_channels_(sampler.num_channels()), width_(sampler.num_columns()),
      colours_(kPixelRows * num_channels_ * width_),
      row_means_(num_channels_ * width_ + ColumnMeans::kPadding),
      pixels_(num_channels_ * columns.size()) {
  held_.fill(-1);
  if (ColumnMeans::Takes(columns)) {
    column_means_.emplace(columns);
    if (num_channels_ == 3) quads_.resize(4 * (width_ + ColumnMeans::kPadding));
    means_.resize(columns.size() * (num_channels_ == 3 ? 4 : 1));
  }
}

const Pixel* AreaRowsOfColours::Colours(std::ptrdiff_t y) {
  const auto slot = static_cast<std::size_t>(y) % kPixelRows;
  Pixel* first = colours_.data() + slot * num_channels_ * width_;
  if (held_[slot] != y) {
    std::array<Pixel*, 3> channels;
    for (std::size_t c = 0; c < 3; ++c)
      channels[c] = first + std::min(c, num_channels_ - 1) * width_;
    sampler_.Sample(y, y, scratch_, channels);
    held_[slot] = y;
  }
  return first;
}

void AreaRowsOfColours::MeanOfRows(std::size_t k) {
  for (std::size_t done = 0; done < rows_.length(k); done += kPixelRows) {
    const std::size_t some = std::min(rows_.length(k) - done, kPixelRows);
    std::array<const Pixel*, kPixelRows> rows{};
    for (std::size_t i = 0; i < some; ++i)
      rows[i] = Colours(rows_.first[k] + static_cast<std::ptrdiff_t>(done + i));
    AddWeighted(rows, rows_.weights.data() + rows_.offset[k] + done, some, done == 0,
                num_channels_ * width_, row_means_.data());
  }
}

RowPair AreaRowsOfColours::At(std::size_t k) {
  MeanOfRows(k);
  const std::size_t width = columns_.size();
  if (!column_means_) {
    for (std::size_t c = 0; c < num_channels_; ++c)
      SumSpans(row_means_.data() + c * width_, columns_, columns_.first.front(),
               pixels_.data() + c * width);
  } else if (num_channels_ == 1) {
    column_means_->OfValues(row_means_.data(), means_.data());
    RoundValues(means_.data(), width, pixels_.data());
  } else {
    column_means_->OfPlanes(row_means_.data(), quads_.data(), means_.data());
    RoundChannels(means_.data(), {0, 1, 2}, width, pixels_.data());
  }
  return SameRow(pixels_.data(), num_channels_, width);
}

}  // namespace edgecv
