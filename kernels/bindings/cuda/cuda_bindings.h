// What every binding file of the module `_cuda` shares. A binding only translates: device memory
// comes as an address (`Address`) and sizes, which the Python side has checked; a call enqueues its
// work on `stream` of `device` and returns. No arithmetic belongs here. `BindCuda<Operator>` adds the
// functions of one operator to the module.
#pragma once

#include <cuda_runtime_api.h>
#include <nanobind/nanobind.h>

#include <cstddef>
#include <cstdint>

namespace edgecv::bindings {

namespace nb = nanobind;
using namespace nanobind::literals;

using Address = std::uintptr_t;  // in device memory, or of a stream

template <typename Type>
Type* At(Address address) {
  return reinterpret_cast<Type*>(address);
}

inline cudaStream_t StreamAt(Address address) { return reinterpret_cast<cudaStream_t>(address); }

// Makes `device` the calling thread's for a scope; throws in the name of `function`.
class OnDevice {
 public:
  OnDevice(const char* function, int device);
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice();

 private:
  int device_, before_ = 0;
};

// Throws edgecv.errors.DeviceError, in the name of `function`, unless `status` is success; `device`
// is the one that was worked on.
void Check(const char* function, cudaError_t status, int device = 0);

// Runs `launch(stream)` on a device, without the GIL, and checks what it answers.
template <typename LaunchOn>
void Enqueue(const char* function, int device, Address stream, LaunchOn launch) {
  const OnDevice on_device(function, device);
  cudaError_t status;
  {
    const nb::gil_scoped_release nogil;
    status = launch(StreamAt(stream));
  }
  Check(function, status, device);
}

void BindCudaBoxIou(nb::module_& m);
void BindCudaDecode(nb::module_& m);
void BindCudaDevice(nb::module_& m);
void BindCudaEdgeNms(nb::module_& m);
void BindCudaLetterbox(nb::module_& m);
void BindCudaNms(nb::module_& m);
void BindCudaResizeArgmax(nb::module_& m);
void BindCudaRoi(nb::module_& m);

}  // namespace edgecv::bindings
