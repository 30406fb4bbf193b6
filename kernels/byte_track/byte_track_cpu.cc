// CPU implementation of byte_track.h. The paper's filter has one state of eight numbers, but neither
// its noise nor its measurement couples the four coordinates: it is four filters of two numbers, whose
// algebra is written out here.

#include "byte_track/byte_track.h"

#include <algorithm>
#include <vector>

#include "box_iou/overlap.h"
#include "linear_assignment/linear_assignment.h"

namespace edgecv {
namespace {

constexpr std::size_t kCoordinates = 4, kPerCoordinate = 5, kLabels = 4;
constexpr std::size_t kMotion = kCoordinates * kPerCoordinate;
constexpr double kStepsPerSecond = 30;  // the frame rate that the paper's noise is given for
constexpr double kPositionNoise = 1.0 / 20, kVelocityNoise = 1.0 / 160;  // of the size, a step
constexpr std::int64_t kNone = -1;

double Square(double value) { return value * value; }

struct Coordinate {
  double position, velocity, pp, pv, vv;
};

struct Motion {
  Coordinate of[kCoordinates];  // centre x, centre y, width, height

  double Size(std::size_t k) const { return std::max(of[2 + k % 2].position, 1.0); }
};
static_assert(sizeof(Motion) == kMotion * sizeof(double));

struct Labels {
  std::int64_t id, class_id, num_hits, num_misses;
};
static_assert(sizeof(Labels) == kLabels * sizeof(std::int64_t));

struct Box {
  double x1, y1, x2, y2;

  double Area() const { return (x2 - x1) * (y2 - y1); }
};

Box BoxOf(const Motion& motion) {
  const double half_width = motion.of[2].position / 2, half_height = motion.of[3].position / 2;
  const double x = motion.of[0].position, y = motion.of[1].position;
  return {x - half_width, y - half_height, x + half_width, y + half_height};
}

// A predicted box may have shrunk to nothing or be NaN: then this is false for every other.
bool Overlap(const Box& a, const Box& b, double* iou) {
  const double width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const double height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (!(width > 0 && height > 0)) return false;
  const double both = width * height;
  *iou = both / (a.Area() + b.Area() - both);
  return true;
}

void Predict(Motion& motion, double s) {
  const double sizes[2] = {motion.Size(0), motion.Size(1)};
  for (std::size_t k = 0; k < kCoordinates; ++k) {
    Coordinate& c = motion.of[k];
    const double size = sizes[k % 2];
    const double qp = kStepsPerSecond * Square(size * kPositionNoise);
    const double qv = kStepsPerSecond * Square(kStepsPerSecond * size * kVelocityNoise);
    c.position += s * c.velocity;
    c.pp += 2 * s * c.pv + s * s * c.vv + qp * s + qv * s * s * s / 3;
    c.pv += s * c.vv + qv * s * s / 2;
    c.vv += qv * s;
  }
}

void Measured(const Box& box, double measured[kCoordinates]) {
  measured[0] = (box.x1 + box.x2) / 2, measured[1] = (box.y1 + box.y2) / 2;
  measured[2] = box.x2 - box.x1, measured[3] = box.y2 - box.y1;
}

void Correct(Motion& motion, const Box& box) {
  double measured[kCoordinates];
  Measured(box, measured);
  const double sizes[2] = {motion.Size(0), motion.Size(1)};
  for (std::size_t k = 0; k < kCoordinates; ++k) {
    Coordinate& c = motion.of[k];
    const double innovation = measured[k] - c.position;
    const double variance = c.pp + Square(sizes[k % 2] * kPositionNoise);
    const double position_gain = c.pp / variance, velocity_gain = c.pv / variance;
    c.position += position_gain * innovation;
    c.velocity += velocity_gain * innovation;
    c.vv -= velocity_gain * c.pv;
    c.pv -= position_gain * c.pv;
    c.pp -= position_gain * c.pp;
  }
}

Motion AtRest(const Box& box) {
  double measured[kCoordinates];
  Measured(box, measured);
  Motion motion{};
  for (std::size_t k = 0; k < kCoordinates; ++k) motion.of[k].position = measured[k];
  for (std::size_t k = 0; k < kCoordinates; ++k) {
    motion.of[k].pp = Square(2 * motion.Size(k) * kPositionNoise);
    motion.of[k].vv = Square(10 * kStepsPerSecond * motion.Size(k) * kVelocityNoise);
  }
  return motion;
}

using Rows = std::vector<std::size_t>;

struct Step {
  Motion* motion;
  double* unseen_s;
  Labels* labels;
  std::vector<Box> predicted, found;  // boxes of the tracks and of the objects
  const std::int32_t* class_ids;
  std::vector<std::int64_t> object_of_track, track_of_object;
  const TrackOptions* options;

