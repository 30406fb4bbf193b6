// CPU implementation of nms.h: each candidate is compared with the boxes kept so far, a block of
// vectors at a time, and dropped at the first block that suppresses it. The kept boxes are few and
// stay in the cache; nothing of size n * n is ever computed or stored.

#include "nms/nms.h"

#include <algorithm>
#include <vector>

#include "common/simd.h"

namespace edgecv {
namespace {

// Kept boxes compared between two looks at the result: long enough for the vectors to pay off.
constexpr std::size_t kBlock = 64;

struct Ranked {
  float score;
  std::size_t index;
};

// One array per coordinate, so that the comparison reads whole vectors.
struct KeptBoxes {
  std::vector<double> x1, y1, x2, y2, area;
  std::vector<std::int32_t> class_ids;
};

EDGECV_INLINE double Extent(double low, double high) { return high > low ? high - low : 0.0; }

std::vector<Ranked> RankByScore(const float* scores, std::size_t n) {
  std::vector<Ranked> ranked;
  ranked.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (scores[i] == scores[i]) ranked.push_back({scores[i], i});  // NaN has no rank
  }
  std::sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) {
    return a.score > b.score || (a.score == b.score && a.index < b.index);
  });
  return ranked;
}

// Whether a box of positive area is suppressed by one of `kept`, all of which have positive area.
EDGECV_INLINE
bool IsSuppressedBody(const KeptBoxes* all_kept, double px1, double py1, double px2, double py2,
                  double area, std::int32_t class_id, double iou_threshold) {
  const KeptBoxes& kept = *all_kept;
  const double* __restrict__ x1 = kept.x1.data();
  const double* __restrict__ y1 = kept.y1.data();
  const double* __restrict__ x2 = kept.x2.data();
  const double* __restrict__ y2 = kept.y2.data();
  const double* __restrict__ areas = kept.area.data();
  const std::int32_t* __restrict__ class_ids = kept.class_ids.data();
  const std::size_t count = kept.area.size();
  for (std::size_t first = 0; first < count; first += kBlock) {
    const std::size_t last = std::min(first + kBlock, count);
    int hits = 0;
    for (std::size_t j = first; j < last; ++j) {
      const double width = Extent(px1 > x1[j] ? px1 : x1[j], px2 < x2[j] ? px2 : x2[j]);
      const double height = Extent(py1 > y1[j] ? py1 : y1[j], py2 < y2[j] ? py2 : y2[j]);
      const double inter = width * height;
      // The quotient, not `inter > threshold * union`: the two differ in the last bit, and an
      // IoU that equals the threshold must not suppress.
      const double iou = inter / (area + areas[j] - inter);
      hits |= static_cast<int>(iou > iou_threshold) & static_cast<int>(class_ids[j] == class_id);
    }
    if (hits != 0) return true;
  }
  return false;
}

bool IsSuppressed(const KeptBoxes& kept, double px1, double py1, double px2, double py2,
                  double area, std::int32_t class_id, double iou_threshold) {
  return Dispatch<IsSuppressedBody>(&kept, px1, py1, px2, py2, area, class_id, iou_threshold);
}

}  // namespace

std::size_t NmsCpu(const float* boxes_xyxy, const float* scores, const std::int32_t* class_ids,
                   std::size_t n, double iou_threshold, std::size_t max_detections,
                   std::int64_t* kept) {
  KeptBoxes boxes;
  std::size_t count = 0;
  for (const Ranked& candidate : RankByScore(scores, n)) {
    if (count == max_detections) break;
    const float* box = boxes_xyxy + 4 * candidate.index;
    const double x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
    const double area = Extent(x1, x2) * Extent(y1, y2);
    if (area > 0.0) {  // otherwise it overlaps nothing, now or later
      const std::int32_t class_id = class_ids == nullptr ? 0 : class_ids[candidate.index];
      if (IsSuppressed(boxes, x1, y1, x2, y2, area, class_id, iou_threshold)) continue;
      boxes.x1.push_back(x1), boxes.y1.push_back(y1);
      boxes.x2.push_back(x2), boxes.y2.push_back(y2);
      boxes.area.push_back(area), boxes.class_ids.push_back(class_id);
    }
    kept[count++] = static_cast<std::int64_t>(candidate.index);
  }
  return count;
}

}  // namespace edgecv
