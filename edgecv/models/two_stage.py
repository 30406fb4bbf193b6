"""Two-stage detectors: Faster R-CNN and Mask R-CNN over a feature pyramid.

Ren et al., "Faster R-CNN", NeurIPS 2015, arXiv 1506.01497; He et al., "Mask R-CNN", ICCV 2017,
arXiv 1703.06870; the pyramid: Lin et al., CVPR 2017, arXiv 1612.03144. Written from the papers;
with the same weights the results are those of torchvision (BSD-3-Clause), whose conventions the
papers leave open. Every shape is fixed when the model is built, as an engine wants it.
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
from edgecv.models.detector import Detector, InstanceDetector, register_model
from edgecv.models.losses import MaskLoss
from edgecv.models.neck import FPN
from edgecv.models.network import Losses
from edgecv.models.operators import align_pyramid, align_pyramid_rows
from edgecv.models.regions import decode_regions, scores_of_proper
from edgecv.models.roi_heads import (
    BOX_BINS,
    BOX_VARIANCES,
    MASK_BINS,
    BoxHead,
    MaskHead,
    SampledRegions,
    box_losses,
    mask_loss,
    sample_regions,
)
from edgecv.models.rpn import RegionProposals
from edgecv.spec import FusedOutput

_LEAST_SIDE = 1e-2


@dataclass(frozen=True)
class TwoStageSizes:
    """How large the parts of a two-stage detector are.

    Args:
        strides: of the pyramid's maps that regions are read from; anchors have one more level.
        width: channels of the maps.
        hidden: width of the box head's layers.
        anchor_scale: side of the square anchors in strides.
        num_candidates: the best anchors of each level that become candidates; TensorRT's TopK ends
            at 3840.
        num_proposals: regions an image that the heads look at.
        num_boxes: the best pairs of region and class that are suppressed, if there are more.
        num_sampled_anchors: of an image in the loss.
        num_sampled_regions: likewise.

    """

    strides: tuple[int, ...] = (4, 8, 16, 32)
    width: int = 256
    hidden: int = 1024
    anchor_scale: float = 8
    num_candidates: int = 1000
    num_proposals: int = 300
    num_boxes: int = 1000
    num_sampled_anchors: int = 256
    num_sampled_regions: int = 256


_LITE = TwoStageSizes(
    strides=(8, 16, 32), width=128, hidden=256, anchor_scale=4, num_sampled_regions=128
)


@register_model
def faster_rcnn(
    num_classes: int, size_hw: tuple[int, int], backbone: str = "resnet18"
) -> "FasterRCNN":
    """Build Faster R-CNN over P2 to P6."""
    sizes = TwoStageSizes()
    return FasterRCNN(Backbone(backbone, sizes.strides), num_classes, size_hw, sizes)


@register_model
def faster_rcnn_lite(
    num_classes: int, size_hw: tuple[int, int], backbone: str = "mobilenet_v2"
) -> "FasterRCNN":
    """Build a small Faster R-CNN over P3 to P6 with half the channels and smaller anchors."""
    return FasterRCNN(Backbone(backbone, _LITE.strides), num_classes, size_hw, _LITE)


@register_model
def mask_rcnn(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "resnet18",
    *,
    mask_loss: MaskLoss = "bce",
) -> "MaskRCNN":
    """Build Mask R-CNN over P2 to P6; `mask_loss` as in `edgecv.models.roi_heads.mask_loss`."""
    sizes = TwoStageSizes()
    trunk = Backbone(backbone, sizes.strides)
    return MaskRCNN(trunk, num_classes, size_hw, sizes, mask_loss=mask_loss)


@register_model
def mask_rcnn_lite(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "mobilenet_v2",
    *,
    mask_loss: MaskLoss = "bce",
) -> "MaskRCNN":
    """Build a small Mask R-CNN, as `faster_rcnn_lite` is one of Faster R-CNN."""
    trunk = Backbone(backbone, _LITE.strides)
    return MaskRCNN(trunk, num_classes, size_hw, _LITE, mask_loss=mask_loss)


class FasterRCNN(Detector):
    """A region proposal network and a box head on shared feature maps.

    `forward` returns proposals [B, R, 4] xyxy in input pixels, logits [B, R, 1 + C], background
    first, and offsets [B, R, 4 C].
    """

    head_names: tuple[str, ...] = ("proposals", "logits", "offsets")

    def __init__(
        self, trunk: Backbone, num_classes: int, size_hw: tuple[int, int], sizes: TwoStageSizes
    ) -> None:
        """Build with random weights.

        Args:
            trunk: with a map of each of `sizes.strides`.
            num_classes: C.
            size_hw: height and width of the input in pixels.
            sizes: of the parts.

        """
        super().__init__()
        self.trunk = trunk
        self.num_classes = num_classes
        self.size_hw = size_hw
        self.sizes = sizes
        self.neck = FPN(trunk.channels, sizes.width)
        self.rpn = RegionProposals(
            sizes.width,
            (*sizes.strides, 2 * sizes.strides[-1]),
            size_hw,
            anchor_scale=sizes.anchor_scale,
            num_candidates=sizes.num_candidates,
            num_proposals=sizes.num_proposals,
            num_sampled=sizes.num_sampled_anchors,
        )
        self.box_head = BoxHead(sizes.width, sizes.hidden, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] float32 to proposals, logits and offsets."""
        return self._heads(self._maps(images))

    def _maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of each of `sizes.strides`."""
        maps: list[Tensor] = self.neck(self.trunk(images))
        return maps

    def _heads(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        _, proposals = self.rpn.propose(self.rpn(_with_coarser(maps)))
        bins = align_pyramid(maps, proposals, BOX_BINS, strides=self.sizes.strides)
        logits, offsets = self.box_head(bins)
        return proposals, logits, offsets

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
        scores = logits.softmax(dim=-1)[..., 1:].flatten(1)
        # This also drops the rows past the number of proposals, which are empty.
        scores = scores_of_proper(scores, boxes, least_side=_LEAST_SIDE)
        every_class = torch.arange(num_classes, device=scores.device)
        classes = every_class.repeat(proposals.shape[1])[None]
        if scores.shape[1] > self.sizes.num_boxes:
            scores, rows = scores.topk(self.sizes.num_boxes, dim=1)
            boxes = boxes.gather(1, rows[..., None].expand(-1, -1, 4))
            classes = rows % num_classes
        is_own = classes[..., None] == every_class
        return boxes, scores[..., None] * is_own

    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        """Run the network on a batch and return its loss, see `Detector.losses`.

        The parts are `objectness` and `region` of the proposals, `class` and `box` of the regions.
        """
        maps = self._maps(images)
        levels = self.rpn(_with_coarser(maps))
        with torch.autocast(images.device.type, enabled=False):
            parts = self.rpn.losses(levels, targets)
            counts, proposals = self.rpn.propose(levels)
            sampled = sample_regions(
                [boxes[:count] for boxes, count in zip(proposals, counts.tolist(), strict=True)],
                targets,
                count=self.sizes.num_sampled_regions,
            )
        logits, offsets = self.box_head(self._bins(maps, sampled, BOX_BINS))
        with torch.autocast(images.device.type, enabled=False):
            parts |= box_losses(logits, offsets, sampled)
        parts |= self._further_losses(maps, sampled, targets)
        return Losses(total=torch.stack(list(parts.values())).sum(), parts=parts)

    def _further_losses(
        self,
        maps: list[Tensor],  # noqa: ARG002  # for those that have further heads
        sampled: SampledRegions,  # noqa: ARG002
        targets: Sequence[Target],  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return the loss terms of heads besides the box head."""
        return {}

    def _bins(
        self, maps: list[Tensor], sampled: SampledRegions, size_hw: tuple[int, int]
    ) -> Tensor:
        return align_pyramid_rows(
            maps, sampled.boxes_xyxy, sampled.batch_ids, size_hw, strides=self.sizes.strides
        )

    def output_spec(self) -> FusedOutput:
        """Return the fused output: the heads speak of regions that the network itself proposed."""
        return self.fused_output()

    def backbone(self) -> Backbone:
        """Return the classifier's trunk."""
        return self.trunk


