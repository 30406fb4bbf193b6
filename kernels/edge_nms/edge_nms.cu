// CUDA implementation of edge_nms.h: the scores of a detector as candidates for common/suppression.cuh.
// The scores are read once, 16 bytes at a time where they are aligned, and little else: 2.7 MB for
// 8400 boxes of 80 classes in float32, 172 MB for 64 such images. The boxes are read candidate by
// candidate.

#include "edge_nms/edge_nms.cuh"

#include "common/max_candidates.h"
#include "common/suppression.cuh"
#include "common/vectors.cuh"

namespace edgecv {
namespace {

constexpr std::size_t kBoxesPerWarpTile = 64;     // tiles in which lanes share a box
constexpr std::size_t kBoxesPerThreadTile = 256;  // and in which each box has its thread

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(__half value) { return __half2float(value); }

template <typename Score>
struct ScoredBoxes {
  const float* boxes_xyxy;
  const Score* all_scores;
  std::uint32_t num_boxes, num_classes, background_class;  // 2^32 - 1 for none
  bool classes_first, class_agnostic;
  bool has_aligned_boxes, has_aligned_scores, has_aligned_output;
  Threshold score_threshold;
  std::size_t max_detections;
  EdgeNmsOutputs out;
  std::size_t tile, num_tiles;  // boxes of a tile if `class_agnostic`, else pairs; and tiles

  template <typename Visitor>
  __device__ void Visit(std::size_t image, std::size_t first, std::size_t end,
                        Visitor visit) const {
    const std::uint32_t num_pairs = num_boxes * num_classes;
    const Score* const scores = all_scores + image * num_pairs;
    const auto limit = static_cast<float>(Read(score_threshold));
    const std::uint32_t most = class_agnostic ? num_boxes : num_pairs;
    const auto from = static_cast<std::uint32_t>(first * tile);
    const auto to = static_cast<std::uint32_t>(end * tile < most ? end * tile : most);
    if (!class_agnostic) VisitPairs(scores, limit, from, to, visit);
    else if (classes_first) VisitBestByThread(scores, limit, from, to, visit);
    else VisitBestByLanes(scores, limit, from, to, visit);
  }

  // The scores [from, to) of an image in the order in which they lie in memory.
  template <typename Visitor>
  __device__ void VisitPairs(const Score* scores, float limit, std::uint32_t from,
                             std::uint32_t to, Visitor visit) const {
    const auto look = [&](std::uint32_t i, float score) {
      if (!(score > limit)) return;
      const std::uint32_t class_id = classes_first ? i / num_boxes : i % num_classes;
      if (class_id == background_class) return;
      visit(CandidateKey(score,
                         classes_first ? (i - class_id * num_boxes) * num_classes + class_id : i));
    };
    if (!has_aligned_scores) {
      for (std::uint32_t i = from + threadIdx.x; i < to; i += blockDim.x)
        look(i, ToFloat(scores[i]));
      return;
    }
    constexpr std::uint32_t kPack = Pack<Score>::kSize;
    const std::uint32_t step = blockDim.x * kPack;
    // Two loads are under way at a time: the whole tile of a block of the filter.
    for (std::uint32_t i = from + threadIdx.x * kPack; i < to; i += 2 * step) {
      const bool has_second = i + step < to;
      const Pack<Score> pack = LoadPack(scores + i);
      const Pack<Score> second = LoadPack(scores + (has_second ? i + step : i));
      for (std::uint32_t k = 0; k < kPack; ++k) look(i + k, ToFloat(pack.values[k]));
      if (!has_second) continue;
      for (std::uint32_t k = 0; k < kPack; ++k) look(i + step + k, ToFloat(second.values[k]));
    }
  }

  // Of the boxes [from, to) the best classes: neighbouring threads read neighbouring boxes.
  template <typename Visitor>
  __device__ void VisitBestByThread(const Score* scores, float limit, std::uint32_t from,
                                    std::uint32_t to, Visitor visit) const {
    for (std::uint32_t box = from + threadIdx.x; box < to; box += blockDim.x) {
      float best = limit;
      std::uint32_t best_class = background_class;
      for (std::uint32_t class_id = 0; class_id < num_classes; ++class_id) {
        const float score = ToFloat(scores[class_id * num_boxes + box]);
        if (score > best && class_id != background_class) best = score, best_class = class_id;
      }
      if (best_class != background_class) visit(CandidateKey(best, PairOf(box, best_class)));
    }
  }

