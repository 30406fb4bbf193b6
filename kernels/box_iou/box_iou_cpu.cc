// CPU implementation of box_iou.h. The boxes of `b` are transposed to one array per coordinate, a
// tile at a time, so that the inner loop reads and writes whole vectors. Boxes without an area are
// left to a second, short pass, so that this loop has no special cases. It runs in float32 unless a
// side or a coordinate is so large or small that a product could overflow or vanish; then in double.

#include "box_iou/box_iou.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "common/simd.h"

namespace edgecv {
namespace {

// 256 boxes of 6 numbers: the transposed tile stays in the first-level cache, in double too.
constexpr std::size_t kTile = 256;

template <typename Real>
struct Tile {
  alignas(64) Real x1[kTile], y1[kTile], x2[kTile], y2[kTile], area[kTile], angle[kTile];
  std::uint32_t without_area[kTile];
  std::size_t num_without_area = 0;
};

bool HasArea(const float* box) {
  return box[2] > box[0] && box[3] > box[1] && std::isfinite(box[0]) && std::isfinite(box[1]) &&
         std::isfinite(box[2]) && std::isfinite(box[3]);
}

// Whether squares of sums of such numbers, and products of two of them, are normal floats: sides in
// [2^-30, 2^30], so that areas are, and coordinates up to 2^30.
bool FitsFloat(const float* boxes, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const float* box = boxes + 4 * i;
    if (!HasArea(box)) continue;
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const float low = box[axis], high = box[axis + 2], side = high - low;
      if (!(side >= 0x1p-30f && low >= -0x1p30f && high <= 0x1p30f)) return false;
    }
  }
  return true;
}

template <typename Real>
Real Angle(const float* box) {
  const double width = static_cast<double>(box[2]) - box[0];
  const double height = static_cast<double>(box[3]) - box[1];
  constexpr double kTwoOverPi = 0.63661977236758134308;  // so that v is the square of a difference
  return static_cast<Real>(kTwoOverPi * std::atan(width / height));
}

template <typename Real, Overlap kKind>
void Transpose(const float* b, std::size_t count, Tile<Real>& tile) {
  tile.num_without_area = 0;
  for (std::size_t j = 0; j < count; ++j) {
    const float* box = b + 4 * j;
    const bool has_area = HasArea(box);
    // Any box with an area does for one that has none: its results are overwritten.
    const float unit[4] = {0.0f, 0.0f, 1.0f, 1.0f};
    const float* q = has_area ? box : unit;
    if (!has_area) tile.without_area[tile.num_without_area++] = static_cast<std::uint32_t>(j);
    tile.x1[j] = q[0], tile.y1[j] = q[1], tile.x2[j] = q[2], tile.y2[j] = q[3];
    tile.area[j] = (tile.x2[j] - tile.x1[j]) * (tile.y2[j] - tile.y1[j]);
    if constexpr (kKind == Overlap::kCiou) tile.angle[j] = Angle<Real>(q);
  }
}

template <typename Real>
EDGECV_INLINE Real Larger(Real a, Real b) { return a > b ? a : b; }

template <typename Real>
EDGECV_INLINE Real Smaller(Real a, Real b) { return a < b ? a : b; }

// The row of `p`, a box with an area, against the tile.
template <typename Real, Overlap kKind>
EDGECV_INLINE void Row(const float* p, Real angle, const Tile<Real>& tile, std::size_t count,
                       float* __restrict__ out) {
  const Real zero = 0, x1 = p[0], y1 = p[1], x2 = p[2], y2 = p[3];
  const Real area = (x2 - x1) * (y2 - y1);
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
  for (std::size_t first = 0; first < m; first += kTile) {
    const std::size_t count = std::min(kTile, m - first);
    Transpose<Real, kKind>(problem->b + 4 * first, count, tile);
    for (std::size_t i = 0; i < problem->n; ++i) {
      const float* p = problem->a + 4 * i;
      float* row = problem->out + i * m + first;
      if (!HasArea(p)) {
        std::fill_n(row, count, nothing);
        continue;
      }
      const Real angle = kKind == Overlap::kCiou ? Angle<Real>(p) : static_cast<Real>(0);
      Row<Real, kKind>(p, angle, tile, count, row);
      for (std::size_t k = 0; k < tile.num_without_area; ++k) row[tile.without_area[k]] = nothing;
    }
  }
}

template <Overlap kKind>
void Run(const Problem& problem) {
  if (FitsFloat(problem.a, problem.n) && FitsFloat(problem.b, problem.m)) {
    Dispatch<Pairs<float, kKind>>(&problem);
  } else {
    Dispatch<Pairs<double, kKind>>(&problem);
  }
}

}  // namespace

void BoxIouCpu(const float* a_xyxy, std::size_t n, const float* b_xyxy, std::size_t m, Overlap kind,
               float* out) {
  const Problem problem{a_xyxy, n, b_xyxy, m, out};
  switch (kind) {
    case Overlap::kIou: return Run<Overlap::kIou>(problem);
    case Overlap::kGiou: return Run<Overlap::kGiou>(problem);
    case Overlap::kDiou: return Run<Overlap::kDiou>(problem);
    case Overlap::kCiou: return Run<Overlap::kCiou>(problem);
  }
}

}  // namespace edgecv
