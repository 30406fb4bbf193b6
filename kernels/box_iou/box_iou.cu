// CUDA implementation of box_iou.h: a thread per column, neighbouring threads on neighbouring columns
// so that the stores coalesce, and kRows rows a thread so that a box of `b` is read once for them.
// Memory-bound: 4 n m bytes are written, the boxes come from the cache.

#include "box_iou/box_iou.cuh"

#include "box_iou/overlap.h"
#include "common/launch.cuh"

namespace edgecv {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kBlocksPerSm = 2;  // at least: for more, a Turing would spill registers
constexpr std::size_t kRows = 8;

template <Overlap kKind>
__device__ float OverlapOfPair(const float* p, const float* q) {
  if (!HasArea(p) || !HasArea(q)) return OverlapWithNothing(kKind);
  if (FitsFloat(p) && FitsFloat(q))
    return OverlapOf<float, kKind>(Measure<float, kKind>(p), Measure<float, kKind>(q));
  return OverlapOf<double, kKind>(Measure<double, kKind>(p), Measure<double, kKind>(q));
}

template <Overlap kKind>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    BoxIouKernel(const float* __restrict__ a, std::size_t n, const float* __restrict__ b,
                 std::size_t m, float* __restrict__ out) {
  const std::size_t j = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (j >= m) return;
  const float q[4] = {b[4 * j], b[4 * j + 1], b[4 * j + 2], b[4 * j + 3]};
  for (std::size_t first = blockIdx.y * kRows; first < n; first += gridDim.y * kRows) {
    const std::size_t end = first + kRows < n ? first + kRows : n;
    for (std::size_t i = first; i < end; ++i) {
      const float p[4] = {a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3]};
      out[i * m + j] = OverlapOfPair<kKind>(p, q);
    }
  }
}

}  // namespace

cudaError_t BoxIouCuda(const float* a_xyxy, std::size_t n, const float* b_xyxy, std::size_t m,
                       Overlap kind, float* out, cudaStream_t stream) {
  if (n == 0 || m == 0) return cudaSuccess;  // a launch with an empty grid is an error
  const std::size_t bands = CeilDiv(n, kRows);
  const dim3 grid(static_cast<unsigned>(CeilDiv<std::size_t>(m, kThreads)),
                  static_cast<unsigned>(bands < kMaxGridY ? bands : kMaxGridY));
  const auto launch = [&](auto* kernel) {
    return Launch(kernel, grid, dim3(kThreads), 0, stream, a_xyxy, n, b_xyxy, m, out);
  };
  switch (kind) {
    case Overlap::kGiou: return launch(BoxIouKernel<Overlap::kGiou>);
    case Overlap::kDiou: return launch(BoxIouKernel<Overlap::kDiou>);
    case Overlap::kCiou: return launch(BoxIouKernel<Overlap::kCiou>);
    default: return launch(BoxIouKernel<Overlap::kIou>);
  }
}

}  // namespace edgecv
