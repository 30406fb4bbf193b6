// The search of a detection head for the class values that are large enough.
//
// What is found is written as keys. A key holds a float in its upper half and, inverted in its
// lower, the number of a pair, anchor * num_classes + class. So of two positive floats the key of
// the greater is the greater, and of equal ones that of the lower pair: falling keys are falling
// scores, ties by anchor, then by class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/head.h"

namespace edgecv {

using Key = std::uint64_t;

inline Key KeyOf(float value, std::uint32_t pair) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<Key>(bits) << 32 | static_cast<std::uint32_t>(~pair);
}
inline float ValueOf(Key key) {
  const auto bits = static_cast<std::uint32_t>(key >> 32);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline std::uint32_t PairOf(Key key) { return ~static_cast<std::uint32_t>(key); }

// Keys past the last one that a search may write: it stores whole vectors.
constexpr std::size_t kSlack = 16;

// Writes to `keys` the pairs of anchors first .. first + count - 1 whose value is greater than
// `floor`: all of them if `multi_label`, otherwise of each anchor the one with the largest value,
// the lowest class among equals. NaN is greater than nothing. Returns the end of the keys, which are
// in no particular order.
//
// `classes` shows the class channels from anchor `first` on; (first + count) * num_classes is less than
// 2**32. `keys` has room for count * num_classes + kSlack, and the room not needed may be written.
Key* FindClasses(HeadView classes, std::size_t num_classes, std::size_t first, std::size_t count,
                 float floor, bool multi_label, Key* keys);

}  // namespace edgecv