  // The same: neighbouring lanes read neighbouring classes.
  template <typename Visitor>
  __device__ void VisitBestByLanes(const Score* scores, float limit, std::uint32_t from,
                                   std::uint32_t to, Visitor visit) const {
    std::uint32_t lanes = 1;  // a box
    while (lanes < num_classes && lanes < kWarpSize) lanes *= 2;
    const std::uint32_t lane = threadIdx.x % lanes, boxes_at_once = blockDim.x / lanes;
    for (std::uint32_t first = from; first < to; first += boxes_at_once) {  // alike in all lanes
      const std::uint32_t box = first + threadIdx.x / lanes;
      std::uint64_t best = 0;  // a key with the class for a pair
      for (std::uint32_t class_id = lane; class_id < num_classes && box < to; class_id += lanes) {
        const float score = ToFloat(scores[box * num_classes + class_id]);
        if (!(score > limit) || class_id == background_class) continue;
        const std::uint64_t key = CandidateKey(score, class_id);
        best = key > best ? key : best;
      }
      for (std::uint32_t other = lanes / 2; other > 0; other /= 2) {
        const std::uint64_t key = __shfl_xor_sync(kAllLanes, best, static_cast<int>(other));
        best = key > best ? key : best;
      }
      if (lane == 0 && best != 0)
        visit(CandidateKey(ScoreOfKey(best), PairOf(box, PairOfKey(best))));
    }
  }

  __device__ std::uint32_t PairOf(std::uint32_t box, std::uint32_t class_id) const {
    return box * num_classes + class_id;
  }

  __device__ float4 BoxOf(std::size_t image, std::uint32_t pair) const {
    const std::size_t box = image * num_boxes + pair / num_classes;
    return LoadBox(boxes_xyxy + 4 * box, has_aligned_boxes);
  }
  __device__ std::int32_t ClassOf(std::size_t, std::uint32_t pair) const {
    return class_agnostic ? 0 : static_cast<std::int32_t>(pair % num_classes);
  }

  __device__ void Write(std::size_t image, std::size_t row, std::uint32_t pair, float score,
                        float4 box) const {
    WriteRow(image * max_detections + row, box, score,
             static_cast<std::int32_t>(pair % num_classes),
             static_cast<std::int32_t>(pair / num_classes));
  }
  __device__ void WriteNothing(std::size_t image, std::size_t row) const {
    WriteRow(image * max_detections + row, {0.0f, 0.0f, 0.0f, 0.0f}, 0.0f, -1, -1);
  }
  __device__ void WriteRow(std::size_t row, float4 box, float score, std::int32_t class_id,
                           std::int32_t box_row) const {
    StoreBox(out.boxes_xyxy + 4 * row, box, has_aligned_output);
    out.scores[row] = score;
    out.class_ids[row] = class_id;
    if (out.box_rows != nullptr) out.box_rows[row] = box_row;
  }
  __device__ void WriteCount(std::size_t image, std::uint32_t count) const {
    out.num_detections[image] = static_cast<std::int32_t>(count);
  }
};

SuppressionSize SizeOf(std::size_t num_images, std::size_t num_pairs, std::size_t max_detections) {
  return {num_images, num_pairs, max_detections, kMaxCandidates};
}

template <typename Score>
cudaError_t Run(const float* boxes_xyxy, const void* scores, const EdgeNmsShape& shape,
                const Threshold& score_threshold, const Threshold& iou_threshold,
                const EdgeNmsOptions& options, const EdgeNmsOutputs& out, void* workspace,
                cudaStream_t stream) {
  std::size_t tile = kTileKeys, num_units = shape.num_pairs();
  if (options.class_agnostic) {
    tile = shape.classes_first ? kBoxesPerThreadTile : kBoxesPerWarpTile;
    num_units = shape.num_classes == 0 ? 0 : shape.num_boxes;
  }
  const ScoredBoxes<Score> head = {
      boxes_xyxy,
      static_cast<const Score*>(scores),
      static_cast<std::uint32_t>(shape.num_boxes),
      static_cast<std::uint32_t>(shape.num_classes),
      static_cast<std::uint32_t>(options.background_class),
      shape.classes_first,
      options.class_agnostic,
      IsAligned(boxes_xyxy),
      IsAligned(scores) && shape.num_pairs() % Pack<Score>::kSize == 0,
      IsAligned(out.boxes_xyxy),
      score_threshold,
      options.max_detections,
      out,
      tile,
      CeilDiv(num_units, tile)};
  const SuppressionSize size =
      SizeOf(shape.num_images, shape.num_pairs(), options.max_detections);
  return Suppress(head, size, iou_threshold, workspace, stream);
}

}  // namespace

std::size_t EdgeNmsWorkspaceBytes(std::size_t num_images, std::size_t num_boxes,
                                  std::size_t num_classes, std::size_t max_detections) {
  return SuppressionWorkspaceBytes(SizeOf(num_images, num_boxes * num_classes, max_detections));
}

cudaError_t EdgeNmsCuda(const float* boxes_xyxy, const void* scores, const EdgeNmsShape& shape,
                        const Threshold& score_threshold, const Threshold& iou_threshold,
                        const EdgeNmsOptions& options, const EdgeNmsOutputs& out, void* workspace,
                        cudaStream_t stream) {
  const auto run = shape.is_half ? Run<__half> : Run<float>;
  return run(boxes_xyxy, scores, shape, score_threshold, iou_threshold, options, out, workspace,
             stream);
}

}  // namespace edgecv
