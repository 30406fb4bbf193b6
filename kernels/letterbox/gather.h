// Bytes picked from a row: the one step of the fit that is not a plain vector loop.
//
// Contract: a plan is made of up to 6 streams of indices of one length, which do not fall from one
// to the next. `Gather` sets `out[s][i] = row[index[s][i]]`. It reads no byte of the row outside
// those from the lowest to the highest that is indexed; `out[s]` has room for `GatherRoom(length)`
// bytes, of which those beyond `length` receive what happens to come.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgecv {

constexpr std::size_t kMaxStreams = 6;
using Streams = std::array<std::uint8_t*, kMaxStreams>;

constexpr std::size_t GatherRoom(std::size_t length) { return (length + 63) / 64 * 64; }

class GatherPlan {
 public:
  explicit GatherPlan(std::vector<std::vector<std::int32_t>> index);

  // `upcoming` is the row of the next call or of a later one: it is fetched into the cache meanwhile.
  void Gather(const std::uint8_t* row, const std::uint8_t* upcoming, const Streams& out) const;

 private:
  // 64 outputs of every stream, and the windows of 64 bytes, side by side, that hold them.
  struct Block {
    std::ptrdiff_t begin;  // of the first window
    std::size_t first_window, num_windows;
  };
  struct Window {
    std::uint64_t loaded;                          // bytes that lie between those indexed
    std::array<std::uint64_t, kMaxStreams> taken;  // outputs that come from here
  };
  using Places = std::array<std::uint8_t, 64>;  // of outputs within their window

  // A stream that takes every `step`-th byte from `first`.
  enum class Repeats { kNone, kPairs, kPairsAfterFirst };  // each once; twice; but the first once
  struct Stride {
    std::int32_t first, step;
    Repeats repeats;
  };

  static bool IsStride(const std::vector<std::int32_t>& index, std::int32_t step, Repeats repeats);
  void PlanStrides();
  void GatherStrides(const std::uint8_t* row, const Streams& out) const;
  void PlanRecords();
  void GatherRecords(const std::uint8_t* row, const Streams& out) const;
  void PlanWindows();
  template <std::size_t NumStreams>
  void GatherWindows(const std::uint8_t* row, const std::uint8_t* upcoming,
                     const Streams& out) const;

  std::vector<std::vector<std::int32_t>> index_;
  std::vector<Stride> strides_;  // by stream; empty: not so
  // The first outputs, whose bytes lie together: those of stream s `record_offset_[s]` after those of
  // stream `record_stream_`.
  std::size_t num_records_ = 0, record_stream_ = 0;
  std::array<std::int32_t, kMaxStreams> record_offset_{};
  std::vector<Block> blocks_;  // empty: byte by byte
  std::vector<Window> windows_;
  std::vector<Places> places_;  // by block and stream
};

}  // namespace edgecv
