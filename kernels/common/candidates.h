// What every box decoder produces, and the walk over a head that the anchor-free ones share.
//
// A candidate is a box, a score and a class with score > threshold, strictly; NaN is no candidate.
// Decoders write candidates by rising anchor, then by rising class, and return their number. The
// buffers of `Candidates` have room for one row per anchor, or per (anchor, class) pair if the
// decoder emits several classes per anchor; rows past the returned number are left alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "common/best_class.h"

namespace edgecv {

struct Box {
  float x1, y1, x2, y2;  // pixels of the network's input
};

struct Candidates {
  float* boxes_xyxy;
  float* scores;
  std::int32_t* class_ids;
  std::size_t count = 0;

  void Add(const Box& box, float score, std::size_t class_id) {
    float* row = boxes_xyxy + 4 * count;
    row[0] = box.x1, row[1] = box.y1, row[2] = box.x2, row[3] = box.y2;
    scores[count] = score;
    class_ids[count] = static_cast<std::int32_t>(class_id);
    ++count;
  }
};

// The three choices that every anchor-free decoder has.
struct Selection {
  std::size_t num_classes;
  float score_threshold;
  bool multi_label;  // every class above the threshold, not only the best one
};

// Adds the candidates of `num_anchors` anchors. `score_of(anchor, value)` turns a class value into
// a score and does not fall as the value rises; a value that is not above `floor` cannot score
// above the threshold. `box_of(anchor)` is called only for anchors that have a candidate.
template <typename ScoreOf, typename BoxOf>
void AddCandidates(HeadView classes, std::size_t num_anchors, const Selection& selection,
                   float floor, ScoreOf score_of, BoxOf box_of, Candidates& out) {
  constexpr std::size_t kBlock = 256;
  float best_value[kBlock];
  std::int32_t best_class[kBlock];
  for (std::size_t first = 0; first < num_anchors; first += kBlock) {
    const std::size_t count = std::min(kBlock, num_anchors - first);
    BestClass(classes.From(0, first), selection.num_classes, count, floor, best_value, best_class);
    for (std::size_t i = 0; i < count; ++i) {
      if (best_class[i] < 0) continue;
      const std::size_t anchor = first + i;
      const float best_score = score_of(anchor, best_value[i]);
      if (!(best_score > selection.score_threshold)) continue;
      const Box box = box_of(anchor);
      if (!selection.multi_label) {
        out.Add(box, best_score, static_cast<std::size_t>(best_class[i]));
        continue;
      }
      for (std::size_t c = 0; c < selection.num_classes; ++c) {
        const float value = classes.at(c, anchor);
        if (!(value > floor)) continue;
        const float score = score_of(anchor, value);
        if (score > selection.score_threshold) out.Add(box, score, c);
      }
    }
  }
}

}  // namespace edgecv
