// CPU implementation of box_iou.h. The boxes of `b` are transposed to one array per coordinate, a
// tile at a time, so that the inner loop reads and writes whole vectors. Boxes without an area are
// left to a second, short pass, so that this loop has no special cases.

#include "box_iou/box_iou.h"

#include <algorithm>
#include <cstdint>

#include "box_iou/overlap.h"
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

// Whether all boxes with an area fit; the others do anyway.
EDGECV_INLINE bool AllFitFloat(const float* boxes, std::size_t count) {
  std::int32_t misfits = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float* box = boxes + 4 * i;
    const bool fits = FitsFloat(box);
    misfits |= static_cast<std::int32_t>(HasArea(box)) & static_cast<std::int32_t>(!fits);
  }
  return misfits == 0;
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

// The row of `p`, a box with an area, against the tile.
template <typename Real, Overlap kKind>
EDGECV_INLINE void Row(const float* p, const Tile<Real>& tile, std::size_t count,
                       float* __restrict__ out) {
  const MeasuredBox<Real> box = Measure<Real, kKind>(p);
  for (std::size_t j = 0; j < count; ++j) {
    const Real angle = kKind == Overlap::kCiou ? tile.angle[j] : 0;
    const MeasuredBox<Real> other = {tile.x1[j], tile.y1[j],   tile.x2[j],
                                     tile.y2[j], tile.area[j], angle};
    out[j] = OverlapOf<Real, kKind>(box, other);
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
  const float nothing = OverlapWithNothing(kKind);
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
  if (AllFitFloat(problem->a, problem->n) && AllFitFloat(problem->b, problem->m)) {
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
