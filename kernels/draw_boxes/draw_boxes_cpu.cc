// CPU implementation of draw_boxes.h. Boxes and plates are placed once, in pixels, then painted
// plane by plane. In a full plane an outline is copied from a row of its colour, and a plate's row
// is one pass of byte arithmetic over the text's coverage, spread to the plane's channels first. In
// a subsampled plane the pixels under a sample are counted instead: a rectangle covers as many as
// the product of what it covers along x and along y, and an outline is one rectangle less another.

#include "draw_boxes/draw_boxes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "common/simd.h"

namespace edgecv {
namespace {

struct Rectangle {
  std::ptrdiff_t x1, y1, x2, y2;  // whole pixels; x2 and y2 are the first outside
};

struct Plate {
  Rectangle area;  // within the frame; the masks may be larger
  const std::int32_t* word_widths;
  std::int32_t num_words;
  const std::uint8_t* masks;
};

struct Shape {
  Rectangle outer, inner;  // the outline lies between the two
  Plate plate;
  const std::uint8_t* fill;  // a byte per channel of the canvas
  const std::uint8_t* text;
};

// Loops over a plate's row run here, on whole vectors: a plate is so narrow that the remainders,
// sample by sample, would take longer than the rest.
constexpr std::size_t kVector = 64;

EDGECV_INLINE std::size_t WholeVectors(std::size_t count) {
  return (count + kVector - 1) / kVector * kVector;
}

// Room for one row of anything that is painted.
struct Rows {
  std::vector<std::uint8_t> fill, text, coverage, spread, mixed;
  std::vector<std::uint16_t> columns, sums;
  std::vector<std::uint8_t> outer, inner;

  explicit Rows(std::size_t width) : Rows(WholeVectors(width) + kVector, kMaxChannels) {}

 private:
  Rows(std::size_t room, std::size_t channels)
      : fill(channels * room),
        text(channels * room),
        coverage(room),
        spread(channels * room),
        mixed(channels * room),
        columns(room),
        sums(room),
        outer(room),
        inner(room) {}
};

std::ptrdiff_t RoundedWithin(float value, std::ptrdiff_t limit) {
  const double inside = std::clamp(static_cast<double>(value), 0.0, static_cast<double>(limit));
  return static_cast<std::ptrdiff_t>(std::nearbyint(inside));
}

// The rectangle of a box in the frame, empty if the box has a NaN.
Rectangle Rounded(const float* box, const Canvas& canvas) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (std::isnan(box[i])) return {0, 0, 0, 0};
  }
  return {RoundedWithin(box[0], canvas.width), RoundedWithin(box[1], canvas.height),
          RoundedWithin(box[2], canvas.width), RoundedWithin(box[3], canvas.height)};
}

Rectangle InsideOf(const Rectangle& outer, std::ptrdiff_t line_width) {
  const std::ptrdiff_t side = std::min(outer.x2 - outer.x1, outer.y2 - outer.y1);
  if (line_width >= (side + 1) / 2) return {outer.x1, outer.y1, outer.x1, outer.y1};  // filled
  return {outer.x1 + line_width, outer.y1 + line_width, outer.x2 - line_width,
          outer.y2 - line_width};
}

Rectangle PlateOf(const Rectangle& box, std::ptrdiff_t width, std::ptrdiff_t height,
                  std::ptrdiff_t line_width, const Canvas& canvas) {
  const std::ptrdiff_t x = std::max(std::min(box.x1, canvas.width - width), std::ptrdiff_t{0});
  const std::ptrdiff_t above = box.y1 + line_width - height;
  const std::ptrdiff_t wanted = above >= 0 ? above : box.y1;
  const std::ptrdiff_t y = std::max(std::min(wanted, canvas.height - height), std::ptrdiff_t{0});
  return {x, y, std::min(x + width, canvas.width), std::min(y + height, canvas.height)};
}

std::vector<Shape> Placed(const Canvas& canvas, const float* boxes_xyxy,
                          const std::uint8_t* colours, std::size_t n, std::ptrdiff_t line_width,
                          const BoxLabels& labels) {
  std::vector<Shape> shapes;
  shapes.reserve(n);
  const std::int32_t* word_widths = labels.word_widths;
  const std::uint8_t* masks = labels.masks;
  for (std::size_t i = 0; i < n; ++i) {
    const Plate words{{0, 0, 0, 0}, word_widths, labels.num_words[i], masks};
    std::ptrdiff_t width = 0;
    for (std::int32_t w = 0; w < words.num_words; ++w) width += word_widths[w];
    word_widths += words.num_words;
    masks += width * labels.height;

    const Rectangle outer = Rounded(boxes_xyxy + 4 * i, canvas);
    if (outer.x2 <= outer.x1 || outer.y2 <= outer.y1) continue;
    const std::uint8_t* fill = colours + 2 * kMaxChannels * i;
    shapes.push_back({outer, InsideOf(outer, line_width), words, fill, fill + kMaxChannels});
    shapes.back().plate.area = PlateOf(outer, width, labels.height, line_width, canvas);
  }
  return shapes;
}

