// CPU implementation of draw_boxes.h. Boxes and plates are placed once, in pixels, then painted
// plane by plane. In a full plane an outline is copied from a row of its colour, and a plate's row
// is one pass of byte arithmetic over the text's coverage, spread to the plane's channels first. In
// a subsampled plane the pixels under a sample are counted instead: a rectangle covers as many as
// the product of what it covers along x and along y, and an outline is one rectangle less another.

#include "draw_boxes/draw_boxes.h"

#include <algorithm>
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

// Room for one row of anything that is painted.
struct Rows {
  std::vector<std::uint8_t> fill, text, coverage, spread;
  std::vector<std::uint16_t> columns, sums;
  std::vector<std::uint8_t> outer, inner;

  explicit Rows(std::size_t width)
      : fill(kMaxChannels * width),
        text(kMaxChannels * width),
        coverage(width),
        spread(kMaxChannels * width),
        columns(width + 2),
        sums(width / 2 + 1),
        outer(width / 2 + 1),
        inner(width / 2 + 1) {}
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
  } else {
    for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
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
EDGECV_INLINE void OutlineFull(const CanvasPlane& plane, const Shape& shape,
                               const std::uint8_t* colour, Rows& rows) {
  const Rectangle &outer = shape.outer, &inner = shape.inner;
  const bool is_filled = inner.x2 == inner.x1;
  const auto bytes = [](std::ptrdiff_t pixels) {
    return kChannels * static_cast<std::size_t>(pixels);
  };
  const std::size_t width = bytes(outer.x2 - outer.x1);
  const std::size_t left = bytes(inner.x1 - outer.x1);
  const std::size_t right = bytes(outer.x2 - inner.x2);
  Repeat<kChannels>(colour, static_cast<std::size_t>(outer.x2 - outer.x1), rows.fill.data());
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
                             const std::uint8_t* fill_colour, const std::uint8_t* text_colour,
                             Rows& rows) {
  const Rectangle& area = shape.plate.area;
  const auto width = static_cast<std::size_t>(area.x2 - area.x1);
  Repeat<kChannels>(fill_colour, width, rows.fill.data());
  Repeat<kChannels>(text_colour, width, rows.text.data());
  for (std::ptrdiff_t y = area.y1; y < area.y2; ++y) {
    CopyCoverage(shape.plate, height, y - area.y1, rows.coverage.data());
    const std::uint8_t* __restrict__ coverage = rows.coverage.data();
    if constexpr (kChannels > 1) {
      std::uint8_t* __restrict__ spread = rows.spread.data();
      for (std::size_t x = 0; x < width; ++x) {
        for (std::size_t c = 0; c < kChannels; ++c) spread[kChannels * x + c] = coverage[x];
      }
      coverage = spread;
    }
    const std::uint8_t* __restrict__ fill = rows.fill.data();
    const std::uint8_t* __restrict__ text = rows.text.data();
    std::uint8_t* __restrict__ row = plane.samples + y * plane.row_stride +
                                     static_cast<std::ptrdiff_t>(kChannels) * area.x1;
    for (std::size_t i = 0; i < kChannels * width; ++i) {
      const auto covered = static_cast<std::uint16_t>(coverage[i]);
      const auto mixed = static_cast<std::uint16_t>(fill[i] * (255 - covered) + text[i] * covered +
                                                    127);
      row[i] = static_cast<std::uint8_t>((mixed + 1 + (mixed >> 8)) >> 8);
    }
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

// Samples [begin, end) of a row: each is covered by outer * covered_outer - inner * covered_inner
// of its 1 << shift pixels.
template <std::size_t kChannels>
EDGECV_INLINE void CoverSamples(std::uint8_t* row, const std::uint8_t* outer,
                                const std::uint8_t* inner, std::size_t count,
                                std::uint32_t rows_outer, std::uint32_t rows_inner,
                                std::uint32_t shift, const std::uint8_t* colour) {
  for (std::size_t x = 0; x < count; ++x) {
    const std::uint32_t covered = outer[x] * rows_outer - inner[x] * rows_inner;
    const std::uint32_t left = (1U << shift) - covered;
    for (std::size_t c = 0; c < kChannels; ++c) {
      std::uint8_t& sample = row[kChannels * x + c];
      sample = static_cast<std::uint8_t>(
          (sample * left + colour[c] * covered + ((1U << shift) >> 1)) >> shift);
    }
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void OutlineHalf(const Canvas& canvas, const CanvasPlane& plane, const Shape& shape,
                               const std::uint8_t* colour, Rows& rows) {
  const Rectangle &outer = shape.outer, &inner = shape.inner;
  const std::ptrdiff_t first = outer.x1 / 2, end = (outer.x2 + 1) / 2;
  for (std::ptrdiff_t x = first; x < end; ++x) {
    rows.outer[static_cast<std::size_t>(x - first)] =
        static_cast<std::uint8_t>(Covered(x, outer.x1, outer.x2));
    rows.inner[static_cast<std::size_t>(x - first)] =
        static_cast<std::uint8_t>(Covered(x, inner.x1, inner.x2));
  }
  // Where the inside begins and ends: the samples between are the same in a row.
  const std::ptrdiff_t inside_first = (inner.x1 + 1) / 2, inside_end = inner.x2 / 2;
  for (std::ptrdiff_t y = outer.y1 / 2; y < (outer.y2 + 1) / 2; ++y) {
    const auto rows_outer = static_cast<std::uint32_t>(Covered(y, outer.y1, outer.y2));
    const auto rows_inner = static_cast<std::uint32_t>(Covered(y, inner.y1, inner.y2));
    const std::uint32_t tall = Doubles(y, canvas.height);
    std::uint8_t* row = plane.samples + y * plane.row_stride;
    const auto cover = [&](std::ptrdiff_t from, std::ptrdiff_t to, std::uint32_t shift) {
      if (from >= to) return;
      CoverSamples<kChannels>(row + static_cast<std::ptrdiff_t>(kChannels) * from,
                              rows.outer.data() + (from - first), rows.inner.data() + (from - first),
                              static_cast<std::size_t>(to - from), rows_outer, rows_inner, shift,
                              colour);
    };
    const std::ptrdiff_t paired = std::min(end, canvas.width / 2);  // samples of two columns
    if (rows_inner == rows_outer && inside_first < inside_end) {
      cover(first, inside_first, tall + 1);
      cover(inside_end, paired, tall + 1);
    } else {
      cover(first, paired, tall + 1);
    }
    cover(std::max(paired, first), end, tall);
  }
}

// Samples whose 1 << shift pixels lie under the plate as far as `covered` says; `sums` adds up the
// text's coverage of them.
template <std::size_t kChannels>
EDGECV_INLINE void MixSamples(std::uint8_t* __restrict__ row,
                              const std::uint16_t* __restrict__ sums, std::size_t count,
                              std::uint32_t covered, std::uint32_t shift, const std::uint8_t* fill,
                              const std::uint8_t* text) {
  const std::uint32_t left = 255 * ((1U << shift) - covered), whole = 255 * covered;
  const std::uint32_t half = (255U << shift) >> 1;
  for (std::size_t x = 0; x < count; ++x) {
    const std::uint32_t sum = sums[x];
    for (std::size_t c = 0; c < kChannels; ++c) {
      std::uint8_t& sample = row[kChannels * x + c];
      const std::uint32_t total =
          sample * left + fill[c] * (whole - sum) + text[c] * sum + half;
      sample = static_cast<std::uint8_t>(Over255(total >> shift));
    }
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void PlateHalf(const Canvas& canvas, const CanvasPlane& plane, const Shape& shape,
                             std::ptrdiff_t height, const std::uint8_t* fill,
                             const std::uint8_t* text, Rows& rows) {
  const Rectangle& area = shape.plate.area;
  if (area.x1 == area.x2) return;
  const std::ptrdiff_t first = area.x1 / 2, end = (area.x2 + 1) / 2;
  const auto width = static_cast<std::size_t>(area.x2 - area.x1);
  const auto lead = static_cast<std::size_t>(area.x1 - 2 * first);
  const auto count = static_cast<std::size_t>(end - first);
  const bool is_cut = area.x2 % 2 != 0;  // one column of the last sample
  for (std::ptrdiff_t y = area.y1 / 2; y < (area.y2 + 1) / 2; ++y) {
    std::fill(rows.columns.begin(), rows.columns.begin() + 2 * (end - first), std::uint16_t{0});
    const std::ptrdiff_t top = std::max(2 * y, area.y1), bottom = std::min(2 * y + 2, area.y2);
    for (std::ptrdiff_t row = top; row < bottom; ++row) {
      CopyCoverage(shape.plate, height, row - area.y1, rows.coverage.data());
      const std::uint8_t* __restrict__ coverage = rows.coverage.data();
      std::uint16_t* __restrict__ columns = rows.columns.data() + lead;
      for (std::size_t x = 0; x < width; ++x) {
        columns[x] = static_cast<std::uint16_t>(columns[x] + coverage[x]);
      }
    }
    const std::uint16_t* __restrict__ columns = rows.columns.data();
    std::uint16_t* __restrict__ sums = rows.sums.data();
    for (std::size_t x = 0; x < count; ++x) {
      sums[x] = static_cast<std::uint16_t>(columns[2 * x] + columns[2 * x + 1]);
    }
    const auto covered = static_cast<std::uint32_t>(bottom - top);
    const std::uint32_t tall = Doubles(y, canvas.height);
    std::uint8_t* row = plane.samples + y * plane.row_stride +
                        static_cast<std::ptrdiff_t>(kChannels) * first;
    const auto mix = [&](std::size_t from, std::size_t to, std::uint32_t columns_covered,
                         std::uint32_t wide) {
      if (from >= to) return;
      MixSamples<kChannels>(row + kChannels * from, sums + from, to - from,
                            columns_covered * covered, wide + tall, fill, text);
    };
    const std::size_t inside_end = count - (is_cut ? 1 : 0);
    mix(0, lead, 1, 1);  // begins on an odd column: one column of the first sample
    mix(lead, inside_end, 2, 1);
    mix(inside_end, count, 1, Doubles(end - 1, canvas.width));
  }
}

template <std::size_t kChannels>
EDGECV_INLINE void PaintPlane(const Canvas& canvas, const CanvasPlane& plane, std::size_t channel,
                              const std::vector<Shape>& shapes, std::ptrdiff_t height,
                              Rows& rows) {
  const bool is_full = plane.subsampling == 1;
  for (auto shape = shapes.rbegin(); shape != shapes.rend(); ++shape) {
    const std::uint8_t* fill = shape->fill + channel;
    if (is_full) {
      OutlineFull<kChannels>(plane, *shape, fill, rows);
    } else {
      OutlineHalf<kChannels>(canvas, plane, *shape, fill, rows);
    }
  }
  for (auto shape = shapes.rbegin(); shape != shapes.rend(); ++shape) {
    const std::uint8_t *fill = shape->fill + channel, *text = shape->text + channel;
    if (is_full) {
      PlateFull<kChannels>(plane, *shape, height, fill, text, rows);
    } else {
      PlateHalf<kChannels>(canvas, plane, *shape, height, fill, text, rows);
    }
  }
}

EDGECV_INLINE void Paint(const Canvas* canvas, const std::vector<Shape>* shapes,
                         std::ptrdiff_t height, Rows* rows) {
  std::size_t channel = 0;
  for (std::size_t p = 0; p < canvas->num_planes; ++p) {
    const CanvasPlane& plane = canvas->planes[p];
    switch (plane.channels) {
      case 1: PaintPlane<1>(*canvas, plane, channel, *shapes, height, *rows); break;
      case 2: PaintPlane<2>(*canvas, plane, channel, *shapes, height, *rows); break;
      default: PaintPlane<3>(*canvas, plane, channel, *shapes, height, *rows); break;
    }
    channel += plane.channels;
  }
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
