// CPU implementation of box_iou.h. The boxes of `b` are transposed to one array per coordinate, a
// tile at a time, so that the inner loop reads and writes whole vectors. Boxes without an area are
// left to a second, short pass, so that this loop has no special cases. It runs in float32 unless a
// side or a coordinate is so large or small that a product could overflow or vanish; then in double.

#include "box_iou/box_iou.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "common/simd.h"

namespace edgecv {
namespace {

// Six arrays of 4 KiB: the transposed tile stays in the first-level cache beside a row of results,
// and that row is long enough for the streams of memory to get going.
template <typename Real>
struct Tile {
  static constexpr std::size_t kSize = 4096 / sizeof(Real);

  alignas(64) Real x1[kSize], y1[kSize], x2[kSize], y2[kSize], area[kSize], angle[kSize];
  std::uint16_t without_area[kSize];
  std::size_t num_without_area = 0;
};

// `&`, not `&&`, here and below: loops over boxes become vectors only where nothing branches.
EDGECV_INLINE bool HasArea(const float* box) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  return (box[2] > box[0]) & (box[3] > box[1]) & (box[0] >= -kLargest) & (box[1] >= -kLargest) &
         (box[2] <= kLargest) & (box[3] <= kLargest);
}

// Whether squares of sums of such numbers, and products of two of them, are normal floats: sides in
// [2^-30, 2^31], so that areas are, and coordinates up to 2^30. Boxes without an area fit.
EDGECV_INLINE bool FitsFloat(const float* boxes, std::size_t count) {
  std::int32_t misfits = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float* box = boxes + 4 * i;
    const bool fits = (box[2] - box[0] >= 0x1p-30f) & (box[3] - box[1] >= 0x1p-30f) &
                      (box[0] >= -0x1p30f) & (box[1] >= -0x1p30f) & (box[2] <= 0x1p30f) &
                      (box[3] <= 0x1p30f);
    misfits |= static_cast<std::int32_t>(HasArea(box)) & static_cast<std::int32_t>(!fits);
  }
  return misfits == 0;
}

// 2 / pi times the angle of the diagonal, so that v is the square of a difference.
template <typename Real>
Real Angle(Real width, Real height) {
  constexpr double kTwoOverPi = 0.63661977236758134308;
  return static_cast<Real>(kTwoOverPi * std::atan(static_cast<double>(width / height)));
}

template <typename Real, Overlap kKind>
EDGECV_INLINE void Transpose(const float* __restrict__ b, std::size_t count,
                             Tile<Real>& __restrict__ tile) {
  std::int32_t misses = 0;
  for (std::size_t j = 0; j < count; ++j) {
    const float* q = b + 4 * j;
    const bool has_area = HasArea(q);
    misses |= static_cast<std::int32_t>(!has_area);
    // Any box with an area does for one that has none: its results are overwritten.
    const Real x1 = has_area ? q[0] : 0.0f, y1 = has_area ? q[1] : 0.0f;
    const Real x2 = has_area ? q[2] : 1.0f, y2 = has_area ? q[3] : 1.0f;
    tile.x1[j] = x1, tile.y1[j] = y1, tile.x2[j] = x2, tile.y2[j] = y2;
    tile.area[j] = (x2 - x1) * (y2 - y1);
  }
  tile.num_without_area = 0;
  if (misses != 0) {
    for (std::size_t j = 0; j < count; ++j) {
      tile.without_area[tile.num_without_area] = static_cast<std::uint16_t>(j);
      tile.num_without_area += HasArea(b + 4 * j) ? 0 : 1;
    }
  }
  if constexpr (kKind == Overlap::kCiou) {
    for (std::size_t j = 0; j < count; ++j) {
      tile.angle[j] = Angle<Real>(tile.x2[j] - tile.x1[j], tile.y2[j] - tile.y1[j]);
    }
  }
}

template <typename Real>
EDGECV_INLINE Real Larger(Real a, Real b) { return a > b ? a : b; }

template <typename Real>
EDGECV_INLINE Real Smaller(Real a, Real b) { return a < b ? a : b; }