// Copies a few bytes without the call that memcpy of a variable size is.
EDGECV_INLINE void CopyFew(std::uint8_t* to, const std::uint8_t* from, std::size_t count) {
  if (count > 16) {
    std::memcpy(to, from, count);
  } else if (count >= 8) {
    std::memcpy(to, from, 8);
    std::memcpy(to + count - 8, from + count - 8, 8);
  } else if (count >= 4) {
    std::memcpy(to, from, 4);
    std::memcpy(to + count - 4, from + count - 4, 4);
  } else if (count >= 2) {
    std::memcpy(to, from, 2);
    std::memcpy(to + count - 2, from + count - 2, 2);
  } else if (count == 1) {
    *to = *from;
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void Repeat(const std::uint8_t* colour, std::size_t count, std::uint8_t* row) {
  for (std::size_t x = 0; x < count; ++x) {
    for (std::size_t c = 0; c < kChannels; ++c) row[kChannels * x + c] = colour[c];
  }
}

// Row `row` of the plate's text, from its left edge, as far as the frame shows it.
EDGECV_INLINE void CopyCoverage(const Plate& plate, std::ptrdiff_t height, std::ptrdiff_t row,
                                std::uint8_t* coverage) {
  std::ptrdiff_t room = plate.area.x2 - plate.area.x1;
  const std::uint8_t* mask = plate.masks;
  for (std::int32_t w = 0; w < plate.num_words && room > 0; ++w) {
    const std::ptrdiff_t width = plate.word_widths[w];
    const std::ptrdiff_t shown = std::min(width, room);
    std::memcpy(coverage, mask + row * width, static_cast<std::size_t>(shown));
    coverage += shown, room -= shown, mask += width * height;
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void OutlineFull(const CanvasPlane& plane, const Shape& shape, Rows& rows) {
  const Rectangle &outer = shape.outer, &inner = shape.inner;
  const bool is_filled = inner.x2 == inner.x1;
  const auto bytes = [](std::ptrdiff_t pixels) {
    return kChannels * static_cast<std::size_t>(pixels);
  };
  const std::size_t width = bytes(outer.x2 - outer.x1);
  const std::size_t left = bytes(inner.x1 - outer.x1);
  const std::size_t right = bytes(outer.x2 - inner.x2);
  Repeat<kChannels>(shape.fill, static_cast<std::size_t>(outer.x2 - outer.x1), rows.fill.data());
  for (std::ptrdiff_t y = outer.y1; y < outer.y2; ++y) {
    std::uint8_t* row = plane.samples + y * plane.row_stride + bytes(outer.x1);
    if (is_filled || y < inner.y1 || y >= inner.y2) {
      std::memcpy(row, rows.fill.data(), width);
    } else {
      CopyFew(row, rows.fill.data(), left);
      CopyFew(row + width - right, rows.fill.data(), right);
    }
  }
}

// x / 255 for x < 65535, rounded down.
EDGECV_INLINE std::uint32_t Over255(std::uint32_t x) { return (x + 1 + (x >> 8)) >> 8; }

template <std::size_t kChannels>
EDGECV_INLINE void PlateFull(const CanvasPlane& plane, const Shape& shape, std::ptrdiff_t height,
                             Rows& rows) {
  const Rectangle& area = shape.plate.area;
  const auto width = static_cast<std::size_t>(area.x2 - area.x1);
  Repeat<kChannels>(shape.fill, width, rows.fill.data());
  Repeat<kChannels>(shape.text, width, rows.text.data());
  for (std::ptrdiff_t y = area.y1; y < area.y2; ++y) {
    CopyCoverage(shape.plate, height, y - area.y1, rows.coverage.data());
    const std::uint8_t* __restrict__ coverage = rows.coverage.data();
    if constexpr (kChannels > 1) {
      std::uint8_t* __restrict__ spread = rows.spread.data();
      for (std::size_t x = 0; x < WholeVectors(width); ++x) {
        for (std::size_t c = 0; c < kChannels; ++c) spread[kChannels * x + c] = coverage[x];
      }
      coverage = spread;
    }
    const std::uint8_t* __restrict__ fill = rows.fill.data();
    const std::uint8_t* __restrict__ text = rows.text.data();
    std::uint8_t* __restrict__ mixed = rows.mixed.data();
    for (std::size_t i = 0; i < WholeVectors(kChannels * width); ++i) {
      const auto covered = static_cast<std::uint16_t>(coverage[i]);
      const auto sum =
          static_cast<std::uint16_t>(fill[i] * (255 - covered) + text[i] * covered + 127);
      mixed[i] = static_cast<std::uint8_t>((sum + 1 + (sum >> 8)) >> 8);
    }
    std::memcpy(plane.samples + y * plane.row_stride +
                    static_cast<std::ptrdiff_t>(kChannels) * area.x1,
                mixed, kChannels * width);
  }
}

// How many of the pixels 2 * sample and 2 * sample + 1 lie in [begin, end).
EDGECV_INLINE std::ptrdiff_t Covered(std::ptrdiff_t sample, std::ptrdiff_t begin,
                                     std::ptrdiff_t end) {
  return std::max(std::min(2 * sample + 2, end) - std::max(2 * sample, begin), std::ptrdiff_t{0});
}

// 1 if the sample stands for two pixels of an axis, 0 if for the last of an odd side: log2.
EDGECV_INLINE std::uint32_t Doubles(std::ptrdiff_t sample, std::ptrdiff_t side) {
  return 2 * sample + 2 <= side ? 1 : 0;
}

template <std::size_t kChannels>
using Colour = std::array<std::uint8_t, kChannels>;

template <std::size_t kChannels>
EDGECV_INLINE Colour<kChannels> ColourAt(const std::uint8_t* bytes) {
  Colour<kChannels> colour;  // a copy: the compiler knows that no sample is part of it
  for (std::size_t c = 0; c < kChannels; ++c) colour[c] = bytes[c];
  return colour;
}

// Samples of a row, each of 1 << shift pixels, of which outer * rows_outer - inner * rows_inner are
// covered.
template <std::size_t kChannels>
EDGECV_INLINE void CoverRow(std::uint8_t* __restrict__ row, const std::uint8_t* __restrict__ outer,
                            const std::uint8_t* __restrict__ inner, std::size_t count,
                            std::uint32_t rows_outer, std::uint32_t rows_inner,
                            std::uint32_t shift, Colour<kChannels> colour) {
  const std::uint32_t whole = 1U << shift;
  for (std::size_t x = 0; x < count; ++x) {
    const std::uint32_t covered = outer[x] * rows_outer - inner[x] * rows_inner;
    for (std::size_t c = 0; c < kChannels; ++c) {
      std::uint8_t& sample = row[kChannels * x + c];
      sample = static_cast<std::uint8_t>(
          (sample * (whole - covered) + colour[c] * covered + whole / 2) >> shift);
    }
  }
}

// Samples below each other, each of 1 << shift pixels, of which `covered` are covered.
template <std::size_t kChannels>
EDGECV_INLINE void CoverColumn(std::uint8_t* column, std::ptrdiff_t row_stride,
                               std::ptrdiff_t count, std::uint32_t covered, std::uint32_t shift,
                               Colour<kChannels> colour) {
  const std::uint32_t whole = 1U << shift;
  for (std::ptrdiff_t y = 0; y < count; ++y) {
    std::uint8_t* samples = column + y * row_stride;
    for (std::size_t c = 0; c < kChannels; ++c) {
      samples[c] = static_cast<std::uint8_t>(
          (samples[c] * (whole - covered) + colour[c] * covered + whole / 2) >> shift);
    }
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void OutlineHalf(const Canvas& canvas, const CanvasPlane& plane, const Shape& shape,
                               const std::uint8_t* colour_bytes, Rows& rows) {
  const Rectangle &outer = shape.outer, &inner = shape.inner;
  const Colour<kChannels> colour = ColourAt<kChannels>(colour_bytes);
  const auto at = [&](std::ptrdiff_t x, std::ptrdiff_t y) {
    return plane.samples + y * plane.row_stride + static_cast<std::ptrdiff_t>(kChannels) * x;
  };
  const std::ptrdiff_t left = outer.x1 / 2, right = (outer.x2 + 1) / 2;
  const std::ptrdiff_t top = outer.y1 / 2, bottom = (outer.y2 + 1) / 2;
  const std::ptrdiff_t paired = std::min(right, canvas.width / 2);  // samples of two columns
  for (std::ptrdiff_t x = left; x < right; ++x) {
    const auto i = static_cast<std::size_t>(x - left);
    rows.outer[i] = static_cast<std::uint8_t>(Covered(x, outer.x1, outer.x2));
    rows.inner[i] = static_cast<std::uint8_t>(Covered(x, inner.x1, inner.x2));
  }
  const auto cover_rows = [&](std::ptrdiff_t from, std::ptrdiff_t to) {
    for (std::ptrdiff_t y = from; y < to; ++y) {
      const auto rows_outer = static_cast<std::uint32_t>(Covered(y, outer.y1, outer.y2));
      const auto rows_inner = static_cast<std::uint32_t>(Covered(y, inner.y1, inner.y2));
      const std::uint32_t tall = Doubles(y, canvas.height);
      const auto count = static_cast<std::size_t>(paired - left);
      CoverRow<kChannels>(at(left, y), rows.outer.data(), rows.inner.data(), count, rows_outer,
                          rows_inner, tall + 1, colour);
      CoverRow<kChannels>(at(paired, y), rows.outer.data() + count, rows.inner.data() + count,
                          static_cast<std::size_t>(right - paired), rows_outer, rows_inner, tall,
                          colour);
    }
  };
  // Where all of a sample's rows, or columns, lie inside: nothing is left to paint but the sides.
  const std::ptrdiff_t inside_left = (inner.x1 + 1) / 2, inside_right = inner.x2 / 2;
  const std::ptrdiff_t inside_top = (inner.y1 + 1) / 2, inside_bottom = inner.y2 / 2;
  if (inside_left >= inside_right || inside_top >= inside_bottom) return cover_rows(top, bottom);
  cover_rows(top, inside_top);
  for (std::ptrdiff_t x = left; x < right; ++x) {
    if (x == inside_left) x = inside_right;
    if (x == right) break;
    const auto i = static_cast<std::size_t>(x - left);
    const auto covered = static_cast<std::uint32_t>(2 * (rows.outer[i] - rows.inner[i]));
    CoverColumn<kChannels>(at(x, inside_top), plane.row_stride, inside_bottom - inside_top,
                           covered, Doubles(x, canvas.width) + 1, colour);
  }
  cover_rows(inside_bottom, bottom);
}

// Samples of 1 << shift pixels each, of which `covered` lie under a plate; `sums` adds up the text's
// coverage of those.
template <std::size_t kChannels>
EDGECV_INLINE void MixSamples(std::uint8_t* row, const std::uint16_t* __restrict__ sums,
                              std::size_t count, std::uint32_t covered, std::uint32_t shift,
                              Colour<kChannels> fill, Colour<kChannels> text,
                              std::uint8_t* __restrict__ mixed) {
  const std::uint32_t left = 255 * ((1U << shift) - covered), whole = 255 * covered;
  const std::uint32_t half = (255U << shift) >> 1;
  std::memcpy(mixed, row, kChannels * count);
  for (std::size_t x = 0; x < WholeVectors(count); ++x) {
    const std::uint32_t sum = sums[x];
    for (std::size_t c = 0; c < kChannels; ++c) {
      std::uint8_t& sample = mixed[kChannels * x + c];
      const std::uint32_t total =
          sample * left + fill[c] * (whole - sum) + text[c] * sum + half;
      sample = static_cast<std::uint8_t>(Over255(total >> shift));
    }
  }
  std::memcpy(row, mixed, kChannels * count);
}

// The text's coverage under each sample of the plate's row `y` of samples, to `rows.sums`.
EDGECV_INLINE void SumCoverage(const Plate& plate, std::ptrdiff_t height, std::ptrdiff_t y,
                               Rows& rows) {
  const Rectangle& area = plate.area;
  const std::ptrdiff_t first = area.x1 / 2, count = (area.x2 + 1) / 2 - first;
  const auto width = static_cast<std::size_t>(area.x2 - area.x1);
  std::fill(rows.columns.begin(), rows.columns.begin() + 2 * count, std::uint16_t{0});
  for (std::ptrdiff_t row = std::max(2 * y, area.y1); row < std::min(2 * y + 2, area.y2); ++row) {
    CopyCoverage(plate, height, row - area.y1, rows.coverage.data());
    rows.coverage[width] = 0;  // the column that a sample may have beside the plate
    const std::uint8_t* __restrict__ coverage = rows.coverage.data();
    std::uint16_t* __restrict__ columns = rows.columns.data() + (area.x1 - 2 * first);
    for (std::size_t x = 0; x < WholeVectors(width); ++x) {
      columns[x] = static_cast<std::uint16_t>(columns[x] + coverage[x]);
    }
  }
  const std::uint16_t* __restrict__ columns = rows.columns.data();
  std::uint16_t* __restrict__ sums = rows.sums.data();
  for (std::ptrdiff_t x = 0; x < count; ++x) {
    sums[x] = static_cast<std::uint16_t>(columns[2 * x] + columns[2 * x + 1]);
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void PlateHalf(const Canvas& canvas, const Shape& shape, std::ptrdiff_t height,
                             Rows& rows) {
  const Rectangle& area = shape.plate.area;
  if (area.x1 == area.x2) return;
  const std::ptrdiff_t first = area.x1 / 2, end = (area.x2 + 1) / 2;
  const auto count = static_cast<std::size_t>(end - first);
  const std::size_t inside_first = area.x1 % 2 != 0 ? 1 : 0;
  const std::size_t inside_end = count - (area.x2 % 2 != 0 ? 1 : 0);
  for (std::ptrdiff_t y = area.y1 / 2; y < (area.y2 + 1) / 2; ++y) {
    SumCoverage(shape.plate, height, y, rows);
    const auto rows_covered = static_cast<std::uint32_t>(Covered(y, area.y1, area.y2));
    const std::uint32_t tall = Doubles(y, canvas.height);
    for (std::size_t p = 1; p < canvas.num_planes; ++p) {
      const CanvasPlane& plane = canvas.planes[p];
      std::uint8_t* row =
          plane.samples + y * plane.row_stride + static_cast<std::ptrdiff_t>(kChannels) * first;
      const Colour<kChannels> fill = ColourAt<kChannels>(shape.fill + p);
      const Colour<kChannels> text = ColourAt<kChannels>(shape.text + p);
      const auto mix = [&](std::size_t from, std::size_t to, std::uint32_t columns_covered,
                           std::uint32_t wide) {
        MixSamples<kChannels>(row + kChannels * from, rows.sums.data() + from, to - from,
                              columns_covered * rows_covered, wide + tall, fill, text,
                              rows.mixed.data());
      };
      if (inside_first != 0) mix(0, 1, 1, 1);
      if (inside_first < inside_end) mix(inside_first, inside_end, 2, 1);
      if (inside_end < count) mix(inside_end, count, 1, Doubles(end - 1, canvas.width));
    }
  }
}

// The first plane has a sample per pixel.
template <std::size_t kChannels>
EDGECV_INLINE void PaintFull(const Canvas& canvas, const std::vector<Shape>& shapes,
                             std::ptrdiff_t height, Rows& rows) {
  const CanvasPlane& plane = canvas.planes[0];
  for (auto shape = shapes.rbegin(); shape != shapes.rend(); ++shape) {
    OutlineFull<kChannels>(plane, *shape, rows);
  }
  for (auto shape = shapes.rbegin(); shape != shapes.rend(); ++shape) {
    PlateFull<kChannels>(plane, *shape, height, rows);
  }
}

// The other planes have half as many along each side, and equally many channels.
template <std::size_t kChannels>
EDGECV_INLINE void PaintHalf(const Canvas& canvas, const std::vector<Shape>& shapes,
                             std::ptrdiff_t height, Rows& rows) {
  for (auto shape = shapes.rbegin(); shape != shapes.rend(); ++shape) {
    for (std::size_t p = 1; p < canvas.num_planes; ++p) {
      OutlineHalf<kChannels>(canvas, canvas.planes[p], *shape, shape->fill + p, rows);
    }
  }
  for (auto shape = shapes.rbegin(); shape != shapes.rend(); ++shape) {
    PlateHalf<kChannels>(canvas, *shape, height, rows);
  }
}

EDGECV_INLINE void Paint(const Canvas* canvas, const std::vector<Shape>* shapes,
                         std::ptrdiff_t height, Rows* rows) {
  if (canvas->planes[0].channels == 3) return PaintFull<3>(*canvas, *shapes, height, *rows);
  PaintFull<1>(*canvas, *shapes, height, *rows);
  if (canvas->num_planes == 3) return PaintHalf<1>(*canvas, *shapes, height, *rows);
  if (canvas->num_planes == 2) return PaintHalf<2>(*canvas, *shapes, height, *rows);
}

}  // namespace

void DrawBoxesCpu(const Canvas& canvas, const float* boxes_xyxy, const std::uint8_t* colours,
                  std::size_t n, std::ptrdiff_t line_width, const BoxLabels& labels) {
  if (n == 0) return;
  const std::vector<Shape> shapes =
      Placed(canvas, boxes_xyxy, colours, n, line_width, labels);
  Rows rows(static_cast<std::size_t>(canvas.width));
  Dispatch<Paint>(&canvas, &shapes, labels.height, &rows);
}

}  // namespace edgecv
