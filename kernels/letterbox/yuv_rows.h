// Rows of YUV frames, converted to colours, resized both ways, normalised and split into planes of
// floats in one step, as packed_rows.h does it for packed frames.
//
// Contract: `YuvRows::Serve` says whether this processor can do so, and whether this fit is of the
// kind; only then may there be an object. `Write(k, planes)` sets `planes[c][x]` to the value of
// output channel c at output row k and column x of what `rows` and `columns` sample, the same to the
// bit as by RowSampler and RowWriter. It reads no byte outside the frame's rows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "letterbox/byte_windows.h"
#include "letterbox/components.h"
#include "letterbox/fixed_point.h"
#include "letterbox/fused_rows.h"
#include "letterbox/letterbox.h"
#include "letterbox/taps.h"
#include "letterbox/yuv_factors.h"

namespace edgecv {

class YuvRows {
 public:
  static bool Serve(const Frame& frame, const Taps& rows, const Taps& columns,
                    const Normalisation& norm, const Input& out);

  // `rows` must outlive this.
  YuvRows(const Frame& frame, const Taps& rows, const Taps& columns, const Normalisation& norm);

  void Write(std::size_t k, const std::array<float*, 3>& planes) const;

 private:
  // A row of the frame: of luma, twice, and of what holds U and V.
  struct Source {
    ByteWindows::Rows luma, chroma;
  };
  // Two source rows and their blend, and the two that are fetched into the cache meanwhile.
  struct Sources {
    Source above, below, next_above, next_below;
    Weight weight;
    bool share_chroma;
  };
  struct alignas(64) Weights {
    std::array<Weight, 32> lanes;
  };

  Source SourceAt(std::ptrdiff_t y) const;
  void PlaceChroma(const std::vector<std::int32_t>& taps);
  template <Blending kBlending>
  void WriteBlended(const Sources& sources, const std::array<float*, 3>& rgb) const;
  template <Blending kBlending, bool kSharesChroma, std::size_t kNumWindows>
  void WriteRow(const Sources& sources, const std::array<float*, 3>& rgb) const;

  const Frame frame_;
  const FormatLayout layout_;
  const Taps& rows_;
  const YuvFactors factors_;
  std::size_t num_columns_;
  bool is_bgr_;
  Blending blending_;
  std::array<float, 3> gain_, bias_;  // of R, G and B
  std::vector<Weights> weights_;      // of each group
  ByteWindows luma_;                  // bytes 2i and 2i + 1: of the two taps of lane i
  // Bytes 2i and 2i + 1: U and V at the left tap of lane i; then, if some taps do not share theirs, at
  // the right ones.
  std::vector<ByteWindows> chroma_;
  bool are_two_windows_;  // of luma and of chroma each
};

}  // namespace edgecv
