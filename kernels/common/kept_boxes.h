// The boxes that a suppression has kept so far, class by class, and the search among them for those
// that overlap a candidate.
//
// A search looks at 16 boxes at a time in float32 and answers with a mask of boxes that may overlap
// too much; the caller decides with `Iou`, in double. The mask has false hits at the threshold's
// edge only, and never misses:
//   Let I, A, B be the true areas of the intersection and of two boxes, t the threshold, u = 2^-24.
//   In double every step rounds by at most 2^-53 and A + B - I >= (A + B) / 2, so that an IoU that
//   comes out above t means I / (A + B - I) > t (1 - 2^-48), hence I > c (1 - 2^-48) (A + B) with
//   c = t / (1 + t). In float32, two sides and their product give at least I (1 - 3u), and what it
//   is compared with, k A + k B with k = c (1 - 2^-20) = c (1 - 16u), two products and a sum, gives
//   at most c (1 - 16u) (1 + 2u) (A + B). The former is larger, as 16 > 3 + 2.
//   This needs products that neither overflow nor lose bits to underflow. It holds for t >= 2^-20
//   and sides in [2^-50, 2^60]; a box with another side gets the limit -infinity, so that it is
//   always a hit. Below t = 2^-20 the mask has every box that shares any area, by comparisons alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/intrinsics.h"
#include "common/simd.h"

namespace edgecv {

// A box of positive, finite area; any other overlaps nothing.
struct AreaBox {
  float x1, y1, x2, y2;
  float limit;  // k times the area, see above
  double area;
};

constexpr std::size_t kBoxesPerBlock = 16;

// One array per coordinate, so that a search reads whole vectors: on AVX-512, one each.
struct alignas(64) BoxBlock {
  float x1[kBoxesPerBlock], y1[kBoxesPerBlock], x2[kBoxesPerBlock], y2[kBoxesPerBlock];
  float limit[kBoxesPerBlock];  // +infinity past the last box, so that nothing is a hit there
};

// What turns an IoU threshold into limits.
struct OverlapLimit {
  bool any_overlap;  // the threshold is too small for limits: any shared area is a hit
  double scale;      // k

  explicit OverlapLimit(double iou_threshold)
      : any_overlap(iou_threshold < 0x1p-20),
        scale(iou_threshold / (1.0 + iou_threshold) * (1.0 - 0x1p-20)) {}
};

// Reads a box into `box`; false if its area is not positive and finite, NaN included. With floats
// for coordinates, the area is finite in double if and only if they are.
EDGECV_INLINE bool ReadBox(const float* xyxy, const OverlapLimit& limit, AreaBox* box) {
  const float x1 = xyxy[0], y1 = xyxy[1], x2 = xyxy[2], y2 = xyxy[3];
  const double width = static_cast<double>(x2) - x1, height = static_cast<double>(y2) - y1;
  const double area = width * height;
  // Infinite sides are refused below with infinite areas; both sides negative must not pass.
  if (!(width > 0.0 && height > 0.0 && area < std::numeric_limits<double>::infinity())) return false;
  const bool is_plain = width >= 0x1p-50 && width <= 0x1p60 && height >= 0x1p-50 && height <= 0x1p60;
  const float scaled = is_plain ? static_cast<float>(limit.scale * area)
                                : -std::numeric_limits<float>::infinity();
  *box = {x1, y1, x2, y2, scaled, area};
  return true;
}

// |P ∩ Q| / |P ∪ Q| of a box and box `i` of a block, each step rounded in double.
EDGECV_INLINE double Iou(const AreaBox& p, const BoxBlock& block, unsigned i) {
  const double x1 = block.x1[i], y1 = block.y1[i], x2 = block.x2[i], y2 = block.y2[i];
  const double left = p.x1 > x1 ? p.x1 : x1, top = p.y1 > y1 ? p.y1 : y1;
  const double right = p.x2 < x2 ? p.x2 : x2, bottom = p.y2 < y2 ? p.y2 : y2;
  const double width = right > left ? right - left : 0.0;
  const double height = bottom > top ? bottom - top : 0.0;
  const double inter = width * height;
  return inter / (p.area + (x2 - x1) * (y2 - y1) - inter);
}

// The kept boxes of all classes; the storage of an earlier suppression is used again.
class KeptBoxes {
 public:
  struct Class {
    std::int32_t id;
    std::size_t num_boxes = 0;
    std::size_t first_block = 0, room = 0;  // its blocks follow each other

    std::size_t num_blocks() const { return (num_boxes + kBoxesPerBlock - 1) / kBoxesPerBlock; }
  };

  void Clear();

  // The class with this id, which may be any. Valid until the next call of this function.
  Class& Of(std::int32_t class_id) {
    for (std::uint32_t slot = Hash(class_id);; slot = (slot + 1) & mask_) {
      const std::uint32_t entry = slots_[slot];
      if (entry == 0) return Insert(class_id);
      if (classes_[entry - 1].id == class_id) return classes_[entry - 1];
    }
  }

  void Add(Class& owner, const AreaBox& box) {
    if (owner.num_boxes == owner.room * kBoxesPerBlock) Grow(owner);
    const std::size_t lane = owner.num_boxes % kBoxesPerBlock;
    BoxBlock& block = blocks_[owner.first_block + owner.num_boxes++ / kBoxesPerBlock];
    block.x1[lane] = box.x1, block.y1[lane] = box.y1;
    block.x2[lane] = box.x2, block.y2[lane] = box.y2;
    block.limit[lane] = box.limit;
  }

  // The blocks of a class, until the next call of `Add`.
  const BoxBlock* Blocks(const Class& owner) const { return blocks_.data() + owner.first_block; }

