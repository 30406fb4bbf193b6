// The parameters of the kernels in letterbox.cu, and what they are compiled for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/host_device.h"
#include "letterbox/colour_arithmetic.h"
#include "letterbox/letterbox.cuh"
#include "letterbox/sampling.h"

namespace edgecv::fitting {

constexpr unsigned kQuad = 4;  // output pixels a thread makes of a row

// How colours lie in the planes that a kernel reads; what it converts to is said by `num_colours`.
enum class Source {
  kPacked,      // three bytes a pixel
  kPackedGray,  // the same, to gray
  kYuv,         // a byte of luma and, for each pair of pixels, one of U and one of V
  kNv12,        // the same, with U and V in one aligned 16-bit word
  kLuma,        // a byte of luma, to gray
  kGray,        // the same, to three equal channels
};

EDGECV_HOST_DEVICE constexpr bool HasChroma(Source source) {
  return source == Source::kYuv || source == Source::kNv12;
}

// Channels that are computed, and channels that are written.
EDGECV_HOST_DEVICE constexpr int NumColours(Source source) {
  return source == Source::kPacked || HasChroma(source) ? 3 : 1;
}
EDGECV_HOST_DEVICE constexpr int NumChannels(Source source) {
  return source == Source::kPackedGray || source == Source::kLuma ? 1 : 3;
}

// The value of white as the kernel computes it.
EDGECV_HOST_DEVICE constexpr float White(Source source) {
  return HasChroma(source) ? 1.0f : 255.0f;
}

// Area interpolation is kMean, and kReach for frames that it enlarges.
enum class Method { kBilinear, kReach, kMean };

// One frame of a launch. Planes: the packed one; or luma and the chroma that `Chroma` calls first
// and second, of which kNv12 has both in the first.
struct FittedFrame {
  const std::uint8_t* planes[3];
  std::ptrdiff_t row_strides[3];
  SampledAxis columns, rows;
  std::int32_t offset_x, offset_y;

  EDGECV_HOST_DEVICE bool IsEnlarged() const {
    return columns.resized > columns.source || rows.resized > rows.source;
  }
};

struct Fit {
  FittedFrame frames[kFramesPerLaunch];
  void* out;
  ElementType type;
  bool channels_last;
  bool is_aligned;  // whether every four elements can be stored at once
  std::uint32_t height, width;
  float gain[3], bias[3];  // of what the kernel computes, of which `White` is white
  float bar[3];            // normalised
  ColourFactors factors;   // without chroma `luma` is to pixel values
  std::uint32_t luma_step, chroma_step;  // bytes from one sample to the next
  std::int32_t chroma_shift_y;
  std::uint32_t channel_byte[3];  // of a packed pixel
  std::int32_t first_chroma_bit;  // of kNv12's word: 8 for V, 0 for U
};
static_assert(sizeof(Fit) <= 4096, "the most that every CUDA version takes as parameters");

}  // namespace edgecv::fitting
