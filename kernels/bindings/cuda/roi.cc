#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "bindings/cuda/cuda_bindings.h"
#include "roi_align/roi_align.cuh"
#include "roi_pool/roi_pool.cuh"

namespace edgecv::bindings {
namespace {

// The fields of DeviceLevel, and of DeviceFeatures from `batch` on.
using Level = std::tuple<Address, std::uint32_t, std::uint32_t, float>;
using MapShape = std::tuple<std::uint32_t, std::uint32_t, int, int>;

DeviceFeatures FeaturesOf(const std::vector<Level>& levels, const MapShape& shape) {
  DeviceFeatures features = {};
  features.num_levels = static_cast<std::uint32_t>(
      std::min<std::size_t>(levels.size(), kMaxPyramidLevels));
  for (std::uint32_t k = 0; k < features.num_levels; ++k) {
    const auto& [data, height, width, spatial_scale] = levels[k];
    features.levels[k] = {At<const void>(data), height, width, spatial_scale};
  }
  features.batch = std::get<0>(shape);
  features.channels = std::get<1>(shape);
  features.element = static_cast<RoiElement>(std::get<2>(shape));
  features.layout = static_cast<RoiLayout>(std::get<3>(shape));
  return features;
}

// Without `level_ids` and `least_areas` all RoIs are on the first level.
DeviceRois RoisOf(Address xyxy, Address batch_ids, Address level_ids, std::size_t count,
                  std::uint32_t rois_per_image, const std::vector<float>& least_areas) {
  DeviceRois rois = {At<const float>(xyxy), At<const std::int32_t>(batch_ids),
                     At<const std::int32_t>(level_ids), count, rois_per_image,
                     !least_areas.empty(), {}};
  std::copy_n(least_areas.begin(), std::min<std::size_t>(least_areas.size(), kMaxPyramidLevels),
              rois.least_areas.areas);
  return rois;
}

}  // namespace

void BindCudaRoi(nb::module_& m) {
  m.def("roi_align",
        [](const std::vector<Level>& levels, const MapShape& shape, Address rois_xyxy,
           Address batch_ids, Address level_ids, std::size_t num_rois,
           std::uint32_t rois_per_image, const std::vector<float>& least_areas, std::size_t bins_h,
           std::size_t bins_w, std::size_t sampling_ratio, bool aligned, Address out, int device,
           Address stream) {
          Enqueue("roi_align", device, stream, [&](cudaStream_t on) {
            const DeviceRois rois = RoisOf(rois_xyxy, batch_ids, level_ids, num_rois,
                                           rois_per_image, least_areas);
            return RoiAlignCuda(FeaturesOf(levels, shape), rois, {bins_h, bins_w},
                                {sampling_ratio, aligned}, At<void>(out), on);
          });
        },
        "levels"_a, "shape"_a, "rois_xyxy"_a, "batch_ids"_a, "level_ids"_a, "num_rois"_a,
        "rois_per_image"_a, "least_areas"_a, "bins_h"_a, "bins_w"_a, "sampling_ratio"_a,
        "aligned"_a, "out"_a, "device"_a, "stream"_a);
  m.def("roi_pool",
        [](const Level& level, const MapShape& shape, Address rois_xyxy, Address batch_ids,
           std::size_t num_rois, std::uint32_t rois_per_image, std::size_t bins_h,
           std::size_t bins_w, Address out, int device, Address stream) {
          Enqueue("roi_pool", device, stream, [&](cudaStream_t on) {
            const DeviceRois rois =
                RoisOf(rois_xyxy, batch_ids, 0, num_rois, rois_per_image, {});
            return RoiPoolCuda(FeaturesOf({level}, shape), rois, {bins_h, bins_w}, At<void>(out),
                               on);
          });
        },
        "level"_a, "shape"_a, "rois_xyxy"_a, "batch_ids"_a, "num_rois"_a, "rois_per_image"_a,
        "bins_h"_a, "bins_w"_a, "out"_a, "device"_a, "stream"_a);
}

}  // namespace edgecv::bindings
