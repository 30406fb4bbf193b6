"""What detectors of regions share, whoever proposes the regions: features, heads and losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgecv.data.targets import Target
from edgecv.models.backbone import Backbone
from edgecv.models.detector import Detector
from edgecv.models.neck import FPN
from edgecv.models.region_reader import RegionReader, RoiOperator
from edgecv.models.regions import decode_regions, scores_of_proper
from edgecv.models.roi_heads import (
    BOX_BINS,
    BOX_VARIANCES,
    STAGE_BINS,
    BoxHead,
    PooledBoxHead,
    SampledRegions,
    box_loss,
    class_loss,
    sample_regions,
)
from edgecv.models.split_backbone import SplitBackbone
from edgecv.output_spec import FusedOutput

# Where regions are read from, by the field's names. `fpn`: a feature pyramid, and two fully
# connected layers on each region. `c4`: the one map of stride 16 (a ResNet's conv4), and the
# trunk's last stage on each region. `single`: that one map and two fully connected layers, as Fast
# and Faster R-CNN read VGG-16.
Features = Literal["fpn", "c4", "single"]

ONE_MAP = (16,)  # the strides of c4 and single

_LEAST_SIDE = 1e-2


@dataclass(frozen=True)
class RegionSizes:
    """How large the parts of a detector of regions are.

    Args:
        strides: of the maps that regions are read from; several are mixed by a pyramid.
        width: channels of a pyramid's maps; a single map keeps those of the trunk.
        hidden: width of the box head's layers.
        num_proposals: regions an image that the heads look at.
        num_boxes: the best pairs of region and class that are suppressed, if there are more.
        num_sampled_regions: of an image in the loss.

    """

    strides: tuple[int, ...] = (4, 8, 16, 32)
    width: int = 256
    hidden: int = 1024
    num_proposals: int = 300
    num_boxes: int = 1000
    num_sampled_regions: int = 256


def trunk_of(backbone: str, features: Features, sizes: RegionSizes) -> Backbone:
    """Return a new trunk with the maps of `sizes.strides`, split where regions pass its end."""
    return SplitBackbone(backbone) if features == "c4" else Backbone(backbone, sizes.strides)


class RegionDetector(Detector):
    """A box head on regions that are read from shared feature maps.

    The trunk says what becomes of its maps: several are mixed by a feature pyramid, one is read as
    it is; a `SplitBackbone` runs its last stage on the bins of each region.

    `forward` returns proposals [B, R, 4] xyxy in input pixels, logits [B, R, 1 + C], background
    first, and offsets [B, R, 4 C].
    """

    head_names: tuple[str, ...] = ("proposals", "logits", "offsets")

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        sizes: RegionSizes,
        *,
        roi: RoiOperator = "align",
    ) -> None:
        """Build trunk and neck with random weights; the heads are the subclass's to build.

        Args:
            trunk: with a map of each of `sizes.strides`.
            num_classes: C.
            size_hw: height and width of the input in pixels.
            sizes: of the parts.
            roi: how regions are read from the maps.

        """
        super().__init__()
        self.trunk = trunk
        self.num_classes = num_classes
        self.size_hw = size_hw
        self.sizes = sizes
        self.reader: RegionReader = RegionReader(sizes.strides, roi)
        is_pyramid = len(sizes.strides) > 1
        self.neck: nn.Module = FPN(trunk.channels, sizes.width) if is_pyramid else nn.Identity()
        self.map_channels = sizes.width if is_pyramid else trunk.channels[0]

    box_head: nn.Module

    def new_box_head(self) -> nn.Module:
        """Return a new head that maps regions' features to logits and offsets."""
        if isinstance(self.trunk, SplitBackbone):
            return PooledBoxHead(self.trunk.last_channels, self.num_classes)
        return BoxHead(self.map_channels, self.sizes.hidden, self.num_classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps that regions are read from, one of each of `sizes.strides`."""
        maps: list[Tensor] = self.neck(self.trunk(images))
        return maps

    def features(self, bins: Tensor) -> Tensor:
        """Turn the bins [..., C, h, w] of regions into what the heads look at."""
        return self.trunk.last_stage(bins) if isinstance(self.trunk, SplitBackbone) else bins

    @property
    def bins_hw(self) -> tuple[int, int]:
        """How many bins of a region the box head's features are made of."""
        return STAGE_BINS if isinstance(self.trunk, SplitBackbone) else BOX_BINS

    def heads(self, maps: list[Tensor], proposals_xyxy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `forward` does, of regions [B, R, 4] in input pixels."""
        bins = self.reader.of_images(maps, proposals_xyxy, self.bins_hw)
        logits, offsets = self.box_head(self.features(bins))
        return proposals_xyxy, logits, offsets

    def decoded(self, heads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return boxes [B, N, 4] xyxy in input pixels and scores [B, N, C], before suppression.

        Each class has a box of its own in a region, so a row is a pair of region and class, with
        the score of that class and 0 for the others. N is R * C, or `sizes.num_boxes` if fewer.
        """
        proposals, logits, offsets = heads[:3]
        num_classes = self.num_classes
        boxes = decode_regions(
            offsets.reshape(*offsets.shape[:2], num_classes, 4),
            proposals[:, :, None],
            BOX_VARIANCES,
            self.size_hw,
        ).flatten(1, 2)
        # This also drops the rows past the number of proposals, which are empty.
        scores = self.scores(logits).flatten(1)
        scores = scores_of_proper(scores, boxes, least_side=_LEAST_SIDE)
        every_class = torch.arange(num_classes, device=scores.device)
        classes = every_class.repeat(proposals.shape[1])[None]
        if scores.shape[1] > self.sizes.num_boxes:
            scores, rows = scores.topk(self.sizes.num_boxes, dim=1)
            boxes = boxes.gather(1, rows[..., None].expand(-1, -1, 4))
            classes = rows % num_classes
        is_own = classes[..., None] == every_class
        return boxes, scores[..., None] * is_own

    def scores(self, logits: Tensor) -> Tensor:
        """Return the scores [..., C] in [0, 1] of the classes."""
        return logits.softmax(dim=-1)[..., 1:]

    def region_losses(
        self, maps: list[Tensor], proposals: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Return the terms of the heads, `class` and `box` and those of further heads.

        Args:
            maps: see `maps`.
            proposals: (R, 4) float32 xyxy in input pixels of each image.
            targets: the objects of each image.

        """
        with torch.autocast(maps[0].device.type, enabled=False):
            sampled = sample_regions(proposals, targets, count=self.sizes.num_sampled_regions)
        features = self.features(self.sampled_bins(maps, sampled, self.bins_hw))
        logits, offsets = self.box_head(features)
        with torch.autocast(maps[0].device.type, enabled=False):
            parts = {
                "class": self.class_loss(logits, sampled, targets),
                "box": box_loss(offsets, sampled),
            }
        return parts | self.further_losses(maps, sampled, features, targets)

    def class_loss(
        self,
        logits: Tensor,
        sampled: SampledRegions,
        targets: Sequence[Target],  # noqa: ARG002  # for other classifiers
    ) -> Tensor:
        """Return the term `class` of the logits of sampled regions."""
        return class_loss(logits, sampled)

    def further_losses(
        self,
        maps: list[Tensor],  # noqa: ARG002  # for those that have further heads
        sampled: SampledRegions,  # noqa: ARG002
        features: Tensor,  # noqa: ARG002
        targets: Sequence[Target],  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return the loss terms of heads besides the box head.

        Args:
            maps: see `maps`.
            sampled: M regions of the batch.
            features: [M, C, h, w], what the box head looked at.
            targets: the objects of each image.

        """
        return {}

    def sampled_bins(
        self, maps: list[Tensor], sampled: SampledRegions, size_hw: tuple[int, int]
    ) -> Tensor:
        """Return the bins [M, C, h, w] of sampled regions."""
        return self.reader.of_rows(maps, sampled.boxes_xyxy, sampled.batch_ids, size_hw)

    def output_spec(self) -> FusedOutput:
        """Return the fused output: the heads speak of regions that nothing outside knows."""
        return self.fused_output()

    def backbone(self) -> Backbone:
        """Return the classifier's trunk."""
        return self.trunk
