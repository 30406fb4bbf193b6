#include "bindings/bindings.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "paste_masks/paste_masks.h"

namespace edgecv::bindings {
namespace {

using Probabilities = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Planes = nb::ndarray<std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

InstanceMasks Checked(const Probabilities& masks, const Boxes& boxes_xyxy) {
  Require(masks.shape(1) == masks.shape(2) && masks.shape(1) >= 1,
          "paste_masks_cpu: `masks` must be squares of at least 1.");
  Require(boxes_xyxy.shape(0) == masks.shape(0),
          "paste_masks_cpu: `boxes_xyxy` must have a row per mask.");
  return {masks.data(), boxes_xyxy.data(), masks.shape(0), masks.shape(1)};
}

}  // namespace

void BindPasteMasks(nb::module_& m) {
  m.def(
      "paste_masks_cpu",
      [](Probabilities masks, Boxes boxes_xyxy, float threshold, bool is_zero, Planes out) {
        const InstanceMasks source = Checked(masks, boxes_xyxy);
        Require(out.shape(0) == source.count,
                "paste_masks_cpu: `out` must have a plane per mask.");
        const WithoutGil nogil;
        PasteMasksCpu(source, out.shape(1), out.shape(2), threshold, is_zero, out.data());
      },
      "masks"_a.noconvert(), "boxes_xyxy"_a.noconvert(), "threshold"_a, "is_zero"_a,
      "out"_a.noconvert());
  m.def(
      "paste_masks_rle_cpu",
      [](Probabilities masks, Boxes boxes_xyxy, std::size_t height, std::size_t width,
         float threshold) {
        const InstanceMasks source = Checked(masks, boxes_xyxy);
        Require(height < (std::size_t{1} << 31) && width < (std::size_t{1} << 31),
                "paste_masks_rle_cpu: sides must be below 2**31.");
        std::vector<std::string> counts;
        {
          const WithoutGil nogil;
          counts = PasteMasksRleCpu(source, height, width, threshold);
        }
        nb::list texts;
        for (const std::string& text : counts) texts.append(nb::bytes(text.data(), text.size()));
        return texts;
      },
      "masks"_a.noconvert(), "boxes_xyxy"_a.noconvert(), "height"_a, "width"_a, "threshold"_a);
}

}  // namespace edgecv::bindings
