// CUDA implementation of letterbox.h: a thread makes four neighbouring pixels of an output row, all
// channels, which it stores four elements at a time; a warp makes 128 pixels of one row. It works
// out where its columns sample once, and then goes down the rows that its block column is given.
//
// Memory-bound: 2.5 MB are written for a 640x640 input of halves, and 1.4 MB read of a 1080p frame
// of NV12 that is fitted in it, the rows that are sampled. Bytes are loaded one by one where the
// pixels want them, through the L1 cache, in which a warp's loads of the same lines meet: a stage
// in shared memory would save no byte, and would cost barriers. Taps that weigh nothing are left
// out, three of four in every fit by an odd whole ratio: whether rows blend is the same for a whole
// warp, whether columns do for nearly every one.
//
// Area interpolation reads each source pixel once, by the thread that makes the pixel of which it
// is a part: it is made for reductions by 2 to 16 or so, where there are threads enough.
//
// What the frames of a batch have of their own is passed as a kernel parameter: nothing is copied
// to the GPU before, and a captured launch keeps it.

#include "letterbox/letterbox.cuh"

#include <cmath>
#include <limits>

#include "common/launch.cuh"
#include "letterbox/components.h"
#include "letterbox/elements.h"
#include "letterbox/fit.cuh"
#include "letterbox/quad_sampler.cuh"

