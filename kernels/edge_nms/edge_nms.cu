// CUDA implementation of edge_nms.h: the scores of a detector as candidates for common/suppression.cuh.
// The scores are read once, 16 bytes at a time where they are aligned, and little else: 2.7 MB for
// 8400 boxes of 80 classes in float32, 172 MB for 64 such images. The boxes are read candidate by
// candidate.

#include "edge_nms/edge_nms.cuh"

#include "common/class_values.cuh"
#include "common/suppression.cuh"
#include "common/vectors.cuh"

namespace edgecv {
namespace {

template <typename Score>
struct ScoredBoxes {
  ClassValues<Score, Probability> classes;
  const float* boxes_xyxy;
  bool class_agnostic;
  bool has_aligned_boxes, has_aligned_output;
  std::size_t max_detections;
  EdgeNmsOutputs out;
  std::size_t num_tiles;

  template <typename Visitor>
  __device__ void Visit(std::size_t image, std::size_t first, std::size_t end,
                        Visitor visit) const {
    classes.Visit(image, first, end, visit);
  }

  __device__ float4 BoxOf(std::size_t image, std::uint32_t pair) const {
    const std::size_t box = std::size_t{classes.num_anchors} * image + pair / classes.num_classes;
    return LoadBox(boxes_xyxy + 4 * box, has_aligned_boxes);
  }
  __device__ std::int32_t ClassOf(std::size_t, std::uint32_t pair) const {
    return class_agnostic ? 0 : static_cast<std::int32_t>(pair % classes.num_classes);
  }

  __device__ void Write(std::size_t image, std::size_t row, std::uint32_t pair, float score,
                        float4 box) const {
    WriteRow(image * max_detections + row, box, score,
             static_cast<std::int32_t>(pair % classes.num_classes),
             static_cast<std::int32_t>(pair / classes.num_classes));
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

template <typename Score>
cudaError_t Run(const float* boxes_xyxy, const void* scores, const EdgeNmsShape& shape,
                const Threshold& score_threshold, const Threshold& iou_threshold,
                const EdgeNmsOptions& options, const EdgeNmsOutputs& out, void* workspace,
                cudaStream_t stream) {
  const std::size_t num_pairs = shape.num_pairs();
  const ClassValues<Score, Probability> classes = {
      static_cast<const Score*>(scores),
      num_pairs,
      shape.classes_first ? shape.num_boxes : 1,
      shape.classes_first ? 1 : shape.num_classes,
      static_cast<std::uint32_t>(shape.num_boxes),
      static_cast<std::uint32_t>(shape.num_classes),
      static_cast<std::uint32_t>(options.background_class),
      options.class_agnostic,
      IsAligned(scores) && num_pairs % Pack<Score>::kSize == 0,
      score_threshold};
  const ScoredBoxes<Score> head = {classes,
                                   boxes_xyxy,
                                   options.class_agnostic,
                                   IsAligned(boxes_xyxy),
                                   IsAligned(out.boxes_xyxy),
                                   options.max_detections,
                                   out,
                                   classes.NumTiles()};
  const SuppressionSize size =
      DetectorSuppressionSize(shape.num_images, num_pairs, options.max_detections);
  return Suppress(head, size, iou_threshold, workspace, stream);
}

}  // namespace

std::size_t EdgeNmsWorkspaceBytes(std::size_t num_images, std::size_t num_boxes,
                                  std::size_t num_classes, std::size_t max_detections) {
  return SuppressionWorkspaceBytes(
      DetectorSuppressionSize(num_images, num_boxes * num_classes, max_detections));
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
