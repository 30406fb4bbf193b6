// Which object of a frame is which of the frames before: one step of a tracker.
//
// Contract of every implementation in this folder:
//   - a table holds `num_tracks` tracks and has room for `num_tracks + n` of them. Of track t,
//       motion[20 t + 5 k] for k = 0..3, the centre's x and y, the width and the height of its box:
//         position, velocity a second, and variance of the position, covariance of both, variance of
//         the velocity; in pixels and seconds;
//       unseen_s[t]: seconds since it was last found;
//       labels[4 t]: its id, -1 before it has one; class id; number of times it was found; number of
//         steps since it was last found;
//   - `boxes_xyxy`, `scores` and `class_ids` hold the `n` objects of the frame. One whose box is empty,
//     inverted or not finite, or whose score is below `low_score` or NaN, takes no part;
//   - every track moves on by `elapsed_s`: positions by their velocities, variances by
//       pp += 2 s pv + s^2 vv + q_p s + q_v s^3 / 3,  pv += s vv + q_v s^2 / 2,  vv += q_v s
//     with q_p = 30 (size / 20)^2 and q_v = 30 (30 size / 160)^2, the size being the width before the
//     move for x and width, and the height for y and height, at least 1. So one step of a thirtieth of
//     a second adds what a frame adds in the paper, and two short steps add what a long one does;
//   - then objects are matched to tracks of their class (of any, unless `is_class_aware`) in three
//     rounds, each the pairing with the largest sum of IoU - limit over pairs that exceed the limit:
//       1. objects of at least `high_score`, tracks that have an id; limit `min_iou`;
//       2. the other objects, tracks that were found in the last step and not in round 1; limit
//          `min_iou_low`;
//       3. what round 1 left of its objects, tracks that have no id yet; limit `min_iou_new`;
//   - the motion of a matched track is corrected by its box (Kalman 1960), measured with variance
//     (size / 20)^2, and it takes the object's class; one that was found `min_hits` times gets the next
//     id, in the order of the objects;
//   - of the tracks that were not found, those without an id are removed, and those that have been
//     unseen for more than `lost_s`; the sizes of the others stand still from then on;
//   - an object left by round 3 with a score of at least `new_score` begins a track: at rest, with
//     variances (size / 10)^2 of position and (30 size / 16)^2 of velocity;
//   - the tracks that stay keep their order, new ones follow in that of the objects;
//   - `track_ids[i]` receives the id of object i's track, -1 if it has none; `*next_id`, at least 1,
//     moves on; the number of tracks is returned;
//   - `elapsed_s` is finite and not negative. Sums and products are in double, IoU too.
//
// Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV
// 2022; the motion of centre, width and height, and its noise: Aharon et al., "BoT-SORT: Robust
// Associations Multi-Pedestrian Tracking", 2022, section 3.1. Both count in frames; here time does.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgecv {

struct TrackOptions {
  double high_score, low_score, new_score;
  double min_iou, min_iou_low, min_iou_new;
  double lost_s;
  std::int64_t min_hits;
  bool is_class_aware;
};

struct TrackTable {
  double* motion;
  double* unseen_s;
  std::int64_t* labels;
};

std::size_t ByteTrackCpu(const TrackTable& tracks, std::size_t num_tracks, const float* boxes_xyxy,
                         const float* scores, const std::int32_t* class_ids, std::size_t n,
                         double elapsed_s, const TrackOptions& options, std::int64_t* next_id,
                         std::int64_t* track_ids);

}  // namespace edgecv
