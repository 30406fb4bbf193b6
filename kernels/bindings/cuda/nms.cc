#include "nms/nms.cuh"

#include "bindings/cuda/cuda_bindings.h"

namespace edgecv::bindings {

void BindCudaNms(nb::module_& m) {
  m.def("nms_workspace_bytes", &NmsWorkspaceBytes, "n"_a, "max_detections"_a);
  m.def("nms",
        [](Address boxes_xyxy, Address scores, Address class_ids, std::size_t n,
           double iou_threshold, std::size_t max_detections, Address kept, Address count,
           Address workspace, int device, Address stream) {
          Enqueue("nms", device, stream, [&](cudaStream_t on) {
            return NmsCuda(At<const float>(boxes_xyxy), At<const float>(scores),
                           At<const std::int32_t>(class_ids), n, iou_threshold, max_detections,
                           At<std::int64_t>(kept), At<std::int64_t>(count), At<void>(workspace),
                           on);
          });
        },
        "boxes_xyxy"_a, "scores"_a, "class_ids"_a, "n"_a, "iou_threshold"_a, "max_detections"_a,
        "kept"_a, "count"_a, "workspace"_a, "device"_a, "stream"_a);
}

}  // namespace edgecv::bindings
