// CPU implementation of soft_nms.h. Scores only ever fall, so the factors that a box has coming can
// wait until its turn: the box with the best score so far takes the factors of the boxes of its
// class that were kept since it last looked, in their order. If its score stands, no other can be
// better, and it is kept; otherwise it waits again, in a heap. What never comes near the top, or is
// cut off by the limit, is never compared with anything, and nothing of size n * n is stored.

#include "soft_nms/soft_nms.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/kept_boxes.h"
#include "common/rank.h"
#include "common/simd.h"

namespace edgecv {
namespace {

// Above this number of boxes a call returns its working memory, some 60 bytes a box.
constexpr std::size_t kRetainedBoxes = std::size_t{1} << 18;

// A box whose score has fallen, and the kept boxes of its class it has seen: all before `block` and
// `num_seen` of that.
struct Waiting {
  double score;
  std::uint32_t row, block, num_seen;
};

// The order of a heap with the best score, then the lowest row, on top.
bool IsWorse(const Waiting& a, const Waiting& b) {
  return a.score < b.score || (a.score == b.score && a.row > b.row);
}

struct Scratch {
  Ranking ranking;
  KeptBoxes boxes;
  std::vector<Waiting> heap;
};

struct Problem {
  const float* boxes_xyxy;
  const float* scores;
  const std::int32_t* class_ids;
  SoftNmsDecay decay;
  double score_threshold;
  std::size_t max_detections;
  std::int64_t* kept;
  float* kept_scores;
};

// Multiplies the score by the factors of the boxes kept since, until it is no longer of interest.
template <typename Search, bool kAnyOverlap, bool kGaussian>
EDGECV_INLINE void CatchUp(const BoxBlock* blocks, const AreaBox& box, const Problem& problem,
                           Waiting& candidate) {
  std::uint32_t unseen = ~std::uint32_t{0} << candidate.num_seen;
  for (std::uint32_t b = candidate.block; b != BoxBlock::kNone; b = blocks[b].next) {
    std::uint32_t mask = Search::template Mask<kAnyOverlap>(blocks[b], box) & unseen;
    for (; mask != 0; mask &= mask - 1) {
      const double iou = Iou(box, blocks[b], static_cast<unsigned>(__builtin_ctz(mask)));
      if (kGaussian) {
        candidate.score *= std::exp(-(iou * iou) / problem.decay.sigma);
      } else if (iou > problem.decay.iou_threshold) {
        candidate.score *= 1.0 - iou;
      }
      if (!(candidate.score > problem.score_threshold)) return;
    }
    unseen = ~std::uint32_t{0};
  }
}

template <typename Search, bool kAnyOverlap, bool kGaussian>
EDGECV_INLINE std::size_t Visit(const Problem& problem, const OverlapLimit& limit,
                                Scratch& scratch) {
  const Ranking& ranking = scratch.ranking;
  KeptBoxes& boxes = scratch.boxes;
  std::vector<Waiting>& heap = scratch.heap;
  std::size_t count = 0, rank = 0;
  while (count < problem.max_detections) {
    Waiting candidate{0.0, 0, BoxBlock::kNone, 0};
    bool is_first_look = rank < ranking.size();
    if (is_first_look) {
      candidate.row = static_cast<std::uint32_t>(ranking.row(rank));
      candidate.score = problem.scores[candidate.row];
      is_first_look = heap.empty() || !IsWorse(candidate, heap.front());
    } else if (heap.empty()) {
      break;
    }
    if (is_first_look) {
      ++rank;
    } else {
      std::pop_heap(heap.begin(), heap.end(), IsWorse);
      candidate = heap.back();
      heap.pop_back();
    }
    if (!(candidate.score > problem.score_threshold)) break;  // and no other is better

    AreaBox box;
    if (ReadBox(problem.boxes_xyxy + 4 * std::size_t{candidate.row}, limit, &box)) {
      KeptBoxes::Class& rivals =
          boxes.Of(problem.class_ids == nullptr ? 0 : problem.class_ids[candidate.row]);
      if (is_first_look) candidate.block = rivals.first;
      const double before = candidate.score;
      CatchUp<Search, kAnyOverlap, kGaussian>(boxes.blocks(), box, problem, candidate);
      if (candidate.score != before) {
        if (!(candidate.score > problem.score_threshold)) continue;
        candidate.block = rivals.last;
        candidate.num_seen = static_cast<std::uint32_t>((rivals.count - 1) % kBoxesPerBlock + 1);
        heap.push_back(candidate);
        std::push_heap(heap.begin(), heap.end(), IsWorse);
        continue;
      }
      boxes.Add(rivals, box);
    }
    problem.kept[count] = static_cast<std::int64_t>(candidate.row);
    problem.kept_scores[count++] = static_cast<float>(candidate.score);
  }
  return count;
}

template <typename Search>
struct Suppress {
  EDGECV_INLINE static std::size_t Run(const Problem* problem, Scratch* scratch) {
    if (problem->decay.gaussian) {  // every overlap counts
      return Visit<Search, true, true>(*problem, OverlapLimit(0.0), *scratch);
    }
    const OverlapLimit limit(problem->decay.iou_threshold);
    return limit.any_overlap ? Visit<Search, true, false>(*problem, limit, *scratch)
                             : Visit<Search, false, false>(*problem, limit, *scratch);
  }
};

}  // namespace

std::size_t SoftNmsCpu(const float* boxes_xyxy, const float* scores, const std::int32_t* class_ids,
                       std::size_t n, const SoftNmsDecay& decay, double score_threshold,
                       std::size_t max_detections, std::int64_t* kept, float* kept_scores) {
  thread_local Scratch scratch;
  scratch.ranking.Sort(scores, n);
  scratch.boxes.Clear();
  scratch.heap.clear();
  const Problem problem{boxes_xyxy,      scores,         class_ids, decay,
                        score_threshold, max_detections, kept,      kept_scores};
  const std::size_t count = DispatchSearch<Suppress>(&problem, &scratch);
  if (n > kRetainedBoxes) scratch = Scratch();
  return count;
}

}  // namespace edgecv
