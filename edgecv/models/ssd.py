"""SSD: Single Shot MultiBox Detector (Liu et al., ECCV 2016, arXiv 1512.02325).

Written from the paper; the heads are the depthwise separable ones of SSDLite (Sandler et al.,
CVPR 2018, section 6.2).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from edgecv.anchors import anchor_boxes
from edgecv.models.detector import Detector, Losses, register_model
from edgecv.models.matching import decode_offsets, encode_offsets, match_anchors
from edgecv.models.mobilenet import MobileNetV2Pyramid, imagenet_trunk
from edgecv.models.multibox import multibox_loss
from edgecv.spec import AnchorLayer, SSDOutput

VARIANCES = (0.1, 0.2)
MATCH_THRESHOLD = 0.5
NEGATIVES_PER_POSITIVE = 3.0

# Side of the square anchor of each level as a fraction of the input's shorter side, and one more
# to end the last interval; the values of SSD300 on COCO, one level fewer.
SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87)
ASPECT_RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))


@register_model
def ssd_mobilenetv2(num_classes: int, size_hw: tuple[int, int]) -> "SSD":
    """Build SSDLite over MobileNetV2 with five levels, stride 8 to 128."""
    return SSD(MobileNetV2Pyramid(), num_classes, size_hw)


def ssd_anchor_layers(strides: Sequence[int], size_hw: tuple[int, int]) -> tuple[AnchorLayer, ...]:
    """Return the anchors of each level by size and aspect ratio.

    A level with scale s_k has squares of s_k and sqrt(s_k s_{k+1}), and for each ratio a the boxes
    s_k sqrt(a) x s_k / sqrt(a) and the same upright.

    Args:
        strides: input pixels per cell, one per level.
        size_hw: height and width of the input in pixels.

    Source:
        Liu et al. 2016, section 2.2, "Choosing scales and aspect ratios for default boxes".

    """
    height, width = size_hw
    short = min(size_hw)
    layers = []
    for level, stride in enumerate(strides):
        scale, following = SCALES[level], SCALES[level + 1]
        shapes = [(scale, scale), (math.sqrt(scale * following),) * 2]
        for ratio in ASPECT_RATIOS[level]:
            wide, narrow = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            shapes += [(wide, narrow), (narrow, wide)]
        layers.append(
            AnchorLayer(
                grid_hw=(math.ceil(height / stride), math.ceil(width / stride)),
                shapes_wh=tuple((w * short / width, h * short / height) for w, h in shapes),
            )
        )
    return tuple(layers)


class SSD(Detector):
    """A pyramid of feature maps with an offset head and a class head on each.

    `forward` returns offsets [B, N, 4] and logits [B, N, 1 + C], background first.
    """

    head_names = ("offsets", "logits")

    def __init__(
        self, pyramid: MobileNetV2Pyramid, num_classes: int, size_hw: tuple[int, int]
    ) -> None:
        """Build with random weights for `num_classes` classes and an input of `size_hw`."""
        super().__init__()
        self.pyramid = pyramid
        self.num_classes = num_classes
        self.layers = ssd_anchor_layers(pyramid.strides, size_hw)
        self.offset_heads = nn.ModuleList()
        self.logit_heads = nn.ModuleList()
        for channels, layer in zip(pyramid.channels, self.layers, strict=True):
            num_shapes = len(layer.shapes_wh)
            self.offset_heads.append(_separable_head(channels, num_shapes * 4))
            self.logit_heads.append(_separable_head(channels, num_shapes * (1 + num_classes)))
        anchors = torch.from_numpy(anchor_boxes(self.layers, size_hw))
        self.register_buffer("anchors", anchors, persistent=False)

    anchors: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, 3, H, W] float32 to offsets [B, N, 4] and logits [B, N, 1 + C]."""
        maps = self.pyramid(images)
        offsets = [_rows(head(x), 4) for head, x in zip(self.offset_heads, maps, strict=True)]
        width = 1 + self.num_classes
        logits = [_rows(head(x), width) for head, x in zip(self.logit_heads, maps, strict=True)]
        return torch.cat(offsets, dim=1), torch.cat(logits, dim=1)

    def losses(
        self, heads: tuple[Tensor, ...], boxes_xyxy: list[Tensor], class_ids: list[Tensor]
    ) -> Losses:
        """Return the MultiBox loss of a batch, see `Detector.losses`."""
        offsets, logits = heads
        target_offsets = torch.zeros_like(offsets)
        target_classes = torch.zeros(offsets.shape[:2], dtype=torch.int64, device=offsets.device)
        for image, (boxes, classes) in enumerate(zip(boxes_xyxy, class_ids, strict=True)):
            matched = match_anchors(self.anchors, boxes, threshold=MATCH_THRESHOLD)
            positive = matched >= 0
            target_classes[image, positive] = classes[matched[positive]] + 1
            target_offsets[image, positive] = encode_offsets(
                boxes[matched[positive]], self.anchors[positive], VARIANCES
            )
        return multibox_loss(
            offsets,
            logits,
            target_offsets,
            target_classes,
            negatives_per_positive=NEGATIVES_PER_POSITIVE,
        )

    def decoded(self, heads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return boxes [B, N, 4] xyxy in input pixels and scores [B, N, C]."""
        offsets, logits = heads
        boxes = decode_offsets(offsets, self.anchors, VARIANCES)
        return boxes, logits.softmax(dim=-1)[..., 1:]

    def output_spec(self) -> SSDOutput:
        """Return the description of the raw heads, anchors included."""
        return SSDOutput(anchors=self.layers, variances=VARIANCES)

    def backbone(self) -> nn.Module:
        """Return MobileNetV2's own blocks."""
        features: nn.Module = self.pyramid.features
        return features

    def load_backbone(self, state: dict[str, Tensor], *, origin: str) -> None:
        """Load torchvision's `features.*` weights."""
        self.pyramid.load_trunk(state, origin=origin)

    def imagenet_state(self) -> dict[str, Tensor]:
        """Return torchvision's ImageNet weights of MobileNetV2."""
        return imagenet_trunk()


def _separable_head(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        Conv2dNormActivation(channels, channels, 3, groups=channels, activation_layer=nn.ReLU6),
        nn.Conv2d(channels, out_channels, 1),
    )


def _rows(head: Tensor, width: int) -> Tensor:
    """Turn [B, A * width, h, w] into [B, h * w * A, width]: cell by cell, then shape by shape."""
    batch = head.shape[0]
    return head.permute(0, 2, 3, 1).reshape(batch, -1, width)