 private:
  // Fibonacci hashing: ids in a row, and ids a power of two apart, land far from each other.
  std::uint32_t Hash(std::int32_t class_id) const {
    return (static_cast<std::uint32_t>(class_id) * 0x9e3779b9u) >> shift_;
  }
  Class& Insert(std::int32_t class_id);
  void Grow(Class& owner);
  void Resize(unsigned log2_slots);
  void Place(std::uint32_t entry);

  std::vector<BoxBlock> blocks_;
  std::vector<Class> classes_;
  std::vector<std::uint32_t> slots_;  // open addressing: 1 + an index of classes_, or 0
  std::uint32_t mask_ = 0;
  unsigned shift_ = 0;
};

// The searches. `Mask` answers with a bit per box of the block; all levels give the same masks.
struct AnySearch {
  template <bool kAnyOverlap>
  EDGECV_INLINE static std::uint32_t Mask(const BoxBlock& block, const AreaBox& p) {
    std::int32_t hits[kBoxesPerBlock];
    std::int32_t found = 0;
    for (std::size_t i = 0; i < kBoxesPerBlock; ++i) {
      const float left = p.x1 > block.x1[i] ? p.x1 : block.x1[i];
      const float top = p.y1 > block.y1[i] ? p.y1 : block.y1[i];
      const float right = p.x2 < block.x2[i] ? p.x2 : block.x2[i];
      const float bottom = p.y2 < block.y2[i] ? p.y2 : block.y2[i];
      if (kAnyOverlap) {
        hits[i] = static_cast<std::int32_t>(right > left) & static_cast<std::int32_t>(bottom > top);
      } else {
        const float width = right - left > 0.0f ? right - left : 0.0f;  // two negatives would pass
        hits[i] = width * (bottom - top) > p.limit + block.limit[i] ? 1 : 0;
      }
      found |= hits[i];
    }
    std::uint32_t mask = 0;
    if (found != 0) {
      for (std::size_t i = 0; i < kBoxesPerBlock; ++i) {
        mask |= static_cast<std::uint32_t>(hits[i]) << i;
      }
    }
    return mask;
  }
};

#if defined(__x86_64__)
// Not EDGECV_INLINE: the caller is a template without a target of its own, which becomes part of a
// function with this target before these are looked at.
struct V3Search {
  template <bool kAnyOverlap>
  EDGECV_TARGET_V3 static inline std::uint32_t Mask(const BoxBlock& block, const AreaBox& p) {
    std::uint32_t mask = 0;
    for (std::size_t i = 0; i < kBoxesPerBlock; i += 8) {
      const __m256 left = _mm256_max_ps(_mm256_set1_ps(p.x1), _mm256_load_ps(block.x1 + i));
      const __m256 top = _mm256_max_ps(_mm256_set1_ps(p.y1), _mm256_load_ps(block.y1 + i));
      const __m256 right = _mm256_min_ps(_mm256_set1_ps(p.x2), _mm256_load_ps(block.x2 + i));
      const __m256 bottom = _mm256_min_ps(_mm256_set1_ps(p.y2), _mm256_load_ps(block.y2 + i));
      __m256 hits;
      if (kAnyOverlap) {
        hits = _mm256_and_ps(_mm256_cmp_ps(right, left, _CMP_GT_OQ),
                             _mm256_cmp_ps(bottom, top, _CMP_GT_OQ));
      } else {
        const __m256 width = _mm256_max_ps(_mm256_sub_ps(right, left), _mm256_setzero_ps());
        const __m256 inter = _mm256_mul_ps(width, _mm256_sub_ps(bottom, top));
        const __m256 limit =
            _mm256_add_ps(_mm256_set1_ps(p.limit), _mm256_load_ps(block.limit + i));
        hits = _mm256_cmp_ps(inter, limit, _CMP_GT_OQ);
      }
      mask |= static_cast<std::uint32_t>(_mm256_movemask_ps(hits)) << i;
    }
    return mask;
  }
};

struct V4Search {
  template <bool kAnyOverlap>
  EDGECV_TARGET_V4 static inline std::uint32_t Mask(const BoxBlock& block, const AreaBox& p) {
    const __m512 left = _mm512_max_ps(_mm512_set1_ps(p.x1), _mm512_load_ps(block.x1));
    const __m512 top = _mm512_max_ps(_mm512_set1_ps(p.y1), _mm512_load_ps(block.y1));
    const __m512 right = _mm512_min_ps(_mm512_set1_ps(p.x2), _mm512_load_ps(block.x2));
    const __m512 bottom = _mm512_min_ps(_mm512_set1_ps(p.y2), _mm512_load_ps(block.y2));
    if (kAnyOverlap) {
      return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(right, left, _CMP_GT_OQ), bottom, top,
                                     _CMP_GT_OQ);
    }
    const __m512 width = _mm512_max_ps(_mm512_sub_ps(right, left), _mm512_setzero_ps());
    const __m512 inter = _mm512_mul_ps(width, _mm512_sub_ps(bottom, top));
    const __m512 limit = _mm512_add_ps(_mm512_set1_ps(p.limit), _mm512_load_ps(block.limit));
    return _mm512_cmp_ps_mask(inter, limit, _CMP_GT_OQ);
  }
};
#endif

// Calls `Body<Search>::Run(arguments...)` with the best search of this processor. `Run` must be
// EDGECV_INLINE, as in `Dispatch`.
template <template <typename Search> class Body, typename... Arguments>
auto DispatchSearch(Arguments... arguments) {
#if defined(__x86_64__)
  switch (CpuLevel()) {
    case Level::kV4: return RunV4<Body<V4Search>::Run>(arguments...);
    case Level::kV3: return RunV3<Body<V3Search>::Run>(arguments...);
    default: break;
  }
#endif
  return Body<AnySearch>::Run(arguments...);
}

}  // namespace edgecv
