// Rows of packed colour frames, resized both ways, normalised and split into planes of floats in
// one step: what the general stages pass to each other in memory stays in registers.
//
// Contract: `PackedRows::Serve` says whether this processor can do so, and whether this fit is of
// the kind; only then may there be an object. `Write(k, planes)` sets `planes[c][x]` to the value of
// output channel c at output row k and column x of what `rows` and `columns` sample, the same to the
// bit as by RowSampler and RowWriter. It reads no byte outside the frame's rows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "letterbox/byte_windows.h"
#include "letterbox/fixed_point.h"
#include "letterbox/fused_rows.h"
#include "letterbox/letterbox.h"
#include "letterbox/taps.h"

namespace edgecv {

class PackedRows {
 public:
  static bool Serve(const Frame& frame, const Taps& rows, const Taps& columns,
                    const Normalisation& norm, const Input& out);

  // `rows` must outlive this.
  PackedRows(const Frame& frame, const Taps& rows, const Taps& columns, const Normalisation& norm);

  void Write(std::size_t k, const std::array<float*, 3>& planes) const;

 private:
  // Two source rows and their blend, and the two that are fetched into the cache meanwhile.
  struct Sources {
    const std::uint8_t *above, *below, *next_above, *next_below;
    Weight weight;
  };
  // Of 8 outputs, each four times.
  struct alignas(64) Weights {
    std::array<Weight, 32> lanes;
  };

  template <Blending kBlending, std::size_t kNumWindows>
  void WriteRow(const Sources& sources, const std::array<float*, 3>& planes) const;

  const Plane plane_;
  const Taps& rows_;
  std::size_t num_columns_;
  Blending blending_;
  std::array<float, 3> gain_, bias_;
  std::vector<Weights> weights_;  // of each group; an even number
  ByteWindows windows_;           // bytes 8i + 2c and 8i + 2c + 1: of the two taps of output i
};

}  // namespace edgecv
