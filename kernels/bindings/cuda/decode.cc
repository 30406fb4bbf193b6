#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <vector>

#include "bindings/cuda/cuda_bindings.h"
#include "decode_ssd/decode_ssd.cuh"
#include "decode_yolo/decode_yolo.cuh"

namespace edgecv::bindings {
namespace {

// scale_x, scale_y, offset_x, offset_y.
using Mapping = std::array<float, 4>;
using Levels = std::vector<std::uint32_t>;

// The arguments that all decoders share, in the order of the Python side.
BatchDecoding Decoding(float score_threshold, Address score_threshold_at, float iou_threshold,
                       Address iou_threshold_at, std::size_t max_detections, bool class_agnostic,
                       const Mapping& mapping, Address mappings_at) {
  return {{At<const float>(score_threshold_at), score_threshold},
          {At<const float>(iou_threshold_at), iou_threshold},
          max_detections,
          class_agnostic,
          {At<const float>(mappings_at), mapping[0], mapping[1], mapping[2], mapping[3]}};
}

BatchDetections DetectionsAt(Address num_detections, Address boxes, Address scores,
                             Address class_ids) {
  return {At<std::int32_t>(num_detections), At<float>(boxes), At<float>(scores),
          At<std::int32_t>(class_ids)};
}

}  // namespace

void BindCudaDecode(nb::module_& m) {
  m.def("decode_workspace_bytes", &DecodeWorkspaceBytes, "num_images"_a, "num_pairs"_a,
        "max_detections"_a);

  // A threshold is a number or, where its address is not 0, in device memory; the mapping likewise.
  // `num_bins` 0 is a decoded head, without levels.
  m.def("decode_yolo",
        [](Address head, bool is_half, bool channels_first, std::size_t num_images,
           std::size_t num_channels, std::size_t num_anchors, std::size_t num_bins,
           const Levels& first_anchors, const Levels& columns, const Levels& strides,
           bool multi_label, float score_threshold, Address score_threshold_at,
           float iou_threshold, Address iou_threshold_at, std::size_t max_detections,
           bool class_agnostic, const Mapping& mapping, Address mappings_at,
           Address num_detections, Address boxes, Address scores, Address class_ids,
           Address workspace, int device, Address stream) {
          if (strides.size() > kMaxStrides || columns.size() != strides.size() ||
              first_anchors.size() != strides.size())
            throw nb::value_error("decode_yolo: there must be at most 8 levels.");
          YoloHead yolo = {{At<const void>(head), is_half, channels_first, num_images,
                            num_channels, num_anchors},
                           num_bins,
                           {strides.size(), {}, {}, {}},
                           multi_label};
          std::copy(first_anchors.begin(), first_anchors.end(), yolo.levels.first_anchor);
          std::copy(columns.begin(), columns.end(), yolo.levels.columns);
          std::copy(strides.begin(), strides.end(), yolo.levels.stride);
          const BatchDecoding decoding =
              Decoding(score_threshold, score_threshold_at, iou_threshold, iou_threshold_at,
                       max_detections, class_agnostic, mapping, mappings_at);
          Enqueue("decode_yolo", device, stream, [&](cudaStream_t on) {
            return DecodeYoloCuda(yolo, decoding,
                                  DetectionsAt(num_detections, boxes, scores, class_ids),
                                  At<void>(workspace), on);
          });
        },
        "head"_a, "is_half"_a, "channels_first"_a, "num_images"_a, "num_channels"_a,
        "num_anchors"_a, "num_bins"_a, "first_anchors"_a, "columns"_a, "strides"_a,
        "multi_label"_a, "score_threshold"_a, "score_threshold_at"_a, "iou_threshold"_a,
        "iou_threshold_at"_a, "max_detections"_a, "class_agnostic"_a, "mapping"_a,
        "mappings_at"_a, "num_detections"_a, "boxes"_a, "scores"_a, "class_ids"_a, "workspace"_a,
        "device"_a, "stream"_a);

  m.def("decode_ssd",
        [](Address offsets, Address logits, bool is_half, bool channels_first,
           std::size_t num_images, std::size_t num_logits, std::size_t num_anchors,
           Address anchors_cxcywh, float centre_variance, float size_variance, bool sigmoid,
           float score_threshold, Address score_threshold_at, float iou_threshold,
           Address iou_threshold_at, std::size_t max_detections, bool class_agnostic,
           const Mapping& mapping, Address mappings_at, Address num_detections, Address boxes,
           Address scores, Address class_ids, Address workspace, int device, Address stream) {
          const auto batch = [&](Address data, std::size_t num_channels) {
            return BatchHead{At<const void>(data), is_half,      channels_first,
                             num_images,           num_channels, num_anchors};
          };
          const BatchSsdHead head = {batch(offsets, 4),
                                     batch(logits, num_logits),
                                     At<const float>(anchors_cxcywh),
                                     centre_variance,
                                     size_variance,
                                     sigmoid ? Activation::kSigmoid : Activation::kSoftmax};
          const BatchDecoding decoding =
              Decoding(score_threshold, score_threshold_at, iou_threshold, iou_threshold_at,
                       max_detections, class_agnostic, mapping, mappings_at);
          Enqueue("decode_ssd", device, stream, [&](cudaStream_t on) {
            return DecodeSsdCuda(head, decoding,
                                 DetectionsAt(num_detections, boxes, scores, class_ids),
                                 At<void>(workspace), on);
          });
        },
        "offsets"_a, "logits"_a, "is_half"_a, "channels_first"_a, "num_images"_a, "num_logits"_a,
        "num_anchors"_a, "anchors_cxcywh"_a, "centre_variance"_a, "size_variance"_a, "sigmoid"_a,
        "score_threshold"_a, "score_threshold_at"_a, "iou_threshold"_a, "iou_threshold_at"_a,
        "max_detections"_a, "class_agnostic"_a, "mapping"_a, "mappings_at"_a, "num_detections"_a,
        "boxes"_a, "scores"_a, "class_ids"_a, "workspace"_a, "device"_a, "stream"_a);
}

}  // namespace edgecv::bindings
