// The module `_cuda`: one `BindCuda` function per operator, see cuda_bindings.h.

#include "bindings/cuda/cuda_bindings.h"

NB_MODULE(_cuda, m) {
  using namespace edgecv::bindings;
  BindCudaBoxIou(m);
  BindCudaDecode(m);
  BindCudaDevice(m);
  BindCudaEdgeNms(m);
  BindCudaLetterbox(m);
  BindCudaNms(m);
  BindCudaResizeArgmax(m);
  BindCudaRoi(m);
}
