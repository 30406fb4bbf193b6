// The order in which suppression visits boxes: best score first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgecv {

// One entry per score that is not NaN, by falling score, equal scores (-0 and 0 too) by rising row.
class Ranking {
 public:
  // `n` is below 2^32. The storage of the call before is used again.
  void Sort(const float* scores, std::size_t n);

  std::size_t size() const { return size_; }
  std::size_t row(std::size_t rank) const { return keys_[rank] & 0xffffffffu; }

 private:
  template <unsigned kBits>
  void RadixSort();

  // The upper half rises as the score falls, the lower half is the row.
  std::vector<std::uint64_t> keys_, spare_;
  std::size_t size_ = 0;
};

}  // namespace edgecv
