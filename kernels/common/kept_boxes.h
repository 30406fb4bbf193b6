// The boxes that a suppression has kept so far, class by class, and the search among them for those
// that overlap a candidate.
//
// A search looks at 16 boxes at a time in float32 and answers with a mask of boxes that may overlap
// too much; the caller decides with `Iou`, in double. The mask has false hits at the threshold's
// edge only, and never misses: overlap_limit.h says why. Below t = 2^-20 it has every box that shares
// any area, by comparisons alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/intrinsics.h"
#include "common/overlap_limit.h"
#include "common/simd.h"

namespace edgecv {

constexpr std::size_t kBoxesPerBlock = 16;

// One array per coordinate, so that a search reads whole vectors: on AVX-512, one each.
struct alignas(64) BoxBlock {
  float x1[kBoxesPerBlock], y1[kBoxesPerBlock], x2[kBoxesPerBlock], y2[kBoxesPerBlock];
  float limit[kBoxesPerBlock];  // +infinity past the last box, so that nothing is a hit there
};

// The IoU of a box and box `i` of a block.
EDGECV_INLINE double Iou(const AreaBox& p, const BoxBlock& block, unsigned i) {
  return Iou(p, block.x1[i], block.y1[i], block.x2[i], block.y2[i]);
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
