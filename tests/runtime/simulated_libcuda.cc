// A libcuda.so.1 for machines without a GPU: "device" memory is the host's, and streams do their
// work at once. What it is strict about is what drivers are strict about: a context must be current,
// a handle must be alive, capture begins and ends once. Anything wrong returns an error.
//
// Real libraries (cuda-python, PyCUDA) and edgecv's ctypes driver are run against it.

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr int kInvalidValue = 1, kOutOfMemory = 2, kInvalidContext = 201, kInvalidHandle = 400;
constexpr int kNotFound = 500, kCaptureInvalidated = 901, kNotCapturing = 903;
constexpr std::size_t kDeviceBytes = 8 << 20;

using Work = std::function<void()>;

struct Stream {
  bool is_capturing = false;
  bool is_invalid = false;
  std::vector<Work> captured;
};

std::recursive_mutex mutex;
std::string log_text;
std::map<std::uint64_t, std::size_t> device_memory;
std::map<void*, std::size_t> host_memory;
std::set<Stream*> streams;
std::set<int*> events;
std::set<std::vector<Work>*> graphs, executables;
std::size_t bytes_in_use = 0;
int num_retained = 0;
int the_context = 0;  // its address is the handle
thread_local std::vector<void*> context_stack;

void Log(const std::string& name) { log_text += name + "\n"; }

bool HasContext() { return !context_stack.empty() && context_stack.back() && num_retained > 0; }

bool IsInside(const std::map<std::uint64_t, std::size_t>& map, std::uint64_t begin, std::size_t n) {
  auto next = map.upper_bound(begin);
  if (next == map.begin()) return false;
  --next;
  return begin + n <= next->first + next->second;
}

bool IsKnown(std::uint64_t begin, std::size_t n) {
  if (IsInside(device_memory, begin, n)) return true;
  std::map<std::uint64_t, std::size_t> host;
  for (auto& [pointer, size] : host_memory) host[reinterpret_cast<std::uint64_t>(pointer)] = size;
  return IsInside(host, begin, n);
}

int Submit(void* handle, Work work) {
  auto* stream = static_cast<Stream*>(handle);
  if (!HasContext()) return kInvalidContext;
  if (!streams.count(stream)) return kInvalidHandle;
  if (stream->is_capturing) stream->captured.push_back(std::move(work));
  else work();
  return 0;
}

int Copy(std::uint64_t target, std::uint64_t source, std::size_t n, void* stream) {
  if (!IsKnown(target, n) || !IsKnown(source, n)) return kInvalidValue;
  return Submit(stream, [=] {
    std::memcpy(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source), n);
  });
}

template <typename T>
int Fill(std::uint64_t target, T value, std::size_t n, void* stream) {
  if (!IsKnown(target, n * sizeof(T)) || target % sizeof(T)) return kInvalidValue;
  return Submit(stream, [=] {
    for (std::size_t i = 0; i < n; ++i) reinterpret_cast<T*>(target)[i] = value;
  });
}

}  // namespace

#define CUDA extern "C" __attribute__((visibility("default")))
#define ENTER(name)                                 \
  const std::lock_guard<std::recursive_mutex> lock(mutex); \
  Log(name)
#define ENTER_CONTEXT(name) \
  ENTER(name);              \
  if (!HasContext()) return kInvalidContext

// What the tests ask.
CUDA const char* SimulatedLog() { return log_text.c_str(); }
CUDA void SimulatedClear() { log_text.clear(); }
CUDA void SimulatedInvalidate(void* stream) { static_cast<Stream*>(stream)->is_invalid = true; }
CUDA int SimulatedAlive() {
  return static_cast<int>(device_memory.size() + host_memory.size() + streams.size() +
                          events.size() + graphs.size() + executables.size());
}
CUDA int SimulatedRetained() { return num_retained; }
CUDA int SimulatedDepth() { return static_cast<int>(context_stack.size()); }

