// Devices, their memory and streams: as much as the operators' Python side needs where no library of
// the caller's brings it.

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>
#include <vector>

#include "bindings/cuda/cuda_bindings.h"

namespace edgecv::bindings {
namespace {

// Compute capabilities, such as "80 90", in the order of the build.
constexpr const char* kArchitectures = EDGECV_CUDA_ARCHITECTURES;

std::string ComputeCapability(int device) {
  int major = 0, minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  return std::to_string(major) + std::to_string(minor);
}

std::string Listed(const std::string& architectures) {
  std::string list = "sm_";
  for (const char letter : architectures) {
    if (letter == ' ') list += ", ";
    else list += letter;
  }
  return list;
}

std::string Version(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string Explain(cudaError_t status) {
  switch (status) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction: {
      int device = 0;
      cudaGetDevice(&device);
      const std::string here = ComputeCapability(device);
      return "built for " + Listed(kArchitectures) + "; this is sm_" + here +
             ". Rebuild with `CMAKE_ARGS=-DEDGECV_CUDA_ARCHITECTURES=" + here + " pip install .`.";
    }
    case cudaErrorInsufficientDriver: {
      int driver = 0;
      cudaDriverGetVersion(&driver);
      return "built with CUDA " + Version(CUDART_VERSION) + ", but the driver " +
             (driver == 0 ? "is missing" : "knows CUDA " + Version(driver) + " at most") +
             ". Install a newer NVIDIA driver, or rebuild with an older CUDA toolkit.";
    }
    case cudaErrorNoDevice: return "there is no NVIDIA GPU that this process may use.";
    case cudaErrorMemoryAllocation: return "the GPU has no memory left for it.";
    case cudaErrorInvalidResourceHandle:
      return "the stream belongs to another device, or to none. Pass one of the arrays' device.";
    default:
      return std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status) + ".";
  }
}

}  // namespace

void Check(const char* function, cudaError_t status) {
  if (status == cudaSuccess) return;
  const std::string message = std::string(function) + ": " + Explain(status);
  const nb::object error = nb::module_::import_("edgecv.errors").attr("DeviceError");
  PyErr_SetString(error.ptr(), message.c_str());
  throw nb::python_error();
}

OnDevice::OnDevice(int device) {
  Check("device", cudaGetDevice(&before_));
  if (device != before_) Check("device", cudaSetDevice(device));
}

OnDevice::~OnDevice() { cudaSetDevice(before_); }

void BindCudaDevice(nb::module_& m) {
  m.attr("architectures") = kArchitectures;
  m.attr("cuda_version") = Version(CUDART_VERSION);
  m.def("num_devices", [] {
    int count = 0;
    Check("num_devices", cudaGetDeviceCount(&count));
    return count;
  });
  m.def("compute_capability", [](int device) {
    const OnDevice on_device(device);  // that it exists
    return ComputeCapability(device);
  }, "device"_a);
  m.def("device_of", [](Address pointer) {
    cudaPointerAttributes attributes = {};
    Check("device_of", cudaPointerGetAttributes(&attributes, At<void>(pointer)));
    const bool is_device = attributes.type == cudaMemoryTypeDevice ||
                           attributes.type == cudaMemoryTypeManaged;
    return is_device ? attributes.device : -1;
  }, "pointer"_a);

  m.def("allocate", [](std::size_t num_bytes, int device, Address stream) {
    const OnDevice on_device(device);
    void* pointer = nullptr;
    Check("allocate", cudaMallocAsync(&pointer, num_bytes, StreamAt(stream)));
    return reinterpret_cast<Address>(pointer);
  }, "num_bytes"_a, "device"_a, "stream"_a);
  m.def("release", [](Address pointer, int device, Address stream) {
    const OnDevice on_device(device);
    Check("release", cudaFreeAsync(At<void>(pointer), StreamAt(stream)));
  }, "pointer"_a, "device"_a, "stream"_a);
  m.def("copy", [](Address target, Address source, std::size_t num_bytes, int device,
                    Address stream) {
    Enqueue("copy", device, stream, [&](cudaStream_t on) {
      return cudaMemcpyAsync(At<void>(target), At<void>(source), num_bytes, cudaMemcpyDefault,
                             on);
    });
  }, "target"_a, "source"_a, "num_bytes"_a, "device"_a, "stream"_a);
  m.def("synchronize", [](int device, Address stream) {
    Enqueue("synchronize", device, stream,
            [](cudaStream_t on) { return cudaStreamSynchronize(on); });
  }, "device"_a, "stream"_a);

  // What a DLPack producer hands over: address, shape, strides in elements, and its dtype as DLPack
  // says it: code, bits, lanes.
  m.def("describe", [](nb::ndarray<nb::ro, nb::device::cuda> array) {
    std::vector<std::int64_t> shape, strides;
    for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
      shape.push_back(static_cast<std::int64_t>(array.shape(axis)));
      strides.push_back(array.stride(axis));
    }
    const nb::dlpack::dtype type = array.dtype();
    return std::make_tuple(reinterpret_cast<Address>(array.data()), shape, strides,
                           std::make_tuple(int{type.code}, int{type.bits}, int{type.lanes}),
                           array.device_id());
  }, "capsule"_a);
}

}  // namespace edgecv::bindings
