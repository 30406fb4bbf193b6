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

// Above this number of boxes a call returns its working memory: some 60 bytes a box, and a block of
// 320 for each class.
constexpr std::size_t kRetainedBoxes = std::size_t{1} << 18;

// A box with its score so far, for which the first `num_seen` kept boxes of its class have counted.
struct Waiting {
  double score;
  std::uint32_t row, num_seen;
};

// The order of a heap with the best score, then the lowest row, on top. A type, not a function, so
// that the heap's algorithms can inline it.
struct IsWorse {
  bool operator()(const Waiting& a, const Waiting& b) const {
    return a.score < b.score || (a.score == b.score && a.row > b.row);
  }
};

// Restores that order when the score on top has fallen: one pass, where taking the top off and
// pushing it again would be two.
void SiftDown(std::vector<Waiting>& heap) {
  const Waiting fallen = heap.front();
  std::size_t place = 0;
  for (std::size_t child = 1; child < heap.size(); child = 2 * place + 1) {
    if (child + 1 < heap.size() && IsWorse()(heap[child], heap[child + 1])) ++child;
    if (!IsWorse()(fallen, heap[child])) break;
    heap[place] = heap[child], place = child;
  }
  heap[place] = fallen;
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
EDGECV_INLINE void CatchUp(const BoxBlock* blocks, std::size_t num_blocks, const AreaBox& box,
                           const Problem& problem, Waiting& candidate) {
  std::uint32_t unseen = ~std::uint32_t{0} << candidate.num_seen % kBoxesPerBlock;
  for (std::size_t b = candidate.num_seen / kBoxesPerBlock; b < num_blocks; ++b) {
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
  const auto drop_top = [&heap] {
    std::pop_heap(heap.begin(), heap.end(), IsWorse());
    heap.pop_back();
  };
  while (count < problem.max_detections) {
    // The best of those that wait is on top of the heap, the best of the others is next in rank.
    bool is_waiting = !heap.empty();
    Waiting candidate = is_waiting ? heap.front() : Waiting{};
    if (rank < ranking.size()) {
      const auto row = static_cast<std::uint32_t>(ranking.row(rank));
      const Waiting next{problem.scores[row], row, 0};
      if (!is_waiting || IsWorse()(candidate, next)) candidate = next, is_waiting = false, ++rank;
    } else if (!is_waiting) {
      break;
    }
    if (!(candidate.score > problem.score_threshold)) break;  // and no other is better

    AreaBox box;
    if (ReadBox(problem.boxes_xyxy + 4 * std::size_t{candidate.row}, limit, &box)) {
      KeptBoxes::Class& rivals =
          boxes.Of(problem.class_ids == nullptr ? 0 : problem.class_ids[candidate.row]);
      const double before = candidate.score;
      CatchUp<Search, kAnyOverlap, kGaussian>(boxes.Blocks(rivals), rivals.num_blocks(), box, problem,
                                              candidate);
      const bool is_alive = candidate.score > problem.score_threshold;
      if (is_alive && candidate.score != before) {
        candidate.num_seen = static_cast<std::uint32_t>(rivals.num_boxes);
        if (is_waiting) {
          heap.front() = candidate;
          SiftDown(heap);
        } else {
          heap.push_back(candidate);
          std::push_heap(heap.begin(), heap.end(), IsWorse());
        }
        continue;
      }
      if (is_waiting) drop_top();
      if (!is_alive) continue;
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