CUDA int cuInit(unsigned) { ENTER("cuInit"); return 0; }
CUDA int cuDriverGetVersion(int* version) { *version = 13000; return 0; }
CUDA int cuDeviceGetCount(int* count) { *count = 1; return 0; }
CUDA int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? 0 : 101;
}
CUDA int cuDeviceGetName(char* name, int length, int) {
  std::strncpy(name, "Simulated GPU", static_cast<std::size_t>(length));
  return 0;
}
CUDA int cuDeviceGetAttribute(int* value, int, int) { *value = 8; return 0; }
CUDA int cuDevicePrimaryCtxRetain(void** context, int) {
  ENTER("cuDevicePrimaryCtxRetain");
  *context = &the_context;
  ++num_retained;
  return 0;
}
CUDA int cuDevicePrimaryCtxRelease_v2(int) {
  ENTER("cuDevicePrimaryCtxRelease");
  return --num_retained < 0 ? kInvalidContext : 0;
}
CUDA int cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }
CUDA int cuCtxPushCurrent_v2(void* context) {
  if (context != &the_context) return kInvalidContext;
  context_stack.push_back(context);
  return 0;
}
CUDA int cuCtxPopCurrent_v2(void** context) {
  if (context_stack.empty()) return kInvalidContext;
  *context = context_stack.back();
  context_stack.pop_back();
  return 0;
}
// What PyCUDA may do with contexts of its own, and never with the primary one.
CUDA int cuCtxDetach(void*) {
  ENTER("cuCtxDetach");
  return kInvalidContext;
}
CUDA int cuCtxGetDevice(int* device) { *device = 0; return HasContext() ? 0 : kInvalidContext; }
CUDA int cuCtxSynchronize() { ENTER_CONTEXT("cuCtxSynchronize"); return 0; }

CUDA int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  ENTER_CONTEXT("cuMemGetInfo");
  *free = kDeviceBytes - bytes_in_use;
  *total = kDeviceBytes;
  return 0;
}
CUDA int cuMemAlloc_v2(std::uint64_t* address, std::size_t n) {
  ENTER_CONTEXT("cuMemAlloc");
  if (n == 0) return kInvalidValue;
  if (bytes_in_use + n > kDeviceBytes) return kOutOfMemory;
  void* pointer = std::aligned_alloc(256, (n + 255) / 256 * 256);
  std::memset(pointer, 0xA5, n);
  *address = reinterpret_cast<std::uint64_t>(pointer);
  device_memory[*address] = n;
  bytes_in_use += n;
  return 0;
}
CUDA int cuMemFree_v2(std::uint64_t address) {
  ENTER_CONTEXT("cuMemFree");
  const auto found = device_memory.find(address);
  if (found == device_memory.end()) return kInvalidValue;
  bytes_in_use -= found->second;
  device_memory.erase(found);
  std::free(reinterpret_cast<void*>(address));
  return 0;
}
CUDA int cuMemHostAlloc(void** pointer, std::size_t n, unsigned) {
  ENTER_CONTEXT("cuMemHostAlloc");
  if (n > kDeviceBytes) return kOutOfMemory;
  *pointer = std::malloc(n);
  std::memset(*pointer, 0xA5, n);
  host_memory[*pointer] = n;
  return 0;
}
CUDA int cuMemFreeHost(void* pointer) {
  ENTER_CONTEXT("cuMemFreeHost");
  if (!host_memory.erase(pointer)) return kInvalidValue;
  std::free(pointer);
  return 0;
}

CUDA int cuStreamCreate(void** stream, unsigned flags) {
  ENTER_CONTEXT("cuStreamCreate");
  if (flags != 1) return kInvalidValue;  // CU_STREAM_NON_BLOCKING
  auto* made = new Stream;
  streams.insert(made);
  *stream = made;
  return 0;
}
CUDA int cuStreamDestroy_v2(void* stream) {
  ENTER_CONTEXT("cuStreamDestroy");
  return streams.erase(static_cast<Stream*>(stream)) ? 0 : kInvalidHandle;
}
CUDA int cuStreamSynchronize(void* stream) {
  ENTER("cuStreamSynchronize");
  return Submit(stream, [] {});
}
CUDA int cuStreamWaitEvent(void* stream, void* event, unsigned) {
  ENTER("cuStreamWaitEvent");
  return events.count(static_cast<int*>(event)) ? Submit(stream, [] {}) : kInvalidHandle;
}
CUDA int cuEventCreate(void** event, unsigned flags) {
  ENTER_CONTEXT("cuEventCreate");
  if (flags != 3) return kInvalidValue;  // CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING
  auto* made = new int(0);
  events.insert(made);
  *event = made;
  return 0;
}
CUDA int cuEventDestroy_v2(void* event) {
  ENTER_CONTEXT("cuEventDestroy");
  return events.erase(static_cast<int*>(event)) ? 0 : kInvalidHandle;
}
CUDA int cuEventRecord(void* event, void* stream) {
  ENTER("cuEventRecord");
  return events.count(static_cast<int*>(event)) ? Submit(stream, [] {}) : kInvalidHandle;
}
CUDA int cuEventSynchronize(void* event) {
  ENTER_CONTEXT("cuEventSynchronize");
  return events.count(static_cast<int*>(event)) ? 0 : kInvalidHandle;
}

