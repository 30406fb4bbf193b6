"""YOLO, anchor-free: a PAN neck and, on each level, one branch for boxes and one for classes.

Written from the papers: Ge et al., "YOLOX", 2021 (decoupled heads, no anchors), Xu et al.,
"PP-YOLOE", 2022 (distances as distributions, task-aligned assignment), and the sources that the
parts name.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from edgecv.models.anchor_free import NUM_BINS, AnchorFree, flat_head, start_quietly
from edgecv.models.backbone import Backbone
from edgecv.models.losses import OverlapLoss
from edgecv.models.neck import PAN
from edgecv.models.registry import register_model

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class YOLOSize:
    """Channels of the neck's three maps, and bottlenecks in each of its blocks."""

    widths: tuple[int, int, int]
    depth: int


@register_model
def yolo_n(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "csp_n",
    *,
    box_loss: OverlapLoss = "ciou",
) -> "YOLO":
    """Build the smallest YOLO, for a CPU or a small board."""
    size = YOLOSize((64, 128, 256), 1)
    return YOLO(Backbone(backbone, STRIDES), size, num_classes, size_hw, box_loss=box_loss)


@register_model
def yolo_s(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "csp_s",
    *,
    box_loss: OverlapLoss = "ciou",
) -> "YOLO":
    """Build the small YOLO."""
    size = YOLOSize((128, 256, 512), 1)
    return YOLO(Backbone(backbone, STRIDES), size, num_classes, size_hw, box_loss=box_loss)


@register_model
def yolo_m(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "csp_m",
    *,
    box_loss: OverlapLoss = "ciou",
) -> "YOLO":
    """Build the medium YOLO."""
    size = YOLOSize((192, 384, 576), 2)
    return YOLO(Backbone(backbone, STRIDES), size, num_classes, size_hw, box_loss=box_loss)


class YOLO(AnchorFree):
    """`forward` maps [B, 3, H, W] float32 to the raw head [B, 4 * 16 + C, N], see `AnchorFree`."""

    def __init__(
        self,
        trunk: Backbone,
        size: YOLOSize,
        num_classes: int,
        size_hw: tuple[int, int],
        *,
        box_loss: OverlapLoss = "ciou",
    ) -> None:
        """Build with random weights over the maps of `trunk`."""
        super().__init__(num_classes, size_hw, trunk.strides, box_loss=box_loss)
        self.trunk = trunk
        self.neck = PAN(trunk.channels, size.widths, depth=size.depth)
        box_width = 4 * NUM_BINS
        class_width = max(size.widths[0], min(num_classes, 128))
        self.distance_heads, self.logit_heads = nn.ModuleList(), nn.ModuleList()
        for width in size.widths:
            distances = _branch(width, box_width, 4 * NUM_BINS)
            logits = _branch(width, class_width, num_classes)
            start_quietly(distances, logits)
            self.distance_heads.append(distances)
            self.logit_heads.append(logits)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the raw head."""
        maps = self.neck(self.trunk(images))
        distances = [head(x) for head, x in zip(self.distance_heads, maps, strict=True)]
        logits = [head(x) for head, x in zip(self.logit_heads, maps, strict=True)]
        return (flat_head(distances, logits),)

    def backbone(self) -> Backbone:
        """Return the trunk."""
        return self.trunk


def _branch(channels: int, width: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        Conv2dNormActivation(channels, width, 3, activation_layer=nn.SiLU),
        Conv2dNormActivation(width, width, 3, activation_layer=nn.SiLU),
        nn.Conv2d(width, out_channels, 1),
    )
