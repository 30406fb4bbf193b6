// One source row, converted to the output's colours and resized horizontally.
//
// Contract: `Sample(y, upcoming, scratch, rows)` sets `rows[c][x]` to the Q7 value of output channel c where
// the taps sample source row y. There is one channel for a gray result, gray frames included, and
// three otherwise, in the order of `colour`. Row
// `upcoming` will be sampled soon, and is fetched into the cache meanwhile. `Sample` may be called from several threads, each with a scratch of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "letterbox/components.h"
#include "letterbox/fixed_point.h"
#include "letterbox/gather.h"
#include "letterbox/letterbox.h"
#include "letterbox/taps.h"

namespace edgecv {

class RowSampler {
 public:
  // The buffers of one thread.
  struct Scratch {
    std::array<std::vector<std::uint8_t>, 3> low, high;  // samples of each component at the taps
    std::array<std::vector<std::uint8_t>, 3> mosaic;     // R G B of the columns that taps use
    std::array<std::vector<Pixel>, 3> colours;           // R G B on their way to gray
  };

  RowSampler(const Frame& frame, Colour colour, Taps taps);

  std::size_t num_channels() const { return num_channels_; }
  std::size_t num_columns() const { return taps_.size(); }
  Scratch MakeScratch() const;
  void Sample(std::ptrdiff_t y, std::ptrdiff_t upcoming, Scratch& scratch,
              const std::array<Pixel*, 3>& rows) const;

 private:
  // Where a component's samples are gathered to: of the pixels at the taps, low before high.
  struct Stream {
    std::size_t component;
    bool is_high;
  };
  // The components that lie in one row of a plane, or in one row of a demosaiced colour.
  struct RowPlan {
    std::size_t plane;
    int shift_y;
    std::vector<Stream> streams;
    GatherPlan plan;
  };

  void GatherSamples(std::ptrdiff_t y, std::ptrdiff_t upcoming, Scratch& scratch) const;

  Frame frame_;
  FormatLayout layout_;
  Taps taps_;
  bool is_bgr_;
  std::ptrdiff_t first_column_, mosaic_columns_;  // of a mosaic: what is demosaiced
  std::size_t num_components_, num_channels_;
  std::vector<RowPlan> row_plans_;
};

}  // namespace edgecv
