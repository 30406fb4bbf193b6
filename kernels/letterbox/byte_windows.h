// Bytes picked from rows, 64 at a time, into a vector.
//
// A group of 64 bytes lies in a few windows of 64 bytes of one row or of two, and one instruction of
// AVX-512 VBMI permutes one window or two: `Pick` returns a vector whose byte `i` is what
// `Place(group, i, ...)` named. A byte that was given no place holds what happens to come. Nothing is
// read outside the rows.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "letterbox/byte_permutation.h"

namespace edgecv {

// For a row that is due after another: into the second cache, since the first would lose it until
// then. Rows that are far apart are nothing that the processor foresees.
EDGECV_INLINE void FetchLine(const std::uint8_t* at) { __builtin_prefetch(at, 0, 2); }

class ByteWindows {
 public:
  static constexpr std::ptrdiff_t kBytes = 64;
  // Beyond that many windows for a group, most of what they load is not wanted.
  static constexpr std::size_t kMaxWindows = 8;
  static constexpr std::size_t kSeveral = 0;  // for `Pick` and `Fetch`: 2 or more

  using Rows = std::array<const std::uint8_t*, 2>;

  // As many as hold `longest` bytes.
  static std::size_t NumWindows(std::ptrdiff_t longest) {
    return static_cast<std::size_t>((longest + kBytes - 1) / kBytes);
  }

  // `windows_per_row`: of a group, for what is needed of a row.
  ByteWindows(std::size_t num_groups, std::size_t num_rows, std::size_t windows_per_row)
      : num_windows_(num_rows * windows_per_row), windows_per_row_(windows_per_row),
        places_(num_groups), windows_(num_groups * num_windows_) {}

  std::size_t num_windows() const { return num_windows_; }

  // The places of a group in a row of `row_bytes`, at least 64, lie from `begin` on.
  void Begin(std::size_t group, std::size_t row, std::ptrdiff_t begin, std::ptrdiff_t row_bytes) {
    Window* windows = windows_.data() + group * num_windows_ + row * windows_per_row_;
    for (std::size_t w = 0; w < windows_per_row_; ++w)
      windows[w].begin =
          std::min(begin + static_cast<std::ptrdiff_t>(w) * kBytes, row_bytes - kBytes);
  }

  // Byte `i` of the vector is byte `at` of the row.
  void Place(std::size_t group, std::size_t i, std::size_t row, std::ptrdiff_t at) {
    Window* windows = windows_.data() + group * num_windows_;
    std::size_t w = row * windows_per_row_;
    w += static_cast<std::size_t>((at - windows[w].begin) / kBytes);
    const std::ptrdiff_t second = w == 1 ? kBytes : 0;  // permuted together with the first
    places_[group].bytes[i] = static_cast<std::uint8_t>(at - windows[w].begin + second);
    windows[w].taken |= std::uint64_t{1} << i;
  }

  // Where the first window of all begins, and the last of a group.
  std::ptrdiff_t FirstBegin() const { return windows_.front().begin; }
  std::ptrdiff_t LastBegin(std::size_t group) const {
    return windows_[(group + 1) * num_windows_ - 1].begin;
  }

#if defined(__x86_64__)
  // `kNumWindows` is how many there are, or `kSeveral`. Rows are one row, twice, or two.
  template <std::size_t kNumWindows>
  EDGECV_TARGET_VBMI EDGECV_INLINE __m512i Pick(const Rows& rows, std::size_t group) const {
    const std::size_t num_windows = kNumWindows == kSeveral ? num_windows_ : kNumWindows;
    const Window* windows = windows_.data() + group * num_windows;
    const __m512i places = _mm512_load_si512(places_[group].bytes.data());
    const __m512i first = _mm512_loadu_si512(rows[0] + windows[0].begin);
    if constexpr (kNumWindows == 1) return _mm512_permutexvar_epi8(places, first);
    const std::uint8_t* row =
        kNumWindows == 2 || windows_per_row_ == 1 ? rows[1] : rows[0];
    __m512i picked = _mm512_permutex2var_epi8(first, places,
                                              _mm512_loadu_si512(row + windows[1].begin));
    if constexpr (kNumWindows == kSeveral) {
      std::size_t w = 2;
      for (; w < windows_per_row_; ++w)
        picked = _mm512_mask_permutexvar_epi8(picked, windows[w].taken, places,
                                              _mm512_loadu_si512(rows[0] + windows[w].begin));
      for (; w < num_windows; ++w)
        picked = _mm512_mask_permutexvar_epi8(picked, windows[w].taken, places,
                                              _mm512_loadu_si512(rows[1] + windows[w].begin));
    }
    return picked;
  }

  // Fetches a group's windows of these rows into the cache.
  template <std::size_t kNumWindows>
  EDGECV_TARGET_VBMI EDGECV_INLINE void Fetch(const Rows& rows, std::size_t group) const {
    const std::size_t num_windows = kNumWindows == kSeveral ? num_windows_ : kNumWindows;
    const Window* windows = windows_.data() + group * num_windows;
    if constexpr (kNumWindows == 2) {
      FetchLine(rows[0] + windows[0].begin);
      FetchLine(rows[1] + windows[1].begin);
    } else {
      std::size_t w = 0;
      for (; w < windows_per_row_; ++w) FetchLine(rows[0] + windows[w].begin);
      for (; w < num_windows; ++w) FetchLine(rows[1] + windows[w].begin);
    }
  }
#endif

 private:
  struct alignas(64) Places {
    std::array<std::uint8_t, 64> bytes;  // within their window, or within the first two
  };
  struct Window {
    std::ptrdiff_t begin;
    std::uint64_t taken;  // bytes of the vector that come from here
  };

  std::size_t num_windows_, windows_per_row_;
  std::vector<Places> places_;   // by group
  std::vector<Window> windows_;  // `num_windows_` of each group, those of the first row before those of the second
};

}  // namespace edgecv
