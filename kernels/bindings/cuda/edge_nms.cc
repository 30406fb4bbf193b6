#include "edge_nms/edge_nms.cuh"

#include "bindings/cuda/cuda_bindings.h"

namespace edgecv::bindings {

void BindCudaEdgeNms(nb::module_& m) {
  m.def("edge_nms_workspace_bytes", &EdgeNmsWorkspaceBytes, "num_images"_a, "num_boxes"_a,
        "num_classes"_a, "max_detections"_a);
  // A threshold is a number or, where its address is not 0, in device memory.
  m.def("edge_nms",
        [](Address boxes_xyxy, Address scores, std::size_t num_images, std::size_t num_boxes,
           std::size_t num_classes, bool classes_first, bool is_half, float score_threshold,
           Address score_threshold_at, float iou_threshold, Address iou_threshold_at,
           std::size_t max_detections, bool class_agnostic, std::int32_t background_class,
           Address num_detections, Address out_boxes, Address out_scores, Address class_ids,
           Address box_rows, Address workspace, int device, Address stream) {
          const EdgeNmsShape shape = {num_images, num_boxes, num_classes, classes_first, is_half};
          const EdgeNmsOptions options = {max_detections, class_agnostic, background_class};
          const EdgeNmsOutputs out = {At<std::int32_t>(num_detections), At<float>(out_boxes),
                                      At<float>(out_scores), At<std::int32_t>(class_ids),
                                      At<std::int32_t>(box_rows)};
          Enqueue("edge_nms", device, stream, [&](cudaStream_t on) {
            return EdgeNmsCuda(At<const float>(boxes_xyxy), At<const void>(scores), shape,
                               {At<const float>(score_threshold_at), score_threshold},
                               {At<const float>(iou_threshold_at), iou_threshold}, options, out,
                               At<void>(workspace), on);
          });
        },
        "boxes_xyxy"_a, "scores"_a, "num_images"_a, "num_boxes"_a, "num_classes"_a,
        "classes_first"_a, "is_half"_a, "score_threshold"_a, "score_threshold_at"_a,
        "iou_threshold"_a, "iou_threshold_at"_a, "max_detections"_a, "class_agnostic"_a,
        "background_class"_a, "num_detections"_a, "out_boxes"_a, "out_scores"_a, "class_ids"_a,
        "box_rows"_a, "workspace"_a, "device"_a, "stream"_a);
}

}  // namespace edgecv::bindings
