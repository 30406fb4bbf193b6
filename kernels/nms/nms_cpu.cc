// CPU implementation of nms.h: candidates are visited best first, across all classes, so that the
// visit can stop as soon as enough are kept. Each is compared with the kept boxes of its own class
// only, 16 at a time in float32; the few that may overlap it too much are decided in double. Nothing
// of size n * n is ever computed or stored.

#include "nms/nms.h"

#include "common/kept_boxes.h"
#include "common/rank.h"
#include "common/simd.h"

namespace edgecv {
namespace {

// Above this number of boxes a call returns its working memory, some 40 bytes a box.
constexpr std::size_t kRetainedBoxes = std::size_t{1} << 18;

// Candidates between a prefetch and its use: an access to the second-level cache takes as long.
constexpr std::size_t kAhead = 8;

struct Scratch {
  Ranking ranking;
  KeptBoxes boxes;
};

struct Problem {
  const float* boxes_xyxy;
  const std::int32_t* class_ids;
  double iou_threshold;
  std::size_t max_detections;
  std::int64_t* kept;
};

// Whether a kept box that begins at block `first` suppresses `box`.
template <typename Search, bool kAnyOverlap>
EDGECV_INLINE bool IsSuppressed(const BoxBlock* blocks, std::uint32_t first, const AreaBox& box,
                                double iou_threshold) {
  for (std::uint32_t b = first; b != BoxBlock::kNone; b = blocks[b].next) {
    std::uint32_t mask = Search::template Mask<kAnyOverlap>(blocks[b], box);
    for (; mask != 0; mask &= mask - 1) {
      const auto lane = static_cast<unsigned>(__builtin_ctz(mask));
      if (Iou(box, blocks[b], lane) > iou_threshold) return true;
    }
  }
  return false;
}

template <typename Search, bool kAnyOverlap>
EDGECV_INLINE std::size_t Visit(const Problem& problem, const OverlapLimit& limit,
                                Scratch& scratch) {
  const Ranking& ranking = scratch.ranking;
  KeptBoxes& boxes = scratch.boxes;
  std::size_t count = 0;
  for (std::size_t rank = 0; rank < ranking.size() && count < problem.max_detections; ++rank) {
    if (rank + kAhead < ranking.size()) {
      __builtin_prefetch(problem.boxes_xyxy + 4 * ranking.row(rank + kAhead));
    }
    const std::size_t row = ranking.row(rank);
    AreaBox box;
    if (ReadBox(problem.boxes_xyxy + 4 * row, limit, &box)) {
      KeptBoxes::Class& rivals = boxes.Of(problem.class_ids == nullptr ? 0 : problem.class_ids[row]);
      if (IsSuppressed<Search, kAnyOverlap>(boxes.blocks(), rivals.first, box,
                                            problem.iou_threshold)) {
        continue;
      }
      boxes.Add(rivals, box);
    }
    problem.kept[count++] = static_cast<std::int64_t>(row);
  }
  return count;
}

template <typename Search>
struct Suppress {
  EDGECV_INLINE static std::size_t Run(const Problem* problem, Scratch* scratch) {
    const OverlapLimit limit(problem->iou_threshold);
    return limit.any_overlap ? Visit<Search, true>(*problem, limit, *scratch)
                             : Visit<Search, false>(*problem, limit, *scratch);
  }
};

}  // namespace

std::size_t NmsCpu(const float* boxes_xyxy, const float* scores, const std::int32_t* class_ids,
                   std::size_t n, double iou_threshold, std::size_t max_detections,
                   std::int64_t* kept) {
  thread_local Scratch scratch;
  scratch.ranking.Sort(scores, n);
  scratch.boxes.Clear();
  const Problem problem{boxes_xyxy, class_ids, iou_threshold, max_detections, kept};
  const std::size_t count = DispatchSearch<Suppress>(&problem, &scratch);
  if (n > kRetainedBoxes) scratch = Scratch();
  return count;
}

}  // namespace edgecv
