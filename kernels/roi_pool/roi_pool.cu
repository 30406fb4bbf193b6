// CUDA implementation of roi_pool.h, by the kernels of common/roi_fold.cuh: maxima. A maximum does
// not depend on the order, nor on a cell that counts twice: every path gives the same bits.

#include "roi_pool/roi_pool.cuh"

#include <type_traits>

#include "common/roi_fold.cuh"
#include "roi_pool/cells.h"

namespace edgecv {
namespace {

struct Maximum {
  struct Options {};
  using Axis = PooledAxis;
  template <typename Element>
  using SumOf = std::conditional_t<std::is_same_v<Element, std::int8_t>, int, float>;

  struct Bin {
    CellRange cells;
  };

  static constexpr bool kTakesInt8 = true;

  static __device__ bool Place(const Options& /*options*/, const DeviceLevel& level,
                               const float* xyxy, std::uint32_t bins_h, std::uint32_t bins_w,
                               Axis& rows, Axis& columns) {
    const RoundedSide x = RoundedSideOf(xyxy[0], xyxy[2], level.spatial_scale);
    const RoundedSide y = RoundedSideOf(xyxy[1], xyxy[3], level.spatial_scale);
    if (!x.IsNear() || !y.IsNear()) return false;
    rows = PooledAxisOf(y, level.height, bins_h);
    columns = PooledAxisOf(x, level.width, bins_w);
    return true;
  }

  static __device__ unsigned MostCells(const Axis& axis) {
    // From floor(b * q) to ceil((b + 1) * q), and one more as the products round.
    if (axis.bin_size >= static_cast<float>(kMaxListedCells)) return kMaxListedCells + 1;
    return static_cast<unsigned>(axis.bin_size) + 3;
  }

  static __device__ void List(const Axis& axis, unsigned bin, CellList& list) {
    const CellRange range = axis.Bin(bin);
    for (std::uint32_t cell = range.begin; cell < range.end; ++cell) list.push(cell, 1.0f);
  }

  static __device__ Bin BinOf(const Axis& axis, unsigned bin) { return {axis.Bin(bin)}; }
  static __device__ float WeightOf(const Bin& /*bin*/, std::uint32_t /*cell*/) { return 1.0f; }

  template <typename Sum>
  static __device__ Sum Start() {
    if constexpr (std::is_same_v<Sum, int>) return -128;
    else return -0x1.fffffep127f;  // the lowest finite one
  }
  static __device__ void Add(float& greatest, float /*weight*/, float value) {
    greatest = fmaxf(greatest, value);  // NaN is greater than nothing
  }
  static __device__ void Add(int& greatest, float /*weight*/, int value) {
    greatest = max(greatest, value);
  }
  template <typename Sum>
  static __device__ Sum Join(Sum a, Sum b) {
    return max(a, b);
  }
};

}  // namespace

cudaError_t RoiPoolCuda(const DeviceFeatures& features, const DeviceRois& rois, BinGrid grid,
                        void* out, cudaStream_t stream) {
  return LaunchRois<Maximum>(features, rois, grid, {}, out, stream);
}

}  // namespace edgecv
