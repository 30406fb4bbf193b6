// Four ways to pick the bytes.
//
// With AVX-512 VBMI one instruction permutes 64 bytes: 64 outputs lie in a few windows of the row,
// because indices rise slowly, and each window gives all streams those of their outputs that it
// holds. Elsewhere, every byte, every second or every fourth, as the columns of a whole row are, is a
// plain vector loop. Where the bytes of an output lie together, as those of two neighbouring pixels
// do, they are loaded as one record of 8 bytes and records are then split in vectors. What is left
// is picked byte by byte.

#include "letterbox/gather.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/simd.h"
#include "letterbox/byte_permutation.h"

namespace edgecv {
namespace {

constexpr std::size_t kWindow = 64;  // bytes

// Beyond that many windows for 64 outputs, most of what they load is not wanted.
constexpr std::size_t kMaxWindows = 32;

// More streams than these are quicker as records: a byte of each lies in one.
constexpr std::size_t kMaxStrides = 3;

// Records on their way from scalar stores to vector loads: enough that the stores are done by then.
constexpr std::size_t kRecordsAtATime = 256;

EDGECV_INLINE
void SplitRecords(const std::uint64_t* __restrict__ records, std::size_t count, int shift,
                  std::uint8_t* __restrict__ out) {
  for (std::size_t i = 0; i < count; ++i)
    out[i] = static_cast<std::uint8_t>(records[i] >> shift);
}

template <std::ptrdiff_t kStep>
EDGECV_INLINE
void PickEach(const std::uint8_t* __restrict__ first, std::size_t count,
              std::uint8_t* __restrict__ out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = first[static_cast<std::ptrdiff_t>(i) * kStep];
}

// Each byte twice; the last one once if `count` is odd.
template <std::ptrdiff_t kStep>
EDGECV_INLINE
void PickTwice(const std::uint8_t* __restrict__ first, std::size_t count,
               std::uint8_t* __restrict__ out) {
  const std::size_t num_pairs = count / 2;
  for (std::size_t i = 0; i < num_pairs; ++i) {
    const std::uint8_t value = first[static_cast<std::ptrdiff_t>(i) * kStep];
    out[2 * i] = value;
    out[2 * i + 1] = value;
  }
  if (count % 2 != 0) out[count - 1] = first[static_cast<std::ptrdiff_t>(num_pairs) * kStep];
}

template <std::ptrdiff_t kStep>
void Pick(const std::uint8_t* first, bool is_twice, std::size_t count, std::uint8_t* out) {
  if (is_twice)
    Dispatch<PickTwice<kStep>>(first, count, out);
  else
    Dispatch<PickEach<kStep>>(first, count, out);
}

// Byte `offset` of a record in memory, as a shift of its value.
constexpr int ShiftTo(std::int32_t offset) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return 8 * (7 - offset);
#else
  return 8 * offset;
#endif
}

}  // namespace

GatherPlan::GatherPlan(std::vector<std::vector<std::int32_t>> index) : index_(std::move(index)) {
  if (HasBytePermutation()) PlanWindows();
  if (blocks_.empty()) PlanStrides();
  if (blocks_.empty() && strides_.empty()) PlanRecords();
}

bool GatherPlan::IsStride(const std::vector<std::int32_t>& index, std::int32_t step,
                          Repeats repeats) {
  for (std::size_t i = 1; i < index.size(); ++i) {
    const bool is_repeated =
        repeats != Repeats::kNone && (i % 2 != 0) == (repeats == Repeats::kPairs);
    if (index[i] != index[i - 1] + (is_repeated ? 0 : step)) return false;
  }
  return !index.empty();
}

void GatherPlan::PlanStrides() {
  if (index_.size() > kMaxStrides) return;
  constexpr std::array<std::int32_t, 3> kSteps{1, 2, 4};
  const auto find = [&](const std::vector<std::int32_t>& index) {
    for (const std::int32_t step : kSteps)
      for (const Repeats repeats : {Repeats::kNone, Repeats::kPairs, Repeats::kPairsAfterFirst})
        if (IsStride(index, step, repeats)) {
          strides_.push_back({index[0], step, repeats});
          return true;
        }
    return false;
  };
  if (!std::all_of(index_.begin(), index_.end(), find)) strides_.clear();
}

void GatherPlan::GatherStrides(const std::uint8_t* row, const Streams& out) const {
  for (std::size_t s = 0; s < strides_.size(); ++s) {
    const Stride& stride = strides_[s];
    const std::uint8_t* first = row + stride.first;
    std::uint8_t* target = out[s];
    std::size_t count = index_[s].size();
    if (stride.repeats == Repeats::kPairsAfterFirst) {
      *target++ = *first;
      // Not beyond the row: there may be no next byte.
      if (--count == 0) continue;
      first += stride.step;
    }
    const bool is_twice = stride.repeats != Repeats::kNone;
    switch (stride.step) {
      case 1: Pick<1>(first, is_twice, count, target); break;
      case 2: Pick<2>(first, is_twice, count, target); break;
      default: Pick<4>(first, is_twice, count, target); break;
    }
  }
}

