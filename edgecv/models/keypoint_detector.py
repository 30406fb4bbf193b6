"""Keypoint R-CNN: Mask R-CNN for human pose estimation, or for the points of anything.

He et al., "Mask R-CNN", ICCV 2017, arXiv 1703.06870, section 5. Written from the paper; the rest of
the network is `edgecv.models.two_stage`'s over a feature pyramid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgecv.data.targets import Target
from edgecv.errors import DatasetError
from edgecv.models.backbone import Backbone
from edgecv.models.detector import KeypointDetector
from edgecv.models.keypoint_head import (
    KEYPOINT_BINS,
    KeypointHead,
    decode_heatmaps,
    keypoint_loss,
)
from edgecv.models.registry import register_model
from edgecv.models.roi_heads import SampledRegions
from edgecv.models.two_stage import LITE, FasterRCNN, TwoStageSizes


@dataclass(frozen=True)
class KeypointSizes:
    """How large the parts of a keypoint detector are.

    Args:
        regions: of all but the keypoint head.
        width: channels of the keypoint head's convolutions.
        num_convs: how many there are.

    """

    regions: TwoStageSizes
    width: int
    num_convs: int


_FULL = KeypointSizes(TwoStageSizes(), width=512, num_convs=8)
_LITE = KeypointSizes(LITE, width=128, num_convs=4)


@register_model
def keypoint_rcnn(
    num_classes: int, size_hw: tuple[int, int], num_keypoints: int, backbone: str = "resnet18"
) -> "KeypointRCNN":
    """Build Keypoint R-CNN over P2 to P6.

    Args:
        num_classes: C.
        size_hw: height and width of the input in pixels.
        num_keypoints: J.
        backbone: see `edgecv.models.backbone.Backbone`.

    """
    trunk = Backbone(backbone, _FULL.regions.strides)
    return KeypointRCNN(trunk, num_classes, size_hw, num_keypoints, _FULL)


@register_model
def keypoint_rcnn_lite(
    num_classes: int, size_hw: tuple[int, int], num_keypoints: int, backbone: str = "mobilenet_v2"
) -> "KeypointRCNN":
    """Build a small Keypoint R-CNN, as `faster_rcnn_lite` is one of Faster R-CNN.

    Args:
        num_classes: C.
        size_hw: see `keypoint_rcnn`.
        num_keypoints: J.
        backbone: see `keypoint_rcnn`.

    """
    trunk = Backbone(backbone, _LITE.regions.strides)
    return KeypointRCNN(trunk, num_classes, size_hw, num_keypoints, _LITE)


class KeypointRCNN(FasterRCNN, KeypointDetector):
    """Faster R-CNN with a keypoint head on the boxes that were found.

    `forward` returns the heads of `FasterRCNN` and then the feature maps, which the keypoint head
    reads once the boxes are chosen. The points are those of the object whatever its class is.
    """

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        num_keypoints: int,
        sizes: KeypointSizes,
    ) -> None:
        """Build with random weights.

        Args:
            trunk: with a map of each of `sizes.regions.strides`.
            num_classes: C.
            size_hw: height and width of the input in pixels.
            num_keypoints: J.
            sizes: of the parts.

        """
        super().__init__(trunk, num_classes, size_hw, sizes.regions)
        self.num_keypoints = num_keypoints
        self.keypoint_head = KeypointHead(
            self.map_channels, num_keypoints, width=sizes.width, num_convs=sizes.num_convs
        )
        levels = (stride.bit_length() - 1 for stride in sizes.regions.strides)
        self.head_names = (*FasterRCNN.head_names, *(f"p{level}" for level in levels))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] float32 to proposals, logits, offsets and the feature maps."""
        maps = self.maps(images)
        return (*self._found_in(maps), *maps)

    def keypoints(self, heads: tuple[Tensor, ...], boxes_xyxy: Tensor) -> Tensor:
        """Return points [B, K, J, 3], see `KeypointDetector.keypoints`."""
        bins = self.reader.of_images(heads[3:], boxes_xyxy, KEYPOINT_BINS)
        logits = self.keypoint_head(bins.flatten(0, 1))
        points = decode_heatmaps(logits, boxes_xyxy.flatten(0, 1))
        return points.view(*boxes_xyxy.shape[:2], *points.shape[1:])

    def further_losses(
        self,
        maps: list[Tensor],
        sampled: SampledRegions,
        features: Tensor,  # noqa: ARG002  # other bins than the box head's
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """Return the term `keypoint`, over the regions that have an object."""
        keypoints = [_keypoints_of(target) for target in targets]
        positive = sampled.at(torch.nonzero(sampled.labels > 0).flatten())
        logits = self.keypoint_head(self.sampled_bins(maps, positive, KEYPOINT_BINS))
        with torch.autocast(logits.device.type, enabled=False):
            return {"keypoint": keypoint_loss(logits, positive, keypoints)}


def _keypoints_of(target: Target) -> Tensor:
    if target.keypoints is None:
        raise DatasetError(
            "Keypoint R-CNN learns from keypoints, and this data set has none. Choose "
            "`faster_rcnn`, or a data set whose categories name `keypoints`."
        )
    return target.keypoints
