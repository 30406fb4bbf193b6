"""Two-stage detectors that propose regions themselves: Faster R-CNN and Mask R-CNN.

Ren et al., "Faster R-CNN", NeurIPS 2015, arXiv 1506.01497; He et al., "Mask R-CNN", ICCV 2017,
arXiv 1703.06870; the pyramid: Lin et al., CVPR 2017, arXiv 1612.03144; a trunk's last stage on
each region: He et al., CVPR 2016, arXiv 1512.03385, appendix A. Written from the papers; with the
same weights the results are those of torchvision (BSD-3-Clause), whose conventions the papers leave
open. Every shape is fixed when the model is built, as an engine wants it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from edgecv.data.targets import Target
from edgecv.errors import DatasetError, InputError
from edgecv.models.backbone import Backbone
from edgecv.models.detector import InstanceDetector
from edgecv.models.losses import MaskLoss
from edgecv.models.network import Losses
from edgecv.models.region_detector import (
    ONE_MAP,
    Features,
    RegionDetector,
    RegionSizes,
    trunk_of,
)
from edgecv.models.region_reader import RoiOperator
from edgecv.models.registry import register_model
from edgecv.models.roi_heads import MASK_BINS, MaskHead, SampledRegions, mask_loss
from edgecv.models.rpn import RegionProposals
from edgecv.models.split_backbone import SplitBackbone

_STAGE_MASK_WIDTH = 256


@dataclass(frozen=True)
class TwoStageSizes(RegionSizes):
    """How large the parts of a two-stage detector are.

    Args:
        strides: see `RegionSizes`; the anchors of a pyramid have one more level.
        width: see `RegionSizes`.
        hidden: see `RegionSizes`.
        num_proposals: see `RegionSizes`.
        num_boxes: see `RegionSizes`.
        num_sampled_regions: see `RegionSizes`.
        anchor_scale: side of the smallest square anchors in strides.
        num_anchor_sizes: of each shape of anchor, each twice the one before.
        num_candidates: the best anchors of each level that become candidates; TensorRT's TopK ends
            at 3840.
        num_sampled_anchors: of an image in the loss.

    """

    anchor_scale: float = 8
    num_anchor_sizes: int = 1
    num_candidates: int = 1000
    num_sampled_anchors: int = 256

    def over(self, features: Features) -> "TwoStageSizes":
        """Return the sizes over a pyramid, or over one map with the anchors of all its levels."""
        if features == "fpn":
            return self
        return replace(
            self,
            strides=ONE_MAP,
            anchor_scale=self.anchor_scale * self.strides[0] / ONE_MAP[0],
            num_anchor_sizes=self.num_anchor_sizes + len(self.strides),
            num_candidates=_ONE_MAP_CANDIDATES,
        )


_ONE_MAP_CANDIDATES = 3000
LITE = TwoStageSizes(
    strides=(8, 16, 32), width=128, hidden=256, anchor_scale=4, num_sampled_regions=128
)


@register_model
def faster_rcnn(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "resnet18",
    *,
    features: Features = "fpn",
    roi: RoiOperator = "align",
) -> "FasterRCNN":
    """Build Faster R-CNN over P2 to P6, or over one map.

    Args:
        num_classes: C.
        size_hw: height and width of the input in pixels.
        backbone: see `edgecv.models.backbone.Backbone`.
        features: see `edgecv.models.region_detector.Features`.
        roi: see `edgecv.models.region_reader.RegionReader`.

    """
    sizes = TwoStageSizes().over(features)
    trunk = trunk_of(backbone, features, sizes)
    return FasterRCNN(trunk, num_classes, size_hw, sizes, roi=roi)


@register_model
def faster_rcnn_lite(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "mobilenet_v2",
    *,
    features: Features = "fpn",
    roi: RoiOperator = "align",
) -> "FasterRCNN":
    """Build a small Faster R-CNN, over P3 to P6 with half the channels, and smaller anchors.

    Args:
        num_classes: C.
        size_hw: see `faster_rcnn`.
        backbone: see `faster_rcnn`.
        features: see `faster_rcnn`.
        roi: see `faster_rcnn`.

    """
    sizes = LITE.over(features)
    trunk = trunk_of(backbone, features, sizes)
    return FasterRCNN(trunk, num_classes, size_hw, sizes, roi=roi)


@register_model
def mask_rcnn(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "resnet18",
    *,
    features: Features = "fpn",
    roi: RoiOperator = "align",
    mask_loss: MaskLoss = "bce",
) -> "MaskRCNN":
    """Build Mask R-CNN over P2 to P6, or over one map.

    Args:
        num_classes: C.
        size_hw: see `faster_rcnn`.
        backbone: see `faster_rcnn`.
        features: see `faster_rcnn`; behind `c4`, masks have 14 x 14 pixels and not 28 x 28.
        roi: see `faster_rcnn`.
        mask_loss: see `edgecv.models.roi_heads.mask_loss`.

    """
    sizes = TwoStageSizes().over(features)
    trunk = trunk_of(backbone, features, sizes)
    return MaskRCNN(trunk, num_classes, size_hw, sizes, roi=roi, mask_loss=mask_loss)


@register_model
def mask_rcnn_lite(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "mobilenet_v2",
    *,
    features: Features = "fpn",
    roi: RoiOperator = "align",
    mask_loss: MaskLoss = "bce",
) -> "MaskRCNN":
    """Build a small Mask R-CNN, as `faster_rcnn_lite` is one of Faster R-CNN.

    Args:
        num_classes: C.
        size_hw: see `faster_rcnn`.
        backbone: see `faster_rcnn`.
        features: see `mask_rcnn`.
        roi: see `faster_rcnn`.
        mask_loss: see `edgecv.models.roi_heads.mask_loss`.

    """
    sizes = LITE.over(features)
    trunk = trunk_of(backbone, features, sizes)
    return MaskRCNN(trunk, num_classes, size_hw, sizes, roi=roi, mask_loss=mask_loss)


class FasterRCNN(RegionDetector):
    """A region proposal network and a box head on shared feature maps, see `RegionDetector`."""

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        sizes: TwoStageSizes,
        *,
        roi: RoiOperator = "align",
    ) -> None:
        """Build with random weights, see `RegionDetector`."""
        super().__init__(trunk, num_classes, size_hw, sizes, roi=roi)
        self._has_coarser = len(sizes.strides) > 1
        coarser = (2 * sizes.strides[-1],) if self._has_coarser else ()
        self.rpn = RegionProposals(
            self.map_channels,
            (*sizes.strides, *coarser),
            size_hw,
            anchor_scale=sizes.anchor_scale,
            num_anchor_sizes=sizes.num_anchor_sizes,
            num_candidates=sizes.num_candidates,
            num_proposals=sizes.num_proposals,
            num_sampled=sizes.num_sampled_anchors,
        )
        self.box_head = self.new_box_head()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] float32 to proposals, logits and offsets."""
        return self._found_in(self.maps(images))

    def _found_in(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        _, proposals = self.rpn.propose(self.rpn(self._levels(maps)))
        return self.heads(maps, proposals)

    def _levels(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the maps that have anchors: the last one's every other cell has the largest."""
        return [*maps, F.max_pool2d(maps[-1], 1, stride=2)] if self._has_coarser else maps

    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        """Run the network on a batch and return its loss, see `Detector.losses`.

        The parts are `objectness` and `region` of the proposals, `class` and `box` of the regions.
        """
        maps = self.maps(images)
        levels = self.rpn(self._levels(maps))
        with torch.autocast(images.device.type, enabled=False):
            parts = self.rpn.losses(levels, targets)
            counts, boxes = self.rpn.propose(levels)
        proposals = [found[:count] for found, count in zip(boxes, counts.tolist(), strict=True)]
        parts |= self.region_losses(maps, proposals, targets)
        return Losses(total=torch.stack(list(parts.values())).sum(), parts=parts)


class MaskRCNN(FasterRCNN, InstanceDetector):
    """Faster R-CNN with a mask head on the boxes that were found.

    `forward` returns the heads of `FasterRCNN` and then the feature maps, which the mask head reads
    once the boxes are chosen. Behind a `SplitBackbone` the heads share the trunk's last stage.
    """

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        sizes: TwoStageSizes,
        *,
        roi: RoiOperator = "align",
        mask_loss: MaskLoss = "bce",
    ) -> None:
        """Build with random weights.

        Args:
            trunk: see `RegionDetector`.
            num_classes: see `RegionDetector`.
            size_hw: see `RegionDetector`.
            sizes: see `RegionDetector`.
            roi: see `RegionDetector`.
            mask_loss: what the masks are learnt by, see `edgecv.models.roi_heads.mask_loss`.

        Raises:
            InputError: if there is no such loss.

        """
        if mask_loss not in get_args(MaskLoss):
            known = ", ".join(get_args(MaskLoss))
            raise InputError(f"`mask_loss` must be one of {known}, got {mask_loss!r}.")
        super().__init__(trunk, num_classes, size_hw, sizes, roi=roi)
        self.mask_loss: MaskLoss = mask_loss
        if isinstance(trunk, SplitBackbone):
            self.mask_head = MaskHead(
                trunk.last_channels, num_classes, width=_STAGE_MASK_WIDTH, num_convs=0
            )
        else:
            self.mask_head = MaskHead(self.map_channels, num_classes)
        levels = (stride.bit_length() - 1 for stride in sizes.strides)
        self.head_names = (*FasterRCNN.head_names, *(f"p{level}" for level in levels))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] float32 to proposals, logits, offsets and the feature maps."""
        maps = self.maps(images)
        return (*self._found_in(maps), *maps)

    def masks(self, heads: tuple[Tensor, ...], boxes_xyxy: Tensor, class_ids: Tensor) -> Tensor:
        """Return masks [B, K, 28, 28], or 14 x 14, see `InstanceDetector.masks`."""
        bins = self.reader.of_images(heads[3:], boxes_xyxy, MASK_BINS)
        logits = self.mask_head(self.features(bins).flatten(0, 1))
        own = class_ids.flatten().clamp(min=0).long()[:, None, None, None]
        chosen = logits.gather(1, own.expand(-1, -1, *logits.shape[2:]))
        probabilities: Tensor = chosen.sigmoid().view(*class_ids.shape, *logits.shape[2:])
        return probabilities

    def further_losses(
        self,
        maps: list[Tensor],
        sampled: SampledRegions,
        features: Tensor,
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """Return the term `mask`, over the regions that have an object."""
        masks = [_masks_of(target) for target in targets]
        rows = torch.nonzero(sampled.labels > 0).flatten()
        positive = sampled.at(rows)
        is_shared = isinstance(self.trunk, SplitBackbone)
        seen = features[rows] if is_shared else self.sampled_bins(maps, positive, MASK_BINS)
        logits = self.mask_head(seen)
        with torch.autocast(logits.device.type, enabled=False):
            return {"mask": mask_loss(logits, positive, masks, self.mask_loss)}


def _masks_of(target: Target) -> Tensor:
    if target.masks is None:
        raise DatasetError(
            "Mask R-CNN learns from masks, and this data set has none. Choose `faster_rcnn`, or a "
            "data set whose annotations have polygons or masks."
        )
    return target.masks
