// Reads and writes of 16 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/launch.cuh"

namespace edgecv {

inline bool IsAligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

// Elements that are read at once.
template <typename Element>
struct Pack {
  static constexpr std::size_t kSize = 16 / sizeof(Element);
  Element values[kSize];
};

// From memory that is aligned to 16 bytes and that nothing writes while the kernel runs.
template <typename Element>
__device__ __forceinline__ Pack<Element> LoadPack(const Element* address) {
  const uint4 bits = __ldg(reinterpret_cast<const uint4*>(address));
  Pack<Element> pack;
  static_assert(sizeof pack == sizeof bits);
  std::memcpy(&pack, &bits, sizeof bits);
  return pack;
}

// `is_aligned`: to 16 bytes; 4 are enough otherwise.
__device__ __forceinline__ float4 LoadBox(const float* xyxy, bool is_aligned) {
  if (is_aligned) return __ldg(reinterpret_cast<const float4*>(xyxy));
  return {__ldg(xyxy), __ldg(xyxy + 1), __ldg(xyxy + 2), __ldg(xyxy + 3)};
}
__device__ __forceinline__ void StoreBox(float* xyxy, float4 box, bool is_aligned) {
  if (is_aligned) {
    *reinterpret_cast<float4*>(xyxy) = box;
    return;
  }
  xyxy[0] = box.x, xyxy[1] = box.y, xyxy[2] = box.z, xyxy[3] = box.w;
}

}  // namespace edgecv