  bool IsUnmatched(std::size_t track) const { return object_of_track[track] == kNone; }

  void Match(const Rows& tracks, const Rows& objects, double min_iou) {
    PossiblePairs possible;
    for (const std::size_t t : tracks) {
      for (std::size_t j = 0; j < objects.size(); ++j) {
        const std::size_t i = objects[j];
        if (options->is_class_aware && labels[t].class_id != class_ids[i]) continue;
        double iou = 0;
        if (Overlap(predicted[t], found[i], &iou) && iou > min_iou) {
          possible.pairs.push_back({static_cast<std::uint32_t>(j), iou - min_iou});
        }
      }
      possible.end_of_row.push_back(possible.pairs.size());
    }
    std::vector<std::int64_t> chosen(tracks.size());
    AssignPossiblePairs(possible, objects.size(), chosen.data());
    for (std::size_t k = 0; k < tracks.size(); ++k) {
      if (chosen[k] == kNone) continue;
      const std::size_t i = objects[static_cast<std::size_t>(chosen[k])];
      object_of_track[tracks[k]] = static_cast<std::int64_t>(i);
      track_of_object[i] = static_cast<std::int64_t>(tracks[k]);
    }
  }
};

}  // namespace

std::size_t ByteTrackCpu(const TrackTable& tracks, std::size_t num_tracks, const float* boxes_xyxy,
                         const float* scores, const std::int32_t* class_ids, std::size_t n,
                         double elapsed_s, const TrackOptions& options, std::int64_t* next_id,
                         std::int64_t* track_ids) {
  Step step;
  step.motion = reinterpret_cast<Motion*>(tracks.motion);
  step.unseen_s = tracks.unseen_s;
  step.labels = reinterpret_cast<Labels*>(tracks.labels);
  step.class_ids = class_ids;
  step.options = &options;
  step.object_of_track.assign(num_tracks, kNone);
  step.track_of_object.assign(n, kNone);

  Rows known, unconfirmed;
  for (std::size_t t = 0; t < num_tracks; ++t) {
    Predict(step.motion[t], elapsed_s);
    step.unseen_s[t] += elapsed_s;
    step.predicted.push_back(BoxOf(step.motion[t]));
    (step.labels[t].id == kNone ? unconfirmed : known).push_back(t);
  }
  Rows high, low;
  for (std::size_t i = 0; i < n; ++i) {
    const float* b = boxes_xyxy + 4 * i;
    step.found.push_back({b[0], b[1], b[2], b[3]});
    if (!HasArea(b)) continue;
    if (scores[i] >= options.high_score) {
      high.push_back(i);
    } else if (scores[i] >= options.low_score) {
      low.push_back(i);
    }
  }

  step.Match(known, high, options.min_iou);
  Rows just_seen;
  for (const std::size_t t : known) {
    if (step.IsUnmatched(t) && step.labels[t].num_misses == 0) just_seen.push_back(t);
  }
  step.Match(just_seen, low, options.min_iou_low);
  Rows left;
  for (const std::size_t i : high) {
    if (step.track_of_object[i] == kNone) left.push_back(i);
  }
  step.Match(unconfirmed, left, options.min_iou_new);

  for (std::size_t i = 0; i < n; ++i) {
    track_ids[i] = kNone;
    if (step.track_of_object[i] == kNone) continue;
    const auto t = static_cast<std::size_t>(step.track_of_object[i]);
    Labels& labels = step.labels[t];
    Correct(step.motion[t], step.found[i]);
    step.unseen_s[t] = 0;
    labels.class_id = class_ids[i], labels.num_misses = 0;
    ++labels.num_hits;
    if (labels.id == kNone && labels.num_hits >= options.min_hits) labels.id = (*next_id)++;
    track_ids[i] = labels.id;
  }

  std::size_t count = 0;
  for (std::size_t t = 0; t < num_tracks; ++t) {
    Labels& labels = step.labels[t];
    if (step.IsUnmatched(t)) {
      // Not `>`: a time that is NaN would never pass.
      if (labels.id == kNone || !(step.unseen_s[t] <= options.lost_s)) continue;
      ++labels.num_misses;
      step.motion[t].of[2].velocity = step.motion[t].of[3].velocity = 0;
    }
    step.motion[count] = step.motion[t];
    step.unseen_s[count] = step.unseen_s[t];
    step.labels[count++] = labels;
  }
  for (const std::size_t i : left) {
    if (step.track_of_object[i] != kNone || !(scores[i] >= options.new_score)) continue;
    step.motion[count] = AtRest(step.found[i]);
    step.unseen_s[count] = 0;
    const std::int64_t id = options.min_hits <= 1 ? (*next_id)++ : kNone;
    step.labels[count++] = {id, class_ids[i], 1, 0};
    track_ids[i] = id;
  }
  return count;
}

}  // namespace edgecv
