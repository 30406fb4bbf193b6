// CUDA implementation of decode_yolo.h on common/suppression.cuh: the class values are read once,
// which bounds the time, and the box of an anchor is decoded when suppression comes to it. 84 x 8400
// halves are 1.4 MB.

#include "decode_yolo/decode_yolo.cuh"

#include "common/class_values.cuh"
#include "common/decoded_head.cuh"

namespace edgecv {
namespace {

template <typename Value>
struct Channels {  // of the anchors of a batch
  const Value* data;
  std::size_t image_stride, channel_stride, anchor_stride;

  __device__ float At(std::size_t image, std::size_t anchor, std::size_t channel) const {
    return ToFloat(data[image * image_stride + channel * channel_stride + anchor * anchor_stride]);
  }
};

template <typename Value>
struct CentreBoxes {
  Channels<Value> channels;

  __device__ float4 Of(std::size_t image, std::uint32_t anchor) const {
    return BoxAround(channels.At(image, anchor, 0), channels.At(image, anchor, 1),
                     0.5f * channels.At(image, anchor, 2), 0.5f * channels.At(image, anchor, 3));
  }
};

template <typename Value>
struct DistributionBoxes {
  Channels<Value> channels;
  std::uint32_t num_bins;
  CellLevels levels;

  // The expected bin of a side's distribution.
  __device__ float Distance(std::size_t image, std::uint32_t anchor, std::uint32_t side) const {
    const std::uint32_t first = side * num_bins;
    float peak = channels.At(image, anchor, first), sum = 0.0f, moment = 0.0f;
    // Unrolled by what keeps loads under way without taking more registers than there are.
#pragma unroll 4
    for (std::uint32_t k = 1; k < num_bins; ++k)
      peak = fmaxf(peak, channels.At(image, anchor, first + k));
#pragma unroll 4
    for (std::uint32_t k = 0; k < num_bins; ++k) {
      const float mass = expf(channels.At(image, anchor, first + k) - peak);
      sum += mass;
      moment += static_cast<float>(k) * mass;
    }
    return moment / sum;
  }

  __device__ float4 Of(std::size_t image, std::uint32_t anchor) const {
    std::size_t level = 0;
    while (level + 1 < levels.count && anchor >= levels.first_anchor[level + 1]) ++level;
    const std::uint32_t cell = anchor - levels.first_anchor[level];
    const auto stride = static_cast<float>(levels.stride[level]);
    const float x = (static_cast<float>(cell % levels.columns[level]) + 0.5f) * stride;
    const float y = (static_cast<float>(cell / levels.columns[level]) + 0.5f) * stride;
    return {x - Distance(image, anchor, 0) * stride, y - Distance(image, anchor, 1) * stride,
            x + Distance(image, anchor, 2) * stride, y + Distance(image, anchor, 3) * stride};
  }
};

template <typename Value>
cudaError_t Decode(const YoloHead& head, const BatchDecoding& decoding, const BatchDetections& out,
                   void* workspace, cudaStream_t stream) {
  const BatchHead& values = head.values;
  const Channels<Value> channels = {static_cast<const Value*>(values.data), values.ImageStride(),
                                    values.ChannelStride(), values.AnchorStride()};
  const Value* const first_class = channels.data + head.NumBoxChannels() * channels.channel_stride;
  const bool is_aligned = values.channels_first && IsAligned(first_class) &&
                          channels.image_stride % Pack<Value>::kSize == 0 &&
                          head.NumClasses() * values.num_anchors % Pack<Value>::kSize == 0;
  const auto run = [&](auto activation, const auto& boxes) {
    const ClassValues<Value, decltype(activation)> classes = {
        first_class,
        channels.image_stride,
        channels.channel_stride,
        channels.anchor_stride,
        static_cast<std::uint32_t>(values.num_anchors),
        static_cast<std::uint32_t>(head.NumClasses()),
        ~std::uint32_t{0},
        !head.multi_label,
        is_aligned,
        decoding.score_threshold};
    return SuppressDecoded(classes, boxes, values.num_images, decoding, out, workspace, stream);
  };
  if (head.num_bins == 0) return run(Probability(), CentreBoxes<Value>{channels});
  return run(Sigmoid(), DistributionBoxes<Value>{
                            channels, static_cast<std::uint32_t>(head.num_bins), head.levels});
}

}  // namespace

std::size_t DecodeWorkspaceBytes(std::size_t num_images, std::size_t num_pairs,
                                 std::size_t max_detections) {
  return SuppressionWorkspaceBytes(
      DetectorSuppressionSize(num_images, num_pairs, max_detections));
}

cudaError_t DecodeYoloCuda(const YoloHead& head, const BatchDecoding& decoding,
                           const BatchDetections& out, void* workspace, cudaStream_t stream) {
  const auto decode = head.values.is_half ? Decode<__half> : Decode<float>;
  return decode(head, decoding, out, workspace, stream);
}

}  // namespace edgecv
