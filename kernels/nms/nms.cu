// CUDA implementation of nms.h: every score is a candidate for common/suppression.cuh. One block does
// the suppression: its time is that of comparing the candidates that are visited with those kept
// before, some 10^10 pairs a second, so that `max_detections` bounds it.

#include "nms/nms.cuh"

#include "common/suppression.cuh"
#include "common/vectors.cuh"

namespace edgecv {
namespace {

struct RankedBoxes {
  const float* boxes_xyxy;
  const float* scores;
  const std::int32_t* class_ids;
  std::size_t n;
  bool has_aligned_boxes;
  std::int64_t* kept;
  std::int64_t* count;
  std::size_t num_tiles;

  template <typename Visitor>
  __device__ void Visit(std::size_t, std::size_t first, std::size_t end, Visitor visit) const {
    const std::size_t to = end * kTileKeys < n ? end * kTileKeys : n;
    for (std::size_t i = first * kTileKeys + threadIdx.x; i < to; i += blockDim.x) {
      const float score = __ldg(scores + i);
      if (score == score) visit(CandidateKey(score, static_cast<std::uint32_t>(i)));
    }
  }

  __device__ float4 BoxOf(std::size_t, std::uint32_t row) const {
    return LoadBox(boxes_xyxy + 4 * std::size_t{row}, has_aligned_boxes);
  }
  __device__ std::int32_t ClassOf(std::size_t, std::uint32_t row) const {
    return class_ids == nullptr ? 0 : __ldg(class_ids + row);
  }

  __device__ void Write(std::size_t, std::size_t place, std::uint32_t row, float, float4) const {
    kept[place] = row;
  }
  __device__ void WriteNothing(std::size_t, std::size_t place) const { kept[place] = -1; }
  __device__ void WriteCount(std::size_t, std::uint32_t value) const { *count = value; }
};

}  // namespace

std::size_t NmsWorkspaceBytes(std::size_t n, std::size_t max_detections) {
  return SuppressionWorkspaceBytes({1, n, max_detections, n});
}

cudaError_t NmsCuda(const float* boxes_xyxy, const float* scores, const std::int32_t* class_ids,
                    std::size_t n, double iou_threshold, std::size_t max_detections,
                    std::int64_t* kept, std::int64_t* count, void* workspace,
                    cudaStream_t stream) {
  const RankedBoxes head = {boxes_xyxy, scores, class_ids, n,
                            IsAligned(boxes_xyxy), kept, count,
                            CeilDiv<std::size_t>(n, kTileKeys)};
  return Suppress(head, {1, n, max_detections, n}, {nullptr, iou_threshold}, workspace, stream);
}

}  // namespace edgecv
