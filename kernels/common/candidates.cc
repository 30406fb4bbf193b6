#include "common/candidates.h"

#include <functional>

#include "nms/nms.h"

namespace edgecv {
namespace {

// Candidates that are ranked and suppressed at first, per detection wanted, and at least. Most
// heads give all their detections with these; if not, so many times more are ranked, again and
// again, so that what is done twice stays a fraction of the whole.
constexpr std::size_t kRankedPerDetection = 4;
constexpr std::size_t kMinRanked = 1024;
constexpr std::size_t kGrowth = 4;

// Never shrinks, so that a call that needs no more than those before allocates nothing.
template <typename T>
void Grow(std::vector<T>& values, std::size_t size) {
  if (values.size() < size) values.resize(size);
}

}  // namespace

Candidates& Candidates::Begin(float score_threshold) {
  static thread_local Candidates candidates;
  candidates.threshold_ = score_threshold;
  candidates.count_ = candidates.num_ranked_ = candidates.num_places_ = 0;
  return candidates;
}

Key* Candidates::Room(std::size_t count) {
  Grow(keys_, count_ + count + kSlack);
  return keys_.data() + count_;
}

void Candidates::Extend(const Key* end) {
  count_ = static_cast<std::size_t>(end - keys_.data());
  if (count_ < 2 * kMaxCandidates) return;
  KeepBest();
  // A later pair of the same score would rank behind the last one: it must exceed it.
  threshold_ = ValueOf(keys_[kMaxCandidates - 1]);
}

// Leaves the worst of those kept in the last place.
void Candidates::KeepBest() {
  if (count_ <= kMaxCandidates) return;
  const auto begin = keys_.begin();
  std::nth_element(begin, begin + (kMaxCandidates - 1),
                   begin + static_cast<std::ptrdiff_t>(count_), std::greater<>());
  count_ = kMaxCandidates;
}

void Candidates::RankMore(std::size_t max_detections, const Selection& selection) {
  const std::size_t at_least =
      num_ranked_ == 0
          ? std::max(kMinRanked, std::min(max_detections, kMaxCandidates) * kRankedPerDetection)
          : num_ranked_ * kGrowth;
  const std::size_t first = num_ranked_;
  num_ranked_ = std::min(count_, at_least);
  const auto ranked = keys_.begin() + static_cast<std::ptrdiff_t>(first);
  const auto middle = keys_.begin() + static_cast<std::ptrdiff_t>(num_ranked_);
  const auto end = keys_.begin() + static_cast<std::ptrdiff_t>(count_);
  // Suppression sorts by score and leaves equal scores in the order of their rows: where all are
  // ranked at once and were found by rising pair, which is most often, that is order enough.
  const auto is_lower_pair = [](Key a, Key b) { return PairOf(a) < PairOf(b); };
  if (first != 0 || middle != end || !std::is_sorted(ranked, end, is_lower_pair)) {
    if (middle != end) std::nth_element(ranked, middle, end, std::greater<>());
    std::sort(ranked, middle, std::greater<>());
  }

  Grow(boxes_, num_ranked_), Grow(scores_, num_ranked_), Grow(class_ids_, num_ranked_);
  Grow(places_, num_ranked_), Grow(anchors_, num_ranked_), Grow(boxes_of_anchors_, num_ranked_);
  const auto num_classes = static_cast<std::uint32_t>(selection.num_classes);
  for (std::size_t row = first; row < num_ranked_; ++row) {
    const std::uint32_t pair = PairOf(keys_[row]), anchor = pair / num_classes;
    scores_[row] = ValueOf(keys_[row]);
    class_ids_[row] = static_cast<std::int32_t>(pair % num_classes);
    auto place = static_cast<std::uint32_t>(num_places_);
    if (selection.multi_label) {
      std::uint32_t& known = place_of_anchor_[anchor];
      place = known = known == kNoPlace ? place : known;
    }
    places_[row] = place;
    anchors_[place] = anchor;
    num_places_ += place == num_places_ ? 1 : 0;
  }
}

std::size_t Candidates::SuppressRanked(const Suppression& suppression,
                                       std::size_t max_detections) {
  const std::size_t most = std::min(num_ranked_, max_detections);
  Grow(kept_, most);
  return NmsCpu(reinterpret_cast<const float*>(boxes_.data()), scores_.data(),
                suppression.class_agnostic ? nullptr : class_ids_.data(), num_ranked_,
                suppression.iou_threshold, most, kept_.data());
}

std::size_t Candidates::Write(std::size_t num_kept, const Suppression& suppression,
                              const Detections& out) const {
  const auto [scale_x, scale_y] = suppression.scale_xy;
  const auto [offset_x, offset_y] = suppression.offset_xy;
  for (std::size_t k = 0; k < num_kept; ++k) {
    const auto row = static_cast<std::size_t>(kept_[k]);
    const Box& box = boxes_[row];
    float* const out_box = out.boxes_xyxy + 4 * k;
    out_box[0] = (box.x1 - offset_x) / scale_x, out_box[1] = (box.y1 - offset_y) / scale_y;
    out_box[2] = (box.x2 - offset_x) / scale_x, out_box[3] = (box.y2 - offset_y) / scale_y;
    out.scores[k] = scores_[row];
    out.class_ids[k] = class_ids_[row];
    if (out.anchors != nullptr) out.anchors[k] = static_cast<std::int32_t>(anchors_[places_[row]]);
  }
  return num_kept;
}

}  // namespace edgecv