namespace edgecv {
namespace {

using namespace fitting;

constexpr unsigned kBlockColumns = kWarpSize, kBlockRows = 4;
constexpr unsigned kThreads = kBlockColumns * kBlockRows;
constexpr unsigned kRowsPerThread = 2;

// On a multiprocessor, at least: half of the threads that it has room for hide the latency of the
// loads. Planes of U and V, of which there are more addresses, and area interpolation need more
// registers.
constexpr unsigned MinBlocks(Source source, Interpolation interpolation) {
  return interpolation == Interpolation::kArea ? 4 : source == Source::kYuv ? 5 : 8;
}

__device__ __forceinline__ void StoreElement(float value, float* out) { *out = value; }
__device__ __forceinline__ void StoreElement(float value, __half* out) {
  *out = __float2half_rn(value);
}
__device__ __forceinline__ unsigned ToByte(float value) {
  return static_cast<unsigned>(fminf(fmaxf(value + 0.5f, 0.0f), 255.0f));
}
__device__ __forceinline__ void StoreElement(float value, std::uint8_t* out) {
  *out = static_cast<std::uint8_t>(ToByte(value));
}

// Four elements, at an address that is a multiple of their size.
__device__ __forceinline__ void StoreQuad(const float (&values)[kQuad], float* out) {
  *reinterpret_cast<float4*>(out) = make_float4(values[0], values[1], values[2], values[3]);
}
__device__ __forceinline__ void StoreQuad(const float (&values)[kQuad], __half* out) {
  const auto pair = [&](unsigned i) {
    const __half2_raw halves = __floats2half2_rn(values[i], values[i + 1]);
    return static_cast<unsigned>(halves.x) | static_cast<unsigned>(halves.y) << 16;
  };
  *reinterpret_cast<uint2*>(out) = make_uint2(pair(0), pair(2));
}
__device__ __forceinline__ void StoreQuad(const float (&values)[kQuad], std::uint8_t* out) {
  *reinterpret_cast<unsigned*>(out) = ToByte(values[0]) | ToByte(values[1]) << 8 |
                                      ToByte(values[2]) << 16 | ToByte(values[3]) << 24;
}

// Writes `values[i][c]` to pixel `x + i` of row `y`, channel c, as far as there is one.
template <typename Element, bool kChannelsLast, int kChannels>
__device__ __forceinline__ void Store(const Fit& fit, unsigned y, unsigned x,
                                      const float (&values)[kQuad][kChannels]) {
  const std::size_t width = fit.width, plane = fit.height * width, pixel = y * width + x;
  Element* image = static_cast<Element*>(fit.out) + blockIdx.z * (kChannels * plane);
  if (fit.is_aligned) {
    for (unsigned q = 0; q < kChannels; ++q) {  // of a channel, or as the elements come
      float four[kQuad];
      for (unsigned i = 0; i < kQuad; ++i) {
        const unsigned at = kQuad * q + i;
        four[i] = kChannelsLast ? values[at / kChannels][at % kChannels] : values[i][q];
      }
      StoreQuad(four, image + (kChannelsLast ? kChannels * pixel + kQuad * q : q * plane + pixel));
    }
    return;
  }
  for (unsigned i = 0; i < kQuad; ++i) {
    if (x + i >= fit.width) return;
    for (unsigned c = 0; c < kChannels; ++c)
      StoreElement(values[i][c], image + (kChannelsLast ? kChannels * (pixel + i) + c
                                                        : c * plane + pixel + i));
  }
}

template <bool kChannelsLast, int kChannels>
__device__ __forceinline__ void Store(const Fit& fit, unsigned y, unsigned x,
                                      const float (&values)[kQuad][kChannels]) {
  switch (fit.type) {
    case ElementType::kFloat32: Store<float, kChannelsLast>(fit, y, x, values); break;
    case ElementType::kFloat16: Store<__half, kChannelsLast>(fit, y, x, values); break;
    case ElementType::kUint8: Store<std::uint8_t, kChannelsLast>(fit, y, x, values); break;
  }
}

// The thread's pixels from column `x`.
template <Source kSource, Method kMethod>
__device__ __forceinline__ void FitColumns(const Fit& fit, const FittedFrame& frame, unsigned x) {
  constexpr int kChannels = NumChannels(kSource);
  unsigned covered = 0;  // bit i: column x + i is not bar
  std::int32_t columns[kQuad];
  for (unsigned i = 0; i < kQuad; ++i) {
    const unsigned k = x + i - static_cast<unsigned>(frame.offset_x);  // huge left of the frame
    const bool is_covered = k < static_cast<unsigned>(frame.columns.resized);
    covered |= static_cast<unsigned>(is_covered) << i;
    columns[i] = is_covered ? static_cast<std::int32_t>(k) : 0;
  }
  const Sampler<kSource, kMethod> sampler(fit, frame, columns);
  for (unsigned y = blockIdx.y * kBlockRows + threadIdx.y; y < fit.height;
       y += gridDim.y * kBlockRows) {
    float values[kQuad][kChannels];
    const unsigned k = y - static_cast<unsigned>(frame.offset_y);
    const bool is_covered = k < static_cast<unsigned>(frame.rows.resized);
    Quad<kSource> quad = {};
    if (is_covered && covered != 0) sampler.Sample(static_cast<std::int32_t>(k), quad);
    for (unsigned i = 0; i < kQuad; ++i)
      for (int c = 0; c < kChannels; ++c)
        values[i][c] = is_covered && covered >> i & 1
                           ? FusedMultiplyAdd(quad[i].values[NumColours(kSource) == 1 ? 0 : c],
                                              fit.gain[c], fit.bias[c])
                           : fit.bar[c];
    if (kChannels > 1 && fit.channels_last) Store<true>(fit, y, x, values);
    else Store<false>(fit, y, x, values);
  }
}

template <Source kSource, Interpolation kInterpolation>
__global__ void __launch_bounds__(kThreads, MinBlocks(kSource, kInterpolation))
    LetterboxKernel(const __grid_constant__ Fit fit) {
  const FittedFrame& frame = fit.frames[blockIdx.z];
  const unsigned x = (blockIdx.x * kBlockColumns + threadIdx.x) * kQuad;
  if (x >= fit.width) return;
  if constexpr (kInterpolation == Interpolation::kBilinear)
    FitColumns<kSource, Method::kBilinear>(fit, frame, x);
  else if (frame.IsEnlarged())
    FitColumns<kSource, Method::kReach>(fit, frame, x);
  else
    FitColumns<kSource, Method::kMean>(fit, frame, x);
}

template <Source kSource>
auto* KernelOf(Interpolation interpolation) {
  return interpolation == Interpolation::kArea
             ? LetterboxKernel<kSource, Interpolation::kArea>
             : LetterboxKernel<kSource, Interpolation::kBilinear>;
}

auto* KernelOf(Source source, Interpolation interpolation) {
  switch (source) {
    case Source::kPackedGray: return KernelOf<Source::kPackedGray>(interpolation);
    case Source::kYuv: return KernelOf<Source::kYuv>(interpolation);
    case Source::kNv12: return KernelOf<Source::kNv12>(interpolation);
    case Source::kLuma: return KernelOf<Source::kLuma>(interpolation);
    case Source::kGray: return KernelOf<Source::kGray>(interpolation);
    default: return KernelOf<Source::kPacked>(interpolation);
  }
}

// Whether 16-bit words can be read of the plane.
bool HasWords(const Plane& plane) {
  return reinterpret_cast<std::uintptr_t>(plane.data) % 2 == 0 && plane.row_stride % 2 == 0;
}

Source SourceOf(const PlacedFrame* frames, std::size_t num_frames, Colour colour) {
  const PixelFormat format = frames[0].frame.format;
  const Kind kind = LayoutOf(format).kind;
  const bool is_gray = colour == Colour::kGray;
  if (kind == Kind::kRgb) return is_gray ? Source::kPackedGray : Source::kPacked;
  if (is_gray) return Source::kLuma;
  if (kind == Kind::kGray) return Source::kGray;
  bool has_words = format == PixelFormat::kNv12;
  for (std::size_t i = 0; i < num_frames && has_words; ++i)
    has_words = HasWords(frames[i].frame.planes[1]);
  return has_words ? Source::kNv12 : Source::kYuv;
}

// Whether the kernel's integers hold what lies along an axis; `source` in pixels or bytes.
bool IsWithin(std::ptrdiff_t source, std::ptrdiff_t resized, std::ptrdiff_t offset,
              std::ptrdiff_t side) {
  constexpr std::ptrdiff_t kMost = std::numeric_limits<std::int32_t>::max();
  return source <= kMost && resized <= kMost && side <= kMost && -kMost <= offset &&
         offset <= kMost;
}

bool IsWithin(const PlacedFrame& placed, const Input& out) {
  const FramePlacement& to = placed.placement;
  const std::ptrdiff_t pixel_bytes = LayoutOf(placed.frame.format).components[0].step;
  return IsWithin(placed.frame.height, to.resized_height, to.offset_y, out.height) &&
         IsWithin(placed.frame.width * pixel_bytes, to.resized_width, to.offset_x, out.width);
}

FittedFrame FittedFrameOf(const PlacedFrame& placed, Source source, bool is_bgr) {
  const auto int32 = [](std::ptrdiff_t value) { return static_cast<std::int32_t>(value); };
  const Frame& frame = placed.frame;
  const FramePlacement& to = placed.placement;
  FittedFrame fitted = {};
  fitted.columns = AxisOf(int32(frame.width), int32(to.resized_width));
  fitted.rows = AxisOf(int32(frame.height), int32(to.resized_height));
  fitted.offset_x = int32(to.offset_x), fitted.offset_y = int32(to.offset_y);
  const auto set = [&](std::size_t at, const Plane& plane, std::ptrdiff_t offset) {
    fitted.planes[at] = plane.data + offset;
    fitted.row_strides[at] = plane.row_stride;
  };
  const FormatLayout layout = LayoutOf(frame.format);
  const Component& luma = layout.components[0];
  set(0, frame.planes[luma.plane], layout.kind == Kind::kRgb ? 0 : luma.offset);
  if (source == Source::kNv12) {
    set(1, frame.planes[1], 0);
  } else if (source == Source::kYuv) {
    const Component& first = layout.components[is_bgr ? 1 : 2];
    const Component& second = layout.components[is_bgr ? 2 : 1];
    set(1, frame.planes[first.plane], first.offset);
    set(2, frame.planes[second.plane], second.offset);
  }
  return fitted;
}

// What the frames of a launch have in common, of images that begin at `out.data`.
Fit FitOf(const Frame& frame, Source source, const Normalisation& norm, const Input& out) {
  Fit fit = {};
  fit.out = out.data;
  fit.type = out.type;
  fit.channels_last = out.channels_last;
  fit.height = static_cast<std::uint32_t>(out.height);
  fit.width = static_cast<std::uint32_t>(out.width);
  fit.is_aligned = fit.width % kQuad == 0 &&
                   reinterpret_cast<std::uintptr_t>(out.data) % (kQuad * SizeOf(out.type)) == 0;
  for (std::size_t c = 0; c < 3; ++c) {
    fit.gain[c] = norm.gain[c] * (255.0f / White(source));
    fit.bias[c] = norm.bias[c];
    fit.bar[c] = std::fmaf(norm.pad, norm.gain[c], norm.bias[c]);  // as a pixel of that value
  }
  const FormatLayout layout = LayoutOf(frame.format);
  const bool is_bgr = norm.colour == Colour::kBgr;
  if (layout.kind == Kind::kRgb) {
    for (std::size_t c = 0; c < 3; ++c) {
      const Component& channel = layout.components[is_bgr ? 2 - c : c];
      fit.channel_byte[c] = static_cast<std::uint32_t>(channel.offset);
    }
    return fit;
  }
  fit.luma_step = static_cast<std::uint32_t>(layout.components[0].step);
  fit.factors.luma = 1.0f;
  if (layout.kind == Kind::kYuv) {
    fit.factors = ColourFactorsOf(frame.matrix, frame.range, is_bgr);
    if (!HasChroma(source))
      fit.factors.luma = static_cast<float>(ExactFactorsOf(frame.matrix, frame.range).luma);
    fit.chroma_step = static_cast<std::uint32_t>(layout.components[1].step);
    fit.chroma_shift_y = layout.components[1].shift_y;
    fit.first_chroma_bit = is_bgr ? 0 : 8;
  }
  return fit;
}

}  // namespace

cudaError_t LetterboxCuda(const PlacedFrame* frames, std::size_t num_frames,
                          Interpolation interpolation, const Normalisation& norm, const Input& out,
                          cudaStream_t stream) {
  if (num_frames == 0) return cudaSuccess;
  if (LayoutOf(frames[0].frame.format).kind == Kind::kBayer) return cudaErrorInvalidValue;
  for (std::size_t i = 0; i < num_frames; ++i)
    if (!IsWithin(frames[i], out)) return cudaErrorInvalidValue;
  const Source source = SourceOf(frames, num_frames, norm.colour);
  Fit fit = FitOf(frames[0].frame, source, norm, out);
  const std::size_t image_bytes = static_cast<std::size_t>(NumChannels(source)) * fit.height *
                                  fit.width * SizeOf(out.type);
  const unsigned rows = CeilDiv(fit.height, kBlockRows * kRowsPerThread);
  dim3 grid(CeilDiv(fit.width, kBlockColumns * kQuad), rows < kMaxGridY ? rows : kMaxGridY);
  for (std::size_t first = 0; first < num_frames; first += kFramesPerLaunch) {
    const std::size_t rest = num_frames - first;
    grid.z = static_cast<unsigned>(rest < kFramesPerLaunch ? rest : kFramesPerLaunch);
    for (unsigned i = 0; i < grid.z; ++i)
      fit.frames[i] = FittedFrameOf(frames[first + i], source, norm.colour == Colour::kBgr);
    fit.out = static_cast<unsigned char*>(out.data) + first * image_bytes;
    const cudaError_t status = Launch(KernelOf(source, interpolation), grid,
                                      dim3(kBlockColumns, kBlockRows), 0, stream, fit);
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

}  // namespace edgecv
