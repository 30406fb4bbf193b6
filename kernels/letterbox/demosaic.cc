#include "letterbox/demosaic.h"

#include <algorithm>

#include "common/simd.h"
#include "letterbox/fixed_point.h"

namespace edgecv {
namespace {

// A row alternates green with one other colour, `own`; the third, `other`, is above and below.
// All five means are taken everywhere and the right ones picked: cheaper than two strided loops.
// `above`, `row`, `below` may be read one byte before the first and after the last pixel.
EDGECV_INLINE
void Complete(const std::uint8_t* __restrict__ above, const std::uint8_t* __restrict__ row,
              const std::uint8_t* __restrict__ below, std::ptrdiff_t count, unsigned own_parity,
              std::uint8_t* __restrict__ own, std::uint8_t* __restrict__ green,
              std::uint8_t* __restrict__ other) {
  EDGECV_INDEPENDENT
  for (std::ptrdiff_t x = 0; x < count; ++x) {
    const unsigned here = row[x];
    const unsigned beside = row[x - 1] + row[x + 1];
    const unsigned stacked = above[x] + below[x];
    const unsigned corners = above[x - 1] + above[x + 1] + below[x - 1] + below[x + 1];
    // A mask and not a condition, for compilers that would branch.
    const unsigned has_own = ((static_cast<unsigned>(x) ^ own_parity) & 1u) - 1u;
    const auto pick = [has_own](unsigned with, unsigned without) {
      return static_cast<std::uint8_t>((with & has_own) | (without & ~has_own));
    };
    own[x] = pick(here, (beside + 1) >> 1);
    green[x] = pick((beside + stacked + 2) >> 2, here);
    other[x] = pick((corners + 2) >> 2, (stacked + 1) >> 1);
  }
}

struct Corner {  // what the pixel (0, 0) and its row hold
  bool starts_green, has_red;
};

Corner CornerOf(PixelFormat format) {
  switch (format) {
    case PixelFormat::kBayerRggb8: return {false, true};
    case PixelFormat::kBayerBggr8: return {false, false};
    case PixelFormat::kBayerGrbg8: return {true, true};
    default: return {true, false};
  }
}

}  // namespace

void DemosaicRow(const Frame& frame, std::ptrdiff_t y, std::ptrdiff_t first, std::ptrdiff_t count,
                 const std::array<std::uint8_t*, 3>& rgb) {
  const Plane& mosaic = frame.planes[0];
  const Corner corner = CornerOf(frame.format);
  const std::ptrdiff_t inner_y = std::clamp(y, std::ptrdiff_t{1}, frame.height - 2);
  const bool is_odd = inner_y % 2 != 0;
  const bool has_red = corner.has_red != is_odd;
  const bool starts_green = corner.starts_green != is_odd;
  std::uint8_t* own = has_red ? rgb[0] : rgb[2];
  std::uint8_t* other = has_red ? rgb[2] : rgb[0];

  const std::ptrdiff_t begin = std::max(first, std::ptrdiff_t{1});
  const std::ptrdiff_t end = std::min(first + count, frame.width - 1);
  const std::ptrdiff_t at = begin - first;
  const auto own_parity = static_cast<unsigned>((begin % 2 != 0) != starts_green);
  Dispatch<Complete>(mosaic.Row(inner_y - 1) + begin, mosaic.Row(inner_y) + begin,
                     mosaic.Row(inner_y + 1) + begin, end - begin, own_parity, own + at,
                     rgb[1] + at, other + at);
  for (std::uint8_t* channel : rgb) {
    if (first < begin) channel[0] = channel[1];
    if (first + count > end) channel[count - 1] = channel[count - 2];
  }
}

}  // namespace edgecv
