"""FCOS: heads shared by all levels of a feature pyramid, one answer a cell, no anchors.

Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019, with distances as
distributions (Li et al., "Generalized Focal Loss", NeurIPS 2020) and, in the place of its rules of
size and centre, the task-aligned assignment of `edgecv.models.alignment`.
"""

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from edgecv.models.anchor_free import NUM_BINS, AnchorFree, flat_head, start_quietly
from edgecv.models.backbone import Backbone
from edgecv.models.losses import OverlapLoss
from edgecv.models.neck import FPN
from edgecv.models.registry import register_model

STRIDES = (8, 16, 32)
EXTRA_LEVELS = 2
WIDTH = 128
DEPTH = 2
_GROUPS = 16


@register_model
def fcos(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "resnet18",
    *,
    box_loss: OverlapLoss = "ciou",
) -> "FCOS":
    """Build FCOS over five levels, stride 8 to 128."""
    return FCOS(Backbone(backbone, STRIDES), num_classes, size_hw, box_loss=box_loss)


class FCOS(AnchorFree):
    """`forward` maps [B, 3, H, W] float32 to the raw head [B, 4 * 16 + C, N], see `AnchorFree`."""

    focal_exponent = 2.0  # Li et al. 2020, table 1

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        *,
        box_loss: OverlapLoss = "ciou",
    ) -> None:
        """Build with random weights over the maps of `trunk`."""
        extra = tuple(2 ** (level + 1) * trunk.strides[-1] for level in range(EXTRA_LEVELS))
        super().__init__(num_classes, size_hw, (*trunk.strides, *extra), box_loss=box_loss)
        self.trunk = trunk
        self.neck = FPN(trunk.channels, WIDTH, extra=EXTRA_LEVELS)
        self.distance_head = _tower(4 * NUM_BINS)
        self.logit_head = _tower(num_classes)
        start_quietly(self.distance_head, self.logit_head)
        # Levels share the head: each has a scale of its own for the distances (section 3.3).
        self.scales = nn.Parameter(torch.ones(len(self.strides)))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the raw head."""
        maps = self.neck(self.trunk(images))
        distances = [self.distance_head(x) * self.scales[k] for k, x in enumerate(maps)]
        return (flat_head(distances, [self.logit_head(x) for x in maps]),)

    def backbone(self) -> Backbone:
        """Return the trunk."""
        return self.trunk


def _tower(out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            Conv2dNormActivation(
                WIDTH, WIDTH, 3, norm_layer=lambda channels: nn.GroupNorm(_GROUPS, channels)
            )
            for _ in range(DEPTH)
        ),
        nn.Conv2d(WIDTH, out_channels, 3, padding=1),
    )
