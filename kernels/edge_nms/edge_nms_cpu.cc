// CPU implementation of edge_nms.h: image by image the way of the decoders, common/candidates.h. The
// images are shared out among threads.

#include "edge_nms/edge_nms.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "common/candidates.h"
#include "common/parallel.h"
#include "common/simd.h"

namespace edgecv {
namespace {

// Exact: the exponent is shifted by a product, which makes normal numbers of subnormal ones too.
EDGECV_INLINE float ToFloat(std::uint16_t half) {
  std::uint32_t bits = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  float value;
  std::memcpy(&value, &bits, sizeof bits);
  value *= 0x1p112f;
  std::memcpy(&bits, &value, sizeof bits);
  bits |= (half & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;  // infinite or NaN
  bits |= static_cast<std::uint32_t>(half & 0x8000u) << 16;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

EDGECV_INLINE void ToFloats(const std::uint16_t* halves, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = ToFloat(halves[i]);
}

struct Call {
  const float* boxes_xyxy;
  const void* scores;
  EdgeNmsShape shape;
  float score_threshold, iou_threshold;
  EdgeNmsOptions options;
  EdgeNmsOutputs out;
};

bool HasBackground(const Call& call) {
  return call.options.background_class >= 0 &&
         static_cast<std::size_t>(call.options.background_class) < call.shape.num_classes;
}

// The scores of an image as floats. Where the best class of a box is sought, the background's are NaN.
const float* ScoresOf(const Call& call, std::size_t image, std::vector<float>& copy) {
  const EdgeNmsShape& shape = call.shape;
  const std::size_t count = shape.num_pairs();
  const bool hides_background = call.options.class_agnostic && HasBackground(call);
  const auto* const floats = static_cast<const float*>(call.scores) + image * count;
  if (!shape.is_half && !hides_background) return floats;
  copy.resize(count);
  if (shape.is_half) {
    Dispatch<ToFloats>(static_cast<const std::uint16_t*>(call.scores) + image * count, count,
                       copy.data());
  } else {
    std::copy_n(floats, count, copy.data());
  }
  if (hides_background) {
    const auto background = static_cast<std::size_t>(call.options.background_class);
    const std::size_t stride = shape.classes_first ? 1 : shape.num_classes;
    const std::size_t first = shape.classes_first ? background * shape.num_boxes : background;
    for (std::size_t box = 0; box < shape.num_boxes; ++box)
      copy[first + box * stride] = std::numeric_limits<float>::quiet_NaN();
  }
  return copy.data();
}

std::size_t SuppressImage(const Call& call, std::size_t image, const Detections& out) {
  const EdgeNmsShape& shape = call.shape;
  thread_local std::vector<float> copy;
  const float* const scores = ScoresOf(call, image, copy);
  const HeadView view = shape.classes_first ? HeadView{scores, shape.num_boxes, 1}
                                            : HeadView{scores, 1, shape.num_classes};
  const bool is_agnostic = call.options.class_agnostic;
  const Selection selection{shape.num_classes, call.score_threshold, !is_agnostic};
  Candidates& candidates = Candidates::Begin(call.score_threshold);
  if (HasBackground(call) && !is_agnostic) {
    const auto num_classes = static_cast<std::uint32_t>(shape.num_classes);
    const auto background = static_cast<std::uint32_t>(call.options.background_class);
    FindCandidates(
        view, shape.num_boxes, selection, [](float threshold) { return threshold; },
        [=](std::uint32_t pair, float score) {
          return pair % num_classes == background ? -1.0f : score;
        },
        candidates);
  } else {
    FindCandidates(view, shape.num_boxes, selection, candidates);
  }
  const float* const boxes = call.boxes_xyxy + image * shape.num_boxes * 4;
  const auto boxes_of = [boxes](const std::uint32_t* rows, std::size_t count, Box* found) {
    for (std::size_t i = 0; i < count; ++i)
      std::memcpy(found + i, boxes + std::size_t{rows[i]} * 4, sizeof *found);
  };
  const Suppression suppression{call.iou_threshold, is_agnostic, {1.0f, 1.0f}, {0.0f, 0.0f}};
  return candidates.Suppress(shape.num_boxes, selection, suppression, boxes_of, out);
}

void Run(const Call& call, std::size_t image) {
  const std::size_t k = call.options.max_detections, first = image * k;
  const EdgeNmsOutputs& out = call.out;
  const Detections found{out.boxes_xyxy + 4 * first, out.scores + first, out.class_ids + first, k,
                         out.box_rows == nullptr ? nullptr : out.box_rows + first};
  const std::size_t count = call.shape.num_pairs() == 0 ? 0 : SuppressImage(call, image, found);
  std::fill(found.boxes_xyxy + 4 * count, found.boxes_xyxy + 4 * k, 0.0f);
  std::fill(found.scores + count, found.scores + k, 0.0f);
  std::fill(found.class_ids + count, found.class_ids + k, -1);
  if (found.anchors != nullptr) std::fill(found.anchors + count, found.anchors + k, -1);
  out.num_detections[image] = static_cast<std::int32_t>(count);
}

}  // namespace

void EdgeNmsCpu(const float* boxes_xyxy, const void* scores, const EdgeNmsShape& shape,
                float score_threshold, float iou_threshold, const EdgeNmsOptions& options,
                const EdgeNmsOutputs& out) {
  const Call call{boxes_xyxy, scores, shape, score_threshold, iou_threshold, options, out};
  ParallelFor(shape.num_images, 1, [&call](std::size_t begin, std::size_t end) {
    for (std::size_t image = begin; image < end; ++image) Run(call, image);
  });
}

}  // namespace edgecv