// The row of `p`, a box with an area, against the tile.
template <typename Real, Overlap kKind>
EDGECV_INLINE void Row(const float* p, const Tile<Real>& tile, std::size_t count,
                       float* __restrict__ out) {
  const Real zero = 0, x1 = p[0], y1 = p[1], x2 = p[2], y2 = p[3];
  const Real area = (x2 - x1) * (y2 - y1);
  const Real angle = kKind == Overlap::kCiou ? Angle<Real>(x2 - x1, y2 - y1) : zero;
  for (std::size_t j = 0; j < count; ++j) {
    const Real width = Smaller(x2, tile.x2[j]) - Larger(x1, tile.x1[j]);
    const Real height = Smaller(y2, tile.y2[j]) - Larger(y1, tile.y1[j]);
    const Real inter = Larger(width, zero) * Larger(height, zero);
    const Real both = area + tile.area[j] - inter;
    const Real iou = inter / both;
    Real value = iou;
    if constexpr (kKind != Overlap::kIou) {
      const Real hull_width = Larger(x2, tile.x2[j]) - Smaller(x1, tile.x1[j]);
      const Real hull_height = Larger(y2, tile.y2[j]) - Smaller(y1, tile.y1[j]);
      if constexpr (kKind == Overlap::kGiou) {
        const Real hull = hull_width * hull_height;
        value = iou - (hull - both) / hull;
      } else {
        // Twice the distance, from differences of corners: these are exact where sums would round.
        const Real x = (x1 - tile.x1[j]) + (x2 - tile.x2[j]);
        const Real y = (y1 - tile.y1[j]) + (y2 - tile.y2[j]);
        const Real diagonal = hull_width * hull_width + hull_height * hull_height;
        value = iou - static_cast<Real>(0.25) * (x * x + y * y) / diagonal;
        if constexpr (kKind == Overlap::kCiou) {
          const Real turn = angle - tile.angle[j], v = turn * turn;
          // Rounding may carry IoU past 1; the sum is 0 only where v is, and v / tiny gives 0 then.
          const Real rest = Larger(static_cast<Real>(1) - iou, zero) + v;
          value -= v * v / Larger(rest, static_cast<Real>(1e-30));
        }
      }
    }
    out[j] = static_cast<float>(value);
  }
}

struct Problem {
  const float* a;
  std::size_t n;
  const float* b;
  std::size_t m;
  float* out;
};

template <typename Real, Overlap kKind>
EDGECV_INLINE void Pairs(const Problem* problem) {
  const float nothing = kKind == Overlap::kIou ? 0.0f : -1.0f;
  const std::size_t m = problem->m;
  Tile<Real> tile;
  for (std::size_t first = 0; first < m; first += Tile<Real>::kSize) {
    const std::size_t count = std::min(Tile<Real>::kSize, m - first);
    Transpose<Real, kKind>(problem->b + 4 * first, count, tile);
    for (std::size_t i = 0; i < problem->n; ++i) {
      const float* p = problem->a + 4 * i;
      float* row = problem->out + i * m + first;
      if (!HasArea(p)) {
        std::fill_n(row, count, nothing);
        continue;
      }
      Row<Real, kKind>(p, tile, count, row);
      for (std::size_t k = 0; k < tile.num_without_area; ++k) row[tile.without_area[k]] = nothing;
    }
  }
}

template <Overlap kKind>
EDGECV_INLINE void PairsInFittingType(const Problem* problem) {
  if (FitsFloat(problem->a, problem->n) && FitsFloat(problem->b, problem->m)) {
    Pairs<float, kKind>(problem);
  } else {
    Pairs<double, kKind>(problem);
  }
}

}  // namespace

void BoxIouCpu(const float* a_xyxy, std::size_t n, const float* b_xyxy, std::size_t m, Overlap kind,
               float* out) {
  const Problem problem{a_xyxy, n, b_xyxy, m, out};
  switch (kind) {
    case Overlap::kIou: return Dispatch<PairsInFittingType<Overlap::kIou>>(&problem);
    case Overlap::kGiou: return Dispatch<PairsInFittingType<Overlap::kGiou>>(&problem);
    case Overlap::kDiou: return Dispatch<PairsInFittingType<Overlap::kDiou>>(&problem);
    case Overlap::kCiou: return Dispatch<PairsInFittingType<Overlap::kCiou>>(&problem);
  }
}

}  // namespace edgecv
