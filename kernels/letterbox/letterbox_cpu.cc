// CPU implementation of letterbox.h. The frame is read row by row, only the rows and, of them, only
// the pixels that an output samples: a row sampler brings one source row to the output's colours
// and columns, two such rows are kept, and a row writer blends them into an output row. For area
// interpolation, rows and then columns are averaged, see area_rows.h.
// Where the processor can, rows of the commonest fits go through all of that in registers instead,
// see packed_rows.h and yuv_rows.h.
// Between bytes and outputs, values are 16-bit fixed point, see fixed_point.h.

#include "letterbox/letterbox.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/parallel.h"
#include "letterbox/area_rows.h"
#include "letterbox/components.h"
#include "letterbox/packed_rows.h"
#include "letterbox/row_sampler.h"
#include "letterbox/row_writer.h"
#include "letterbox/taps.h"
#include "letterbox/yuv_rows.h"

namespace edgecv {
namespace {

// Pixels of frame and input that are worth a thread of their own: those of a 4K frame are, while a
// 1080p frame is fitted sooner than a sleeping thread can be counted on.
constexpr std::ptrdiff_t kPixelsPerBand = 1 << 21;

// The part of the input that the frame covers.
struct Covered {
  std::ptrdiff_t left, right, top, bottom;

  bool is_empty() const { return left >= right || top >= bottom; }
};

Covered CoveredBy(const FramePlacement& placement, const Input& out) {
  const auto inside = [](std::ptrdiff_t value, std::ptrdiff_t limit) {
    return std::clamp(value, std::ptrdiff_t{0}, limit);
  };
  return {inside(placement.offset_x, out.width),
          inside(placement.offset_x + placement.resized_width, out.width),
          inside(placement.offset_y, out.height),
          inside(placement.offset_y + placement.resized_height, out.height)};
}

// The last two source rows that were sampled, of odd and of even y: neighbours do not evict each
// other, and a row that the next output needs again is still there.
class RecentRows {
 public:
  explicit RecentRows(const RowSampler& sampler)
      : sampler_(sampler), scratch_(sampler.MakeScratch()),
        pixels_(2 * sampler.num_channels() * sampler.num_columns()) {}

  // `upcoming`: a row that will be asked for soon.
  std::array<const Pixel*, 3> Row(std::ptrdiff_t y, std::ptrdiff_t upcoming) {
    const auto slot = static_cast<std::size_t>(y & 1);
    std::array<Pixel*, 3> rows;
    for (std::size_t c = 0; c < 3; ++c) {
      const std::size_t channel = std::min(c, sampler_.num_channels() - 1);  // gray is all three
      rows[c] = pixels_.data() +
                (slot * sampler_.num_channels() + channel) * sampler_.num_columns();
    }
    if (held_[slot] != y) {
      sampler_.Sample(y, upcoming, scratch_, rows);
      held_[slot] = y;
    }
    return {rows[0], rows[1], rows[2]};
  }

 private:
  const RowSampler& sampler_;
  RowSampler::Scratch scratch_;
  std::vector<Pixel> pixels_;
  std::array<std::ptrdiff_t, 2> held_{-1, -1};
};

// Both interpolations turn an output row into a pair of rows.
class BilinearRows {
 public:
  BilinearRows(const RowSampler& sampler, const Taps& rows) : recent_(sampler), rows_(rows) {}

  RowPair At(std::size_t k) {
    const std::size_t next = std::min(k + 1, rows_.size() - 1);
    const std::array<const Pixel*, 3> above = recent_.Row(rows_.low[k], rows_.low[next]);
    const Weight weight = rows_.weight[k];
    if (weight == 0) return {above, above, weight};
    return {above, recent_.Row(rows_.high[k], rows_.high[next]), weight};
  }

