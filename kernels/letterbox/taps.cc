#include "letterbox/taps.h"

#include <algorithm>
#include <cmath>

namespace edgecv {

Taps LinearTaps(const Axis& axis, bool is_area) {
  Taps taps;
  const auto count = static_cast<std::size_t>(axis.count);
  taps.low.resize(count), taps.high.resize(count), taps.weight.resize(count);
  taps.is_blended = false;
  // double: a side of 6 million (a one-pixel strip, centre-cropped) still has exact half pixels.
  const auto source = static_cast<double>(axis.source), resized = static_cast<double>(axis.resized);
  for (std::size_t i = 0; i < count; ++i) {
    const double position = static_cast<double>(axis.first) + static_cast<double>(i);
    double low, fraction;
    if (is_area) {
      low = std::min(std::floor(position * source / resized), source - 1.0);
      const double reach = std::max(0.0, position + 1.0 - (low + 1.0) * resized / source);
      fraction = reach - std::floor(reach);
    } else {
      const double centre = std::clamp((position + 0.5) * source / resized - 0.5, 0.0, source - 1.0);
      low = std::floor(centre);
      fraction = centre - low;
    }
    taps.low[i] = static_cast<std::int32_t>(low);
    taps.high[i] = static_cast<std::int32_t>(std::min(low + 1.0, source - 1.0));
    taps.weight[i] = ToWeight(fraction);
    taps.is_blended |= taps.weight[i] != 0;
  }
  return taps;
}

Taps IdentityTaps(std::ptrdiff_t first, std::ptrdiff_t count) {
  Taps taps;
  taps.low.resize(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < taps.low.size(); ++i)
    taps.low[i] = static_cast<std::int32_t>(first + static_cast<std::ptrdiff_t>(i));
  taps.is_blended = false;
  return taps;
}

Spans AreaSpans(const Axis& axis) {
  Spans spans;
  spans.offset.push_back(0);
  const double ratio = static_cast<double>(axis.source) / static_cast<double>(axis.resized);
  for (std::ptrdiff_t k = axis.first; k < axis.first + axis.count; ++k) {
    const double begin = static_cast<double>(k) * static_cast<double>(axis.source) /
                         static_cast<double>(axis.resized);
    const double end = begin + ratio;
    const auto first = std::min(static_cast<std::ptrdiff_t>(begin), axis.source - 1);
    const auto last = std::min(static_cast<std::ptrdiff_t>(std::ceil(end)), axis.source);
    double total = 0.0;
    const auto covered = [&](std::ptrdiff_t i) {
      // A sliver that is there only because the ends were rounded is none.
      const double width = std::min(end, static_cast<double>(i + 1)) -
                           std::max(begin, static_cast<double>(i));
      return width > 1e-9 ? width : 0.0;
    };
    std::ptrdiff_t from = first, to = std::max(last, first + 1);
    while (to - from > 1 && covered(from) == 0.0) ++from;
    while (to - from > 1 && covered(to - 1) == 0.0) --to;
    for (std::ptrdiff_t i = from; i < to; ++i) total += covered(i);
    for (std::ptrdiff_t i = from; i < to; ++i)
      spans.weights.push_back(static_cast<float>(total > 0.0 ? covered(i) / total : 1.0));
    spans.first.push_back(from);
    spans.offset.push_back(spans.weights.size());
  }
  return spans;
}

}  // namespace edgecv
