#include "box_iou/box_iou.cuh"

#include "bindings/cuda/cuda_bindings.h"

namespace edgecv::bindings {

void BindCudaBoxIou(nb::module_& m) {
  m.def("box_iou",
        [](Address a_xyxy, std::size_t n, Address b_xyxy, std::size_t count, int kind, Address out,
           int device, Address stream) {
          Enqueue("box_iou", device, stream, [&](cudaStream_t on) {
            return BoxIouCuda(At<const float>(a_xyxy), n, At<const float>(b_xyxy), count,
                              static_cast<Overlap>(kind), At<float>(out), on);
          });
        },
        "a_xyxy"_a, "n"_a, "b_xyxy"_a, "m"_a, "kind"_a, "out"_a, "device"_a, "stream"_a);
}

}  // namespace edgecv::bindings