 private:
  RecentRows recent_;
  const Taps& rows_;
};

// One thread's share of the output rows.
template <typename Rows>
struct Band {
  Rows rows;
  RowWriter writer;
};

template <typename Rows>
void FitRow(Band<Rows>& band, std::size_t k, std::ptrdiff_t y, std::ptrdiff_t left,
            std::size_t columns) {
  band.writer.Write(y, left, columns, band.rows.At(k));
}

template <typename FusedRows>
void FitRow(Band<const FusedRows&>& band, std::size_t k, std::ptrdiff_t y, std::ptrdiff_t left,
            std::size_t) {
  band.rows.Write(k, band.writer.Floats(y, left));
}

template <typename Rows>
void FitRows(const Covered& covered, const Input& out, std::ptrdiff_t begin, std::ptrdiff_t end,
             Band<Rows>& band) {
  const auto columns = static_cast<std::size_t>(covered.right - covered.left);
  for (std::ptrdiff_t y = begin; y < end; ++y) {
    if (y < covered.top || y >= covered.bottom) {
      band.writer.Fill(y, 0, out.width);
      continue;
    }
    band.writer.Fill(y, 0, covered.left);
    FitRow(band, static_cast<std::size_t>(y - covered.top), y, covered.left, columns);
    band.writer.Fill(y, covered.right, out.width);
  }
}

// Cuts the output in bands of rows, whose buffers `make_rows` gives before any thread starts: a
// thread must not throw.
template <typename MakeRows>
void FitInBands(const Frame& frame, const Covered& covered, const Input& out,
                const Normalisation& norm, MakeRows make_rows) {
  using Rows = decltype(make_rows());
  const std::ptrdiff_t num_pixels = frame.height * frame.width + out.height * out.width;
  const std::ptrdiff_t num_bands =
      std::clamp(num_pixels / kPixelsPerBand, std::ptrdiff_t{1},
                 std::min(static_cast<std::ptrdiff_t>(NumThreads()), out.height));
  std::vector<Band<Rows>> bands;
  bands.reserve(static_cast<std::size_t>(num_bands));
  for (std::ptrdiff_t b = 0; b < num_bands; ++b)
    bands.push_back({make_rows(), RowWriter(out, norm)});
  ParallelFor(bands.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t b = first; b < last; ++b) {
      const auto at = static_cast<std::ptrdiff_t>(b);
      FitRows(covered, out, at * out.height / num_bands, (at + 1) * out.height / num_bands,
              bands[b]);
    }
  });
}

}  // namespace

bool PlanesFit(const Frame& frame, std::size_t num_planes) {
  const FormatLayout layout = LayoutOf(frame.format);
  if (num_planes != layout.num_planes || frame.height < 1 || frame.width < 1) return false;
  if (layout.kind == Kind::kBayer)
    return std::min(frame.height, frame.width) >= 3 && frame.planes[0].rows == frame.height &&
           frame.planes[0].row_bytes == frame.width;
  const std::size_t num_components = layout.kind == Kind::kGray ? 1 : 3;
  for (std::size_t c = 0; c < num_components; ++c) {
    const Component& component = layout.components[c];
    const Plane& plane = frame.planes[component.plane];
    if (plane.rows <= (frame.height - 1) >> component.shift_y ||
        plane.row_bytes <=
            ((frame.width - 1) >> component.shift_x) * component.step + component.offset)
      return false;
  }
  return true;
}

void LetterboxCpu(const Frame& frame, const FramePlacement& placement,
                  Interpolation interpolation, const Normalisation& norm, const Input& out) {
  const Covered covered = CoveredBy(placement, out);
  if (covered.is_empty()) {
    const RowWriter writer(out, norm);
    for (std::ptrdiff_t y = 0; y < out.height; ++y) writer.Fill(y, 0, out.width);
    return;
  }
  const Axis vertical{frame.height, placement.resized_height, covered.top - placement.offset_y,
                      covered.bottom - covered.top};
  const Axis horizontal{frame.width, placement.resized_width, covered.left - placement.offset_x,
                        covered.right - covered.left};
  const bool is_area = interpolation == Interpolation::kArea;
  if (is_area && vertical.resized <= vertical.source && horizontal.resized <= horizontal.source) {
    const Spans rows = AreaSpans(vertical), columns = AreaSpans(horizontal);
    if (AreaRowsOfBytes::Takes(frame.format, rows, columns)) {
      FitInBands(frame, covered, out, norm,
                 [&] { return AreaRowsOfBytes(frame, norm.colour, rows, columns); });
      return;
    }
    const std::ptrdiff_t first = columns.first.front();
    const auto length = static_cast<std::ptrdiff_t>(columns.length(columns.size() - 1));
    const RowSampler sampler(frame, norm.colour,
                             IdentityTaps(first, columns.first.back() + length - first));
    FitInBands(frame, covered, out, norm, [&] { return AreaRowsOfColours(sampler, rows, columns); });
  } else {
    const Taps rows = LinearTaps(vertical, is_area);
    Taps columns = LinearTaps(horizontal, is_area);
    if (PackedRows::Serve(frame, rows, columns, norm, out)) {
      const PackedRows packed(frame, rows, columns, norm);
      FitInBands(frame, covered, out, norm, [&]() -> const PackedRows& { return packed; });
      return;
    }
    if (YuvRows::Serve(frame, rows, columns, norm, out)) {
      const YuvRows yuv(frame, rows, columns, norm);
      FitInBands(frame, covered, out, norm, [&]() -> const YuvRows& { return yuv; });
      return;
    }
    const RowSampler sampler(frame, norm.colour, std::move(columns));
    FitInBands(frame, covered, out, norm, [&] { return BilinearRows(sampler, rows); });
  }
}

}  // namespace edgecv
