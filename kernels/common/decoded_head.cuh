// A head for common/suppression.cuh that is made of two parts: `Classes`, which finds candidates
// (NumTiles and Visit as there, and num_classes), and `Boxes`, which decodes the box of an anchor when
// its candidate is reached: float4 Of(image, anchor).
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/batch_decoding.h"
#include "common/suppression.cuh"
#include "common/vectors.cuh"

namespace edgecv {

template <typename Classes, typename Boxes>
struct DecodedHead {
  Classes classes;
  Boxes boxes;
  bool class_agnostic;
  std::size_t max_detections;
  FrameMapping mapping;
  BatchDetections out;
  bool has_aligned_output;
  std::size_t num_tiles;

  template <typename Visitor>
  __device__ void Visit(std::size_t image, std::size_t first, std::size_t end,
                        Visitor visit) const {
    classes.Visit(image, first, end, visit);
  }

  __device__ float4 BoxOf(std::size_t image, std::uint32_t pair) const {
    return boxes.Of(image, pair / classes.num_classes);
  }
  __device__ std::int32_t ClassOf(std::size_t, std::uint32_t pair) const {
    return class_agnostic ? 0 : static_cast<std::int32_t>(pair % classes.num_classes);
  }

  __device__ void Write(std::size_t image, std::size_t row, std::uint32_t pair, float score,
                        float4 box) const {
    FrameMapping to = mapping;
    if (to.address != nullptr) {
      const float* values = to.address + 4 * image;
      to.scale_x = values[0], to.scale_y = values[1];
      to.offset_x = values[2], to.offset_y = values[3];
    }
    const float4 in_frame = {(box.x - to.offset_x) / to.scale_x, (box.y - to.offset_y) / to.scale_y,
                             (box.z - to.offset_x) / to.scale_x, (box.w - to.offset_y) / to.scale_y};
    WriteRow(image * max_detections + row, in_frame, score,
             static_cast<std::int32_t>(pair % classes.num_classes));
  }
  __device__ void WriteNothing(std::size_t image, std::size_t row) const {
    WriteRow(image * max_detections + row, {0.0f, 0.0f, 0.0f, 0.0f}, 0.0f, -1);
  }
  __device__ void WriteRow(std::size_t row, float4 box, float score, std::int32_t class_id) const {
    StoreBox(out.boxes_xyxy + 4 * row, box, has_aligned_output);
    out.scores[row] = score;
    out.class_ids[row] = class_id;
  }
  __device__ void WriteCount(std::size_t image, std::uint32_t count) const {
    out.num_detections[image] = static_cast<std::int32_t>(count);
  }
};

// The box around a centre.
__device__ __forceinline__ float4 BoxAround(float cx, float cy, float half_w, float half_h) {
  return {cx - half_w, cy - half_h, cx + half_w, cy + half_h};
}

// Decodes and suppresses, asynchronously on `stream`; returns the status of the launches.
template <typename Classes, typename Boxes>
cudaError_t SuppressDecoded(const Classes& classes, const Boxes& boxes, std::size_t num_images,
                            const BatchDecoding& decoding, const BatchDetections& out,
                            void* workspace, cudaStream_t stream) {
  const DecodedHead<Classes, Boxes> head = {classes,
                                            boxes,
                                            decoding.class_agnostic,
                                            decoding.max_detections,
                                            decoding.mapping,
                                            out,
                                            IsAligned(out.boxes_xyxy),
                                            classes.NumTiles()};
  const std::size_t num_pairs = std::size_t{classes.num_anchors} * classes.num_classes;
  return Suppress(head, DetectorSuppressionSize(num_images, num_pairs, decoding.max_detections),
                  decoding.iou_threshold, workspace, stream);
}

}  // namespace edgecv