void GatherPlan::PlanRecords() {
  if (index_.size() < 2 || index_[0].empty()) return;  // one stream is as quick byte by byte
  constexpr std::int32_t kBytes = sizeof(std::uint64_t);
  for (std::size_t s = 0; s < index_.size(); ++s)
    if (index_[s][0] < index_[record_stream_][0]) record_stream_ = s;
  const std::vector<std::int32_t>& base = index_[record_stream_];
  std::int32_t highest = 0;
  for (std::size_t s = 0; s < index_.size(); ++s) {
    record_offset_[s] = index_[s][0] - base[0];
    if (record_offset_[s] >= kBytes) return;
    highest = std::max(highest, index_[s].back());
  }
  const auto is_record = [&](std::size_t i) {
    if (base[i] > highest + 1 - kBytes) return false;  // it would read too far
    for (std::size_t s = 0; s < index_.size(); ++s)
      if (index_[s][i] != base[i] + record_offset_[s]) return false;
    return true;
  };
  while (num_records_ < base.size() && is_record(num_records_)) ++num_records_;
}

void GatherPlan::GatherRecords(const std::uint8_t* row, const Streams& out) const {
  const std::vector<std::int32_t>& base = index_[record_stream_];
  std::array<std::uint64_t, kRecordsAtATime> records;
  for (std::size_t first = 0; first < num_records_; first += kRecordsAtATime) {
    const std::size_t count = std::min(kRecordsAtATime, num_records_ - first);
    for (std::size_t i = 0; i < count; ++i)
      std::memcpy(&records[i], row + base[first + i], sizeof records[i]);
    for (std::size_t s = 0; s < index_.size(); ++s)
      Dispatch<SplitRecords>(records.data(), count, ShiftTo(record_offset_[s]), out[s] + first);
  }
}

void GatherPlan::PlanWindows() {
  const std::size_t length = index_[0].size();
  for (std::size_t first = 0; first < length; first += kWindow) {
    const std::size_t last = std::min(first + kWindow, length);
    std::int32_t lowest = index_[0][first], highest = index_[0][last - 1];
    for (const auto& stream : index_) {
      lowest = std::min(lowest, stream[first]);
      highest = std::max(highest, stream[last - 1]);
    }
    const auto span = static_cast<std::size_t>(highest - lowest) + 1;
    const std::size_t num_windows = (span + kWindow - 1) / kWindow;
    if (num_windows > kMaxWindows) {
      blocks_.clear();
      return;
    }
    blocks_.push_back({lowest, windows_.size(), num_windows});
    for (std::size_t w = 0; w < num_windows; ++w) {
      const std::size_t bytes = std::min(span - w * kWindow, kWindow);
      windows_.push_back({~std::uint64_t{0} >> (kWindow - bytes), {}});
    }
    Window* windows = windows_.data() + blocks_.back().first_window;
    for (std::size_t s = 0; s < index_.size(); ++s) {
      Places places{};
      for (std::size_t i = first; i < last; ++i) {
        const auto at = static_cast<std::size_t>(index_[s][i] - lowest);
        places[i - first] = static_cast<std::uint8_t>(at % kWindow);
        windows[at / kWindow].taken[s] |= std::uint64_t{1} << (i - first);
      }
      places_.push_back(places);
    }
  }
}

#if defined(__x86_64__)
template <std::size_t NumStreams>
EDGECV_TARGET_VBMI void GatherPlan::GatherWindows(const std::uint8_t* row,
                                                  const std::uint8_t* upcoming,
                                                  const Streams& out) const {
  const Places* places = places_.data();
  for (std::size_t b = 0; b < blocks_.size(); ++b, places += NumStreams) {
    const Block& block = blocks_[b];
    const Window* windows = windows_.data() + block.first_window;
    const std::uint8_t* begin = row + block.begin;
    __m512i picked[NumStreams], place[NumStreams];
    for (std::size_t s = 0; s < NumStreams; ++s) {
      picked[s] = _mm512_setzero_si512();
      place[s] = _mm512_loadu_si512(places[s].data());
    }
    for (std::size_t w = 0; w < block.num_windows; ++w) {
      // Rows that are far apart are nothing that the processor foresees.
      __builtin_prefetch(upcoming + block.begin + w * kWindow);
      const __m512i window = _mm512_maskz_loadu_epi8(windows[w].loaded, begin + w * kWindow);
      for (std::size_t s = 0; s < NumStreams; ++s)
        picked[s] = _mm512_mask_permutexvar_epi8(picked[s], windows[w].taken[s], place[s], window);
    }
    for (std::size_t s = 0; s < NumStreams; ++s)
      _mm512_storeu_si512(out[s] + b * kWindow, picked[s]);
  }
}
#endif

void GatherPlan::Gather(const std::uint8_t* row, [[maybe_unused]] const std::uint8_t* upcoming,
                        const Streams& out) const {
  if (!strides_.empty()) return GatherStrides(row, out);
#if defined(__x86_64__)
  if (!blocks_.empty()) {
    switch (index_.size()) {
      case 1: return GatherWindows<1>(row, upcoming, out);
      case 2: return GatherWindows<2>(row, upcoming, out);
      case 3: return GatherWindows<3>(row, upcoming, out);
      case 4: return GatherWindows<4>(row, upcoming, out);
      default: return GatherWindows<6>(row, upcoming, out);
    }
  }
#endif
  GatherRecords(row, out);
  for (std::size_t s = 0; s < index_.size(); ++s) {
    const std::vector<std::int32_t>& index = index_[s];
    for (std::size_t i = num_records_; i < index.size(); ++i) out[s][i] = row[index[i]];
  }
}

}  // namespace edgecv