class MaskRCNN(FasterRCNN, InstanceDetector):
    """Faster R-CNN with a mask head on the boxes that were found.

    `forward` returns the heads of `FasterRCNN` and then the feature maps, which the mask head reads
    once the boxes are chosen.
    """

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        sizes: TwoStageSizes,
        *,
        mask_loss: MaskLoss = "bce",
    ) -> None:
        """Build with random weights, see `FasterRCNN`.

        Args:
            trunk: see `FasterRCNN`.
            num_classes: see `FasterRCNN`.
            size_hw: see `FasterRCNN`.
            sizes: see `FasterRCNN`.
            mask_loss: what the masks are learnt by, see `edgecv.models.roi_heads.mask_loss`.

        Raises:
            InputError: if there is no such loss.

        """
        if mask_loss not in get_args(MaskLoss):
            known = ", ".join(get_args(MaskLoss))
            raise InputError(f"`mask_loss` must be one of {known}, got {mask_loss!r}.")
        super().__init__(trunk, num_classes, size_hw, sizes)
        self.mask_loss: MaskLoss = mask_loss
        self.mask_head = MaskHead(sizes.width, num_classes)
        levels = (stride.bit_length() - 1 for stride in sizes.strides)
        self.head_names = (*FasterRCNN.head_names, *(f"p{level}" for level in levels))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] float32 to proposals, logits, offsets and the feature maps."""
        maps = self._maps(images)
        return (*self._heads(maps), *maps)

    def masks(self, heads: tuple[Tensor, ...], boxes_xyxy: Tensor, class_ids: Tensor) -> Tensor:
        """Return masks [B, K, 28, 28], see `InstanceDetector.masks`."""
        bins = align_pyramid(heads[3:], boxes_xyxy, MASK_BINS, strides=self.sizes.strides)
        logits = self.mask_head(bins.flatten(0, 1))
        own = class_ids.flatten().clamp(min=0).long()[:, None, None, None]
        chosen = logits.gather(1, own.expand(-1, -1, *logits.shape[2:]))
        probabilities: Tensor = chosen.sigmoid().view(*class_ids.shape, *logits.shape[2:])
        return probabilities

    def _further_losses(
        self, maps: list[Tensor], sampled: SampledRegions, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        masks = [_masks_of(target) for target in targets]
        rows = torch.nonzero(sampled.labels > 0).flatten()
        positive = replace(sampled, **{name: value[rows] for name, value in vars(sampled).items()})
        logits = self.mask_head(self._bins(maps, positive, MASK_BINS))
        with torch.autocast(logits.device.type, enabled=False):
            return {"mask": mask_loss(logits, positive, masks, self.mask_loss)}


def _with_coarser(maps: list[Tensor]) -> list[Tensor]:
    """Return the maps and every other cell of the last, for the largest anchors alone."""
    return [*maps, F.max_pool2d(maps[-1], 1, stride=2)]


def _masks_of(target: Target) -> Tensor:
    if target.masks is None:
        raise DatasetError(
            "Mask R-CNN learns from masks, and this data set has none. Choose `faster_rcnn`, or a "
            "data set whose annotations have polygons or masks."
        )
    return target.masks
