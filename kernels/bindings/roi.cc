#include "bindings/bindings.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "roi_align/pyramid_levels.h"
#include "roi_align/roi_align.h"
#include "roi_pool/roi_pool.h"

namespace edgecv::bindings {
namespace {

using Maps = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Ids = std::optional<ClassIds>;
using Bins = nb::ndarray<float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

std::vector<FeatureLevel> LevelsOf(const std::vector<Maps>& features,
                                   const std::vector<float>& spatial_scales) {
  Require(!features.empty() && features.size() == spatial_scales.size(),
          "`features` and `spatial_scales` must have an element per level, at least one.");
  std::vector<FeatureLevel> levels;
  for (std::size_t k = 0; k < features.size(); ++k) {
    Require(features[k].shape(0) == features[0].shape(0) &&
                features[k].shape(1) == features[0].shape(1),
            "`features` must have one batch size and one number of channels.");
    levels.push_back(
        {features[k].data(), features[k].shape(2), features[k].shape(3), spatial_scales[k]});
  }
  return levels;
}

Rois RoisOf(const Boxes& rois_xyxy, const Ids& batch_ids, const std::int32_t* level_ids) {
  Require(!batch_ids || batch_ids->shape(0) == rois_xyxy.shape(0),
          "`batch_ids` must have an element per RoI.");
  return {rois_xyxy.data(), batch_ids ? batch_ids->data() : nullptr, level_ids,
          rois_xyxy.shape(0)};
}

BinGrid GridOf(const Rois& rois, std::size_t channels, const Bins& out) {
  Require(out.shape(0) == rois.count && out.shape(1) == channels,
          "`out` must have a row per RoI and the features' channels.");
  return {out.shape(2), out.shape(3)};
}

}  // namespace

void BindRoi(nb::module_& m) {
  m.def(
      "roi_align_cpu",
      [](std::vector<Maps> features, std::vector<float> spatial_scales, Boxes rois_xyxy,
         Ids batch_ids, Ids level_ids, std::size_t sampling_ratio, bool aligned, Bins out) {
        const std::vector<FeatureLevel> levels = LevelsOf(features, spatial_scales);
        Require(!level_ids || level_ids->shape(0) == rois_xyxy.shape(0),
                "roi_align_cpu: `level_ids` must have an element per RoI.");
        Require(sampling_ratio <= kMaxSamplingRatio,
                "roi_align_cpu: `sampling_ratio` must be at most 1024.");
        const Rois rois = RoisOf(rois_xyxy, batch_ids, level_ids ? level_ids->data() : nullptr);
        const Features maps{levels.data(), levels.size(), features[0].shape(0),
                            features[0].shape(1)};
        const BinGrid grid = GridOf(rois, maps.channels, out);
        const WithoutGil nogil;
        RoiAlignCpu(maps, rois, grid, {sampling_ratio, aligned}, out.data());
      },
      "features"_a.noconvert(), "spatial_scales"_a, "rois_xyxy"_a.noconvert(),
      "batch_ids"_a.noconvert().none(), "level_ids"_a.noconvert().none(), "sampling_ratio"_a,
      "aligned"_a, "out"_a.noconvert());
  m.def(
      "assign_pyramid_levels_cpu",
      [](Boxes rois_xyxy, std::int32_t finest_level, std::int32_t num_levels, float canonical_size,
         std::int32_t canonical_level,
         nb::ndarray<std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> level_ids) {
        Require(level_ids.shape(0) == rois_xyxy.shape(0) && num_levels > 0,
                "assign_pyramid_levels_cpu: `level_ids` must have an element per RoI, and "
                "`num_levels` be positive.");
        const WithoutGil nogil;
        AssignPyramidLevels(rois_xyxy.data(), rois_xyxy.shape(0),
                            {finest_level, num_levels, canonical_size, canonical_level},
                            level_ids.data());
      },
      "rois_xyxy"_a.noconvert(), "finest_level"_a, "num_levels"_a, "canonical_size"_a,
      "canonical_level"_a, "level_ids"_a.noconvert());
  m.def(
      "least_pyramid_areas_cpu",
      [](std::int32_t finest_level, std::int32_t num_levels, float canonical_size,
         std::int32_t canonical_level) {
        Require(num_levels > 0 && num_levels <= kMaxPyramidLevels,
                "least_pyramid_areas_cpu: `num_levels` must be in [1, 8].");
        const LeastAreas least =
            LeastAreasOf({finest_level, num_levels, canonical_size, canonical_level});
        return std::vector<float>(least.areas, least.areas + num_levels);
      },
      "finest_level"_a, "num_levels"_a, "canonical_size"_a, "canonical_level"_a);
  m.def(
      "roi_pool_cpu",
      [](Maps features, float spatial_scale, Boxes rois_xyxy, Ids batch_ids, Bins out) {
        const FeatureLevel level{features.data(), features.shape(2), features.shape(3),
                                 spatial_scale};
        const Rois rois = RoisOf(rois_xyxy, batch_ids, nullptr);
        const Features maps{&level, 1, features.shape(0), features.shape(1)};
        const BinGrid grid = GridOf(rois, maps.channels, out);
        const WithoutGil nogil;
        RoiPoolCpu(maps, rois, grid, out.data());
      },
      "features"_a.noconvert(), "spatial_scale"_a, "rois_xyxy"_a.noconvert(),
      "batch_ids"_a.noconvert().none(), "out"_a.noconvert());
}

}  // namespace edgecv::bindings