CUDA int cuMemcpyAsync(std::uint64_t target, std::uint64_t source, std::size_t n, void* stream) {
  ENTER("copy");
  return Copy(target, source, n, stream);
}
CUDA int cuMemcpyHtoDAsync_v2(std::uint64_t target, const void* source, std::size_t n, void* stream) {
  ENTER("copy");
  return Copy(target, reinterpret_cast<std::uint64_t>(source), n, stream);
}
CUDA int cuMemcpyDtoHAsync_v2(void* target, std::uint64_t source, std::size_t n, void* stream) {
  ENTER("copy");
  return Copy(reinterpret_cast<std::uint64_t>(target), source, n, stream);
}
CUDA int cuMemcpyDtoDAsync_v2(std::uint64_t target, std::uint64_t source, std::size_t n,
                              void* stream) {
  ENTER("copy");
  return Copy(target, source, n, stream);
}
CUDA int cuMemsetD8Async(std::uint64_t target, unsigned char value, std::size_t n, void* stream) {
  ENTER("cuMemsetD8Async");
  return Fill(target, value, n, stream);
}
CUDA int cuMemsetD16Async(std::uint64_t target, unsigned short value, std::size_t n, void* stream) {
  ENTER("cuMemsetD16Async");
  return Fill(target, value, n, stream);
}
CUDA int cuMemsetD32Async(std::uint64_t target, unsigned value, std::size_t n, void* stream) {
  ENTER("cuMemsetD32Async");
  return Fill(target, value, n, stream);
}

CUDA int cuStreamBeginCapture_v2(void* handle, int mode) {
  ENTER_CONTEXT("cuStreamBeginCapture");
  auto* stream = static_cast<Stream*>(handle);
  if (!streams.count(stream)) return kInvalidHandle;
  if (stream->is_capturing || mode != 1) return kInvalidValue;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
  stream->is_capturing = true;
  stream->is_invalid = false;
  stream->captured.clear();
  return 0;
}
CUDA int cuStreamEndCapture(void* handle, void** graph) {
  ENTER_CONTEXT("cuStreamEndCapture");
  auto* stream = static_cast<Stream*>(handle);
  if (!streams.count(stream)) return kInvalidHandle;
  if (!stream->is_capturing) return kNotCapturing;
  stream->is_capturing = false;
  if (stream->is_invalid) return kCaptureInvalidated;
  auto* made = new std::vector<Work>(stream->captured);
  graphs.insert(made);
  *graph = made;
  return 0;
}
CUDA int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  ENTER_CONTEXT("cuGraphInstantiate");
  auto* source = static_cast<std::vector<Work>*>(graph);
  if (!graphs.count(source)) return kInvalidHandle;
  auto* made = new std::vector<Work>(*source);
  executables.insert(made);
  *executable = made;
  return 0;
}
CUDA int cuGraphDestroy(void* graph) {
  ENTER_CONTEXT("cuGraphDestroy");
  return graphs.erase(static_cast<std::vector<Work>*>(graph)) ? 0 : kInvalidHandle;
}
CUDA int cuGraphLaunch(void* executable, void* stream) {
  ENTER("cuGraphLaunch");
  auto* source = static_cast<std::vector<Work>*>(executable);
  if (!executables.count(source)) return kInvalidHandle;
  return Submit(stream, [source] {
    for (const Work& work : *source) work();
  });
}
CUDA int cuGraphExecDestroy(void* executable) {
  ENTER_CONTEXT("cuGraphExecDestroy");
  return executables.erase(static_cast<std::vector<Work>*>(executable)) ? 0 : kInvalidHandle;
}

CUDA int cuGetErrorName(int code, const char** name) {
  static const std::map<int, const char*> kNames = {
      {kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},   {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
      {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"}, {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE"},
      {kCaptureInvalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}};
  const auto found = kNames.find(code);
  *name = found == kNames.end() ? nullptr : found->second;
  return found == kNames.end() ? kInvalidValue : 0;
}
CUDA int cuGetErrorString(int code, const char** text) { return cuGetErrorName(code, text); }

// cuda-python finds functions by name and version; the newest has the highest suffix.
CUDA int cuGetProcAddress_v2(const char* name, void** function, int, std::uint64_t, int* status) {
  for (const char* suffix : {"_v2", ""}) {
    *function = dlsym(RTLD_DEFAULT, (std::string(name) + suffix).c_str());
    if (*function) break;
  }
  if (std::string(name) == "cuGetProcAddress") {
    *function = reinterpret_cast<void*>(&cuGetProcAddress_v2);
  } else if (std::string(name) == "cuGraphInstantiate") {
    *function = reinterpret_cast<void*>(&cuGraphInstantiateWithFlags);
  }
  if (status) *status = *function ? 0 : 1;
  return *function ? 0 : kNotFound;
}
CUDA int cuGetProcAddress(const char* name, void** function, int version, std::uint64_t flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
