// A radix sort of the scores' bits, from the lowest digit to the highest. It is stable and begins in
// the order of the rows, so that rows never need comparing.

#include "common/rank.h"

#include <cstring>

namespace edgecv {
namespace {

// Below this number of scores, clearing and summing tables of 2048 costs more than a fourth pass.
constexpr std::size_t kFewScores = 4096;

// Rises as the score falls; -0 gives the bits of 0.
std::uint32_t FallingBits(float score) {
  const float value = score + 0.0f;
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  // Positive floats rise with their bits, negative ones fall: flip what has to be reversed.
  return (bits >> 31) != 0 ? bits : bits ^ 0x7fffffffu;
}

}  // namespace

template <unsigned kBits>
void Ranking::RadixSort() {
  constexpr std::size_t kDigits = (32 + kBits - 1) / kBits, kValues = std::size_t{1} << kBits;
  constexpr std::uint64_t kMask = kValues - 1;
  std::uint32_t places[kDigits][kValues] = {};
  for (std::size_t i = 0; i < size_; ++i) {
    for (std::size_t d = 0; d < kDigits; ++d) ++places[d][keys_[i] >> (32 + d * kBits) & kMask];
  }
  for (std::size_t d = 0; d < kDigits; ++d) {
    const std::size_t shift = 32 + d * kBits;
    if (places[d][keys_[0] >> shift & kMask] == size_) continue;  // all alike in this digit
    std::uint32_t place = 0;
    for (std::uint32_t& count : places[d]) {
      const std::uint32_t next = place + count;
      count = place, place = next;
    }
    for (std::size_t i = 0; i < size_; ++i) {
      const std::uint64_t key = keys_[i];
      spare_[places[d][key >> shift & kMask]++] = key;
    }
    keys_.swap(spare_);
  }
}

void Ranking::Sort(const float* scores, std::size_t n) {
  if (keys_.size() < n) keys_.resize(n), spare_.resize(n);
  size_ = 0;
  for (std::size_t i = 0; i < n; ++i) {
    keys_[size_] = std::uint64_t{FallingBits(scores[i])} << 32 | i;
    size_ += scores[i] == scores[i] ? 1 : 0;  // NaN has no rank
  }
  if (size_ == 0) return;
  if (size_ < kFewScores) {
    RadixSort<8>();
  } else {
    RadixSort<11>();
  }
}

}  // namespace edgecv
