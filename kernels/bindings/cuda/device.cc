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

std::string Explain(cudaError_t status, int device) {
  switch (status) {
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction: {
      const std::string here = ComputeCapability(device);
      return "built for " + Listed(kArchitectures) + "; this is sm_" + here +
             ". Rebuild with `CMAKE_ARGS=-DEDGECV_CUDA_ARCHITECTURES=" + here +
             " pip install --force-reinstall --no-deps .`.";
    }
    case cudaErrorInsufficientDriver: {
      int driver = 0;
      cudaDriverGetVersion(&driver);
      if (driver == 0)
        return "there is no NVIDIA driver here. Install one, or start the container with "
               "`--gpus all` (on a Jetson `--runtime nvidia`).";
      return "built with CUDA " + Version(CUDART_VERSION) + ", but the driver knows CUDA " +
             Version(driver) + " at most. Install a newer NVIDIA driver, or rebuild with CUDA " +
             Version(driver) + ".";
    }
    case cudaErrorNoDevice:
      return "there is no NVIDIA GPU that this process may use. Check `nvidia-smi` and "
             "CUDA_VISIBLE_DEVICES.";
    case cudaErrorInvalidDevice: {
      int count = 0;
      cudaGetDeviceCount(&count);
      return "there is no GPU " + std::to_string(device) + "; this process may use " +
             std::to_string(count) + ", the first is 0.";
    }
    case cudaErrorMemoryAllocation:
      return "the GPU has not enough memory left. Free arrays or use a smaller batch.";
    case cudaErrorInvalidResourceHandle:
    case cudaErrorContextIsDestroyed:
      return "the stream belongs to another GPU than the arrays, or has been destroyed. Pass one "
             "of GPU " + std::to_string(device) + ".";
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureImplicit:
      return "this cannot be captured in a CUDA graph. Pass `out` and work on the stream that is "
             "captured.";
    default:
      return std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status) + ".";
  }
}

// Whether memory comes from a pool, in the order of a stream. Some Jetson boards have none.
bool HasPools(int device) {
  int supported = 0;
  cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device);
  return supported != 0;
}

// What a DLPack producer hands over: address, shape, strides in elements, its dtype as DLPack says
// it (code, bits, lanes), the number of its device and whether it may only be read.
using Description = std::tuple<Address, std::vector<std::int64_t>, std::vector<std::int64_t>,
                               std::tuple<int, int, int>, int, bool>;

template <typename Array>
Description Describe(const Array& array, bool is_read_only) {
  std::vector<std::int64_t> shape, strides;
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
    shape.push_back(static_cast<std::int64_t>(array.shape(axis)));
    strides.push_back(array.stride(axis));
  }
  const nb::dlpack::dtype type = array.dtype();
  return {reinterpret_cast<Address>(array.data()), shape, strides,
          {int{type.code}, int{type.bits}, int{type.lanes}}, array.device_id(), is_read_only};
}

}  // namespace

void Check(const char* function, cudaError_t status, int device) {
  if (status == cudaSuccess) return;
  const std::string message = std::string(function) + ": " + Explain(status, device);
  cudaGetLastError();  // said here; whoever asks next would take it for his own
  const nb::object error = nb::module_::import_("edgecv.errors").attr("DeviceError");
  PyErr_SetString(error.ptr(), message.c_str());
  throw nb::python_error();
}

OnDevice::OnDevice(const char* function, int device) : device_(device) {
  Check(function, cudaGetDevice(&before_), device);
  // Only if it is another: this makes CUDA set the GPU up.
  if (device != before_) Check(function, cudaSetDevice(device), device);
}

OnDevice::~OnDevice() {
  if (device_ != before_) cudaSetDevice(before_);
}

void BindCudaDevice(nb::module_& m) {
  m.attr("architectures") = kArchitectures;
  m.attr("cuda_version") = Version(CUDART_VERSION);
  m.def("num_devices", [] {
    int count = 0;
    Check("num_devices", cudaGetDeviceCount(&count));
    return count;
  });
  m.def("compute_capability", [](int device) {
    int count = 0;
    Check("compute_capability", cudaGetDeviceCount(&count));
    if (device < 0 || device >= count) Check("compute_capability", cudaErrorInvalidDevice, device);
    return ComputeCapability(device);
  }, "device"_a);
  m.def("device_of", [](Address pointer) {
    cudaPointerAttributes attributes = {};
    Check("device_of", cudaPointerGetAttributes(&attributes, At<void>(pointer)));
    // Pinned memory of the processor is a GPU's too, if its maker says so.
    return attributes.type == cudaMemoryTypeUnregistered ? -1 : attributes.device;
  }, "pointer"_a);

  m.def("allocate", [](std::size_t num_bytes, int device, Address stream) {
    const OnDevice on_device("allocate", device);
    void* pointer = nullptr;
    Check("allocate",
          HasPools(device) ? cudaMallocAsync(&pointer, num_bytes, StreamAt(stream))
                           : cudaMalloc(&pointer, num_bytes),
          device);
    return reinterpret_cast<Address>(pointer);
  }, "num_bytes"_a, "device"_a, "stream"_a);
  // For destructors: what cannot be given back, as at the end of the program, is gone anyway.
  m.def("release", [](Address pointer, int device, Address stream) {
    int before = 0;
    if (cudaGetDevice(&before) == cudaSuccess && cudaSetDevice(device) == cudaSuccess) {
      if (HasPools(device)) cudaFreeAsync(At<void>(pointer), StreamAt(stream));
      else cudaFree(At<void>(pointer));
      if (device != before) cudaSetDevice(before);
    }
    cudaGetLastError();
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
  // What is enqueued on `stream` from now on comes after what is on `other` now.
  m.def("wait_for", [](Address other, int device, Address stream) {
    Enqueue("wait_for", device, stream, [&](cudaStream_t on) {
      cudaEvent_t event = nullptr;
      cudaError_t status = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
      if (status != cudaSuccess) return status;
      status = cudaEventRecord(event, StreamAt(other));
      if (status == cudaSuccess) status = cudaStreamWaitEvent(on, event, 0);
      cudaEventDestroy(event);  // which the GPU still waits for, nevertheless
      return status;
    });
  }, "other"_a, "device"_a, "stream"_a);

  // Written into where its maker allows it, else read-only; on whatever device.
  m.def("describe", [](nb::handle capsule) {
    nb::ndarray<> writeable;
    if (nb::try_cast(capsule, writeable, false)) return Describe(writeable, false);
    return Describe(nb::cast<nb::ndarray<nb::ro>>(capsule, false), true);
  }, "capsule"_a);
}

}  // namespace edgecv::bindings
