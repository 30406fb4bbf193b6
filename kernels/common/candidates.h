// From the class values of a head to detections, the same for every box decoder.
//
// A candidate is a pair of an anchor and a class with score > threshold, strictly; NaN is no
// candidate. Only the best kMaxCandidates are suppressed, by falling score, ties by anchor, then by
// class; boxes are computed for these alone, and only as far as suppression gets.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/class_search.h"
#include "common/head.h"
#include "common/max_candidates.h"

namespace edgecv {

// Which pairs of an anchor and a class are candidates. The pairs of a head are fewer than 2**32.
struct Selection {
  std::size_t num_classes;
  float score_threshold;  // in [0, 1]
  bool multi_label;       // every class above the threshold, not only the best one
};

// Which candidates are detections (nms/nms.h), and the way of their boxes from the network's input
// to the frame: (x - offset) / scale.
struct Suppression {
  double iou_threshold;
  bool class_agnostic;
  std::array<float, 2> scale_xy, offset_xy;
};

// Receives the detections, best first, at most `capacity`; the rows past the last one are left
// alone.
struct Detections {
  float* boxes_xyxy;
  float* scores;
  std::int32_t* class_ids;
  std::size_t capacity;
  std::int32_t* anchors = nullptr;  // where not null: of which anchor each is
};

// The candidates of one head. The memory belongs to the thread and is kept from call to call.
class Candidates {
 public:
  // The calling thread's, empty.
  static Candidates& Begin(float score_threshold);

  // What a candidate's score must exceed: the score threshold, or more once so many candidates have
  // been found that a pair after them cannot be among the best without exceeding that.
  float threshold() const { return threshold_; }

  // Where the keys of candidates are to be written, with room for `count` and kSlack more.
  Key* Room(std::size_t count);
  // Takes over what was written, up to `end`. The pairs of later ones must be higher than of these.
  void Extend(const Key* end);

  // Suppresses and returns the number of detections. `boxes_of(anchors, count, boxes)` computes the
  // boxes of `count` anchors; it is asked for each anchor once, and only as far as suppression gets.
  template <typename BoxesOf>
  std::size_t Suppress(std::size_t num_anchors, const Selection& selection,
                       const Suppression& suppression, BoxesOf boxes_of, const Detections& out) {
    KeepBest();
    place_of_anchor_.assign(selection.multi_label ? num_anchors : 0, kNoPlace);
    for (;;) {
      const std::size_t first = num_ranked_, first_place = num_places_;
      RankMore(out.capacity, selection);
      boxes_of(anchors_.data() + first_place, num_places_ - first_place,
               boxes_of_anchors_.data() + first_place);
      for (std::size_t row = first; row < num_ranked_; ++row)
        boxes_[row] = boxes_of_anchors_[places_[row]];
      const std::size_t num_kept = SuppressRanked(suppression, out.capacity);
      // Suppression goes from the best on: what was not ranked could only have come later.
      if (num_kept == out.capacity || num_ranked_ == count_)
        return Write(num_kept, suppression, out);
    }
  }

 private:
  static constexpr std::uint32_t kNoPlace = 0xffffffff;

  void KeepBest();
  void RankMore(std::size_t max_detections, const Selection& selection);
  std::size_t SuppressRanked(const Suppression& suppression, std::size_t max_detections);
  std::size_t Write(std::size_t num_kept, const Suppression& suppression,
                    const Detections& out) const;

  float threshold_ = 0.0f;
  std::size_t count_ = 0;       // candidates in keys_
  std::size_t num_ranked_ = 0;  // of these, the best, equal scores by rising pair
  std::size_t num_places_ = 0;  // anchors of those
  std::vector<Key> keys_;

  // A row per ranked candidate; `places_` says where its anchor stands in the next two.
  std::vector<Box> boxes_;
  std::vector<float> scores_;
  std::vector<std::int32_t> class_ids_;
  std::vector<std::uint32_t> places_;
  // A place per anchor that a ranked candidate has.
  std::vector<std::uint32_t> anchors_;
  std::vector<Box> boxes_of_anchors_;
  std::vector<std::uint32_t> place_of_anchor_;  // kNoPlace, or the place; with several labels only

  std::vector<std::int64_t> kept_;
};

// Anchors that are searched at a time, so that what is found of them stays in the cache.
inline std::size_t AnchorsPerBlock(std::size_t num_classes) {
  constexpr std::size_t kPairs = 1 << 16;
  return std::clamp<std::size_t>(kPairs / num_classes, 16, 1024);
}

// Replaces the values of keys by the scores `score_of(pair, value)`, drops what is no candidate and
// returns the end.
template <typename ScoreOf>
Key* KeepCandidates(Key* begin, const Key* end, float threshold, ScoreOf score_of) {
  Key* kept = begin;
  for (const Key* key = begin; key != end; ++key) {
    const std::uint32_t pair = PairOf(*key);
    const float score = score_of(pair, ValueOf(*key));
    *kept = KeyOf(score, pair);
    kept += score > threshold ? 1 : 0;
  }
  return kept;
}

// Finds the candidates of `num_anchors` anchors. `score_of(pair, value)` turns a class value into a
// score and does not fall as the value rises; a value that is not above `floor_of(threshold)` cannot
// score above the threshold.
template <typename FloorOf, typename ScoreOf>
void FindCandidates(HeadView classes, std::size_t num_anchors, const Selection& selection,
                    FloorOf floor_of, ScoreOf score_of, Candidates& found) {
  const std::size_t block = AnchorsPerBlock(selection.num_classes);
  for (std::size_t first = 0; first < num_anchors; first += block) {
    const std::size_t count = std::min(block, num_anchors - first);
    Key* const begin = found.Room(count * selection.num_classes);
    Key* const end =
        FindClasses(classes.From(0, first), selection.num_classes, first, count,
                    floor_of(found.threshold()), selection.multi_label, begin);
    found.Extend(KeepCandidates(begin, end, found.threshold(), score_of));
  }
}

// The same for class values that are the scores.
inline void FindCandidates(HeadView probabilities, std::size_t num_anchors,
                           const Selection& selection, Candidates& found) {
  FindCandidates(
      probabilities, num_anchors, selection, [](float threshold) { return threshold; },
      [](std::uint32_t, float probability) { return probability; }, found);
}

// The same for class values that are logits, each of a sigmoid.
inline void FindSigmoidCandidates(HeadView logits, std::size_t num_anchors,
                                  const Selection& selection, Candidates& found) {
  // The threshold as a logit, so that the sigmoid is computed for survivors only. Lowered by more
  // than the sigmoid's rounding: it is the rounded score that is compared in the end.
  const auto floor_of = [](float score_threshold) {
    const double threshold = score_threshold * (1.0 - 1e-5);
    return static_cast<float>(std::log(threshold / (1.0 - threshold)));
  };
  const auto score_of = [](std::uint32_t, float logit) {
    return 1.0f / (1.0f + std::exp(-logit));
  };
  FindCandidates(logits, num_anchors, selection, floor_of, score_of, found);
}

}  // namespace edgecv
