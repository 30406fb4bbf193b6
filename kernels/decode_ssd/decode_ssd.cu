// CUDA implementation of decode_ssd.h on common/suppression.cuh: the logits are read once, which
// bounds the time, and the box of an anchor is decoded when suppression comes to it.
//
// Nearly every anchor is background, and for those no softmax is computed: p(class) <= exp(logit(class)
// - logit(background)), one comparison a logit. An anchor has a thread, so that its sum is taken class
// by class, as by the processor.

#include "decode_ssd/decode_ssd.cuh"

#include "common/class_values.cuh"
#include "common/decoded_head.cuh"

namespace edgecv {
namespace {

template <typename Value>
struct SoftmaxClasses {
  const Value* logits;  // the background first
  std::size_t image_stride, channel_stride, anchor_stride;  // elements
  std::uint32_t num_anchors, num_classes;
  Threshold score_threshold;

  __host__ __device__ std::size_t TileSize() const { return kTileKeys / num_classes; }  // anchors
  std::size_t NumTiles() const { return CeilDiv(std::size_t{num_anchors}, TileSize()); }

  template <typename Visitor>
  __device__ void Visit(std::size_t image, std::size_t first, std::size_t end,
                        Visitor visit) const {
    const auto threshold = static_cast<float>(Read(score_threshold));
    // Lowered by more than the softmax's rounding: it is the rounded score that is compared in the
    // end. A threshold of 0 gives -infinity: nothing is skipped that has a score above 0.
    const float margin = logf(threshold) - 1e-5f;
    const std::size_t most = end * TileSize() < num_anchors ? end * TileSize() : num_anchors;
    for (std::size_t anchor = first * TileSize() + threadIdx.x; anchor < most;
         anchor += blockDim.x) {
      const Value* const row = logits + image * image_stride + anchor * anchor_stride;
      if (IsAbove(row, margin))
        VisitAnchor(row, threshold, static_cast<std::uint32_t>(anchor), visit);
    }
  }

 private:
  __device__ float At(const Value* row, std::uint32_t channel) const {
    return ToFloat(row[channel * channel_stride]);
  }

  // Whether a class's logit exceeds the background's by more than `margin`.
  __device__ bool IsAbove(const Value* row, float margin) const {
    const float background = At(row, 0);
    bool is_above = false;
    for (std::uint32_t c = 1; c <= num_classes; ++c)
      is_above |= At(row, c) - background > margin;
    return is_above;
  }

  template <typename Visitor>
  __device__ void VisitAnchor(const Value* row, float threshold, std::uint32_t anchor,
                              Visitor visit) const {
    float peak = At(row, 0);
    for (std::uint32_t c = 1; c <= num_classes; ++c) {
      const float value = At(row, c);
      peak = peak < value ? value : peak;
    }
    float sum = 0.0f;
    for (std::uint32_t c = 0; c <= num_classes; ++c) sum += expf(At(row, c) - peak);
    for (std::uint32_t c = 1; c <= num_classes; ++c) {
      const float score = expf(At(row, c) - peak) / sum;
      if (score > threshold) visit(CandidateKey(score, anchor * num_classes + c - 1));
    }
  }
};

template <typename Value>
struct AnchorBoxes {
  const Value* offsets;
  std::size_t image_stride, channel_stride, anchor_stride;  // elements
  const float* anchors_cxcywh;
  float centre_variance, size_variance;

  __device__ float4 Of(std::size_t image, std::uint32_t anchor) const {
    const float* const around = anchors_cxcywh + std::size_t{4} * anchor;
    const Value* const offset = offsets + image * image_stride + anchor * anchor_stride;
    const auto at = [&](std::size_t channel) { return ToFloat(offset[channel * channel_stride]); };
    const float cx = at(0) * centre_variance * around[2] + around[0];
    const float cy = at(1) * centre_variance * around[3] + around[1];
    return BoxAround(cx, cy, 0.5f * expf(at(2) * size_variance) * around[2],
                     0.5f * expf(at(3) * size_variance) * around[3]);
  }
};

template <typename Value>
cudaError_t Decode(const BatchSsdHead& head, const BatchDecoding& decoding,
                   const BatchDetections& out, void* workspace, cudaStream_t stream) {
  const BatchHead &logits = head.logits, &offsets = head.offsets;
  const auto* const values = static_cast<const Value*>(logits.data);
  const AnchorBoxes<Value> boxes = {static_cast<const Value*>(offsets.data), offsets.ImageStride(),
                                    offsets.ChannelStride(), offsets.AnchorStride(),
                                    head.anchors_cxcywh, head.centre_variance, head.size_variance};
  const auto num_anchors = static_cast<std::uint32_t>(logits.num_anchors);
  const auto num_classes = static_cast<std::uint32_t>(head.NumClasses());
  if (head.activation == Activation::kSoftmax) {
    const SoftmaxClasses<Value> classes = {values,      logits.ImageStride(), logits.ChannelStride(),
                                           logits.AnchorStride(), num_anchors, num_classes,
                                           decoding.score_threshold};
    return SuppressDecoded(classes, boxes, logits.num_images, decoding, out, workspace, stream);
  }
  const bool is_aligned = IsAligned(values) && logits.ImageStride() % Pack<Value>::kSize == 0;
  const ClassValues<Value, Sigmoid> classes = {values,
                                               logits.ImageStride(),
                                               logits.ChannelStride(),
                                               logits.AnchorStride(),
                                               num_anchors,
                                               num_classes,
                                               ~std::uint32_t{0},
                                               false,
                                               is_aligned,
                                               decoding.score_threshold};
  return SuppressDecoded(classes, boxes, logits.num_images, decoding, out, workspace, stream);
}

}  // namespace

cudaError_t DecodeSsdCuda(const BatchSsdHead& head, const BatchDecoding& decoding,
                          const BatchDetections& out, void* workspace, cudaStream_t stream) {
  const auto decode = head.logits.is_half ? Decode<__half> : Decode<float>;
  return decode(head, decoding, out, workspace, stream);
}

}  // namespace edgecv
