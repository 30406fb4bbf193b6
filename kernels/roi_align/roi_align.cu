// CUDA implementation of roi_align.h, by the kernels of common/roi_fold.cuh: weighted sums.

#include "roi_align/roi_align.cuh"

#include "common/roi_fold.cuh"
#include "roi_align/samples.h"

namespace edgecv {
namespace {

struct Average {
  using Options = RoiAlignOptions;
  using Axis = SampledAxis;
  template <typename Element>
  using SumOf = float;

  struct Bin {
    Samples samples;
    SampleRange inside;
    std::uint32_t num_cells;
    CellRange cells;
  };

  static constexpr bool kTakesInt8 = false;

  static __device__ bool Place(const Options& options, const DeviceLevel& level, const float* xyxy,
                               std::uint32_t bins_h, std::uint32_t bins_w, Axis& rows,
                               Axis& columns) {
    const RoiSide x = SideOf(xyxy[0], xyxy[2], level.spatial_scale, options.aligned);
    const RoiSide y = SideOf(xyxy[1], xyxy[3], level.spatial_scale, options.aligned);
    if (!x.IsNear() || !y.IsNear()) return false;
    rows = AxisOf(y, level.height, bins_h, options);
    columns = AxisOf(x, level.width, bins_w, options);
    return true;
  }

  static __device__ unsigned MostCells(const Axis& axis) {
    unsigned most = kMaxListedCells + 1;
    if (axis.count <= kMaxListedCells / 2) most = max(1u, 2 * axis.count);
    // Samples that rise list a cell once. Those of b cells are between floor(b) + 3 cells at most,
    // and one more as positions round: by less than 1/8 of a cell on maps of this size.
    constexpr std::uint32_t kPrecise = 1u << 20;
    if (axis.bin_size >= 0.0f && axis.bin_size < static_cast<float>(kMaxListedCells) &&
        axis.num_cells <= kPrecise)
      most = min(most, static_cast<unsigned>(axis.bin_size) + 4);
    return most;
  }

  static __device__ void List(const Axis& axis, unsigned bin, CellList& list) {
    ListCells(axis.Bin(bin), axis.num_cells, list);
  }

  static __device__ Bin BinOf(const Axis& axis, unsigned bin) {
    const Samples samples = axis.Bin(bin);
    const SampleRange inside = InsideOf(samples, axis.num_cells);
    return {samples, inside, axis.num_cells, HullOf(samples, inside, axis.num_cells)};
  }

  static __device__ float WeightOf(const Bin& bin, std::uint32_t cell) {
    return WeightOfCell(bin.samples, bin.inside, bin.num_cells, cell);
  }

  template <typename Sum>
  static __device__ Sum Start() {
    return 0.0f;
  }
  static __device__ void Add(float& sum, float weight, float value) {
    sum = fmaf(weight, value, sum);
  }
  static __device__ float Join(float a, float b) { return a + b; }
};

}  // namespace

cudaError_t RoiAlignCuda(const DeviceFeatures& features, const DeviceRois& rois, BinGrid grid,
                         const RoiAlignOptions& options, void* out, cudaStream_t stream) {
  return LaunchRois<Average>(features, rois, grid, options, out, stream);
}

}  // namespace edgecv
