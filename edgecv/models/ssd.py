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
from edgecv.data.targets import Target
from edgecv.models.backbone import Backbone
from edgecv.models.detector import Losses, OneStage, register_model
from edgecv.models.matching import decode_offsets, encode_offsets, match_anchors
from edgecv.models.multibox import multibox_loss
from edgecv.spec import AnchorLayer, SSDOutput

VARIANCES = (0.1, 0.2)
MATCH_THRESHOLD = 0.5
NEGATIVES_PER_POSITIVE = 3.0

# Side of the square anchor of each level as a fraction of the input's shorter side, and one more
# to end the last interval; the values of SSD300 on COCO, one level fewer.
SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87)
ASPECT_RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))


# MobileNetV2's maps of stride 8 and 16 are read inside the next block, after its expansion: six
# times the channels at the same resolution (SSDLite, section 6.2 of the paper).
_SSDLITE_LAYERS = ("features.7.conv.0", "features.14.conv.0", "features.18")


@register_model
def ssd_mobilenetv2(num_classes: int, size_hw: tuple[int, int]) -> "SSD":
    """Build SSDLite over MobileNetV2 with five levels, stride 8 to 128."""
    trunk = Backbone("mobilenet_v2", (8, 16, 32), layers=_SSDLITE_LAYERS)
    return SSD(SSDPyramid(trunk, (512, 256)), num_classes, size_hw)


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


class SSDPyramid(nn.Module):
    """A backbone's maps and further ones, each of half the resolution of the one before."""

    def __init__(self, trunk: Backbone, extra_channels: Sequence[int]) -> None:
        """Add a map of each number of `extra_channels` to those of `trunk`."""
        super().__init__()
        self.trunk = trunk
        self.channels = (*trunk.channels, *extra_channels)
        self.strides = trunk.strides
        self.extras = nn.ModuleList()
        for given, wanted in zip(
            self.channels[len(trunk.channels) - 1 :], extra_channels, strict=False
        ):
            self.extras.append(_extra(given, wanted))
            self.strides += (2 * self.strides[-1],)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, H, W] to maps [B, channels[k], ceil(H / strides[k]), ceil(W / strides[k])]."""
        maps: list[Tensor] = self.trunk(images)
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps


class SSD(OneStage):
    """A pyramid of feature maps with an offset head and a class head on each.

    `forward` returns offsets [B, N, 4] and logits [B, N, 1 + C], background first.
    """

    head_names = ("offsets", "logits")

    def __init__(self, pyramid: SSDPyramid, num_classes: int, size_hw: tuple[int, int]) -> None:
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

    def head_losses(self, heads: tuple[Tensor, ...], targets: Sequence[Target]) -> Losses:
        """Return the MultiBox loss of a batch, see `OneStage.head_losses`."""
        offsets, logits = heads
        target_offsets = torch.zeros_like(offsets)
        target_classes = torch.zeros(offsets.shape[:2], dtype=torch.int64, device=offsets.device)
        for image, target in enumerate(targets):
            boxes, classes = target.boxes_xyxy, target.class_ids
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

    def backbone(self) -> Backbone:
        """Return the classifier's trunk."""
        return self.pyramid.trunk


def _separable_head(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        Conv2dNormActivation(channels, channels, 3, groups=channels, activation_layer=nn.ReLU6),
        nn.Conv2d(channels, out_channels, 1),
    )


def _extra(channels: int, out_channels: int) -> nn.Sequential:
    """Halve the resolution: 1x1 squeeze, depthwise 3x3 of stride 2, 1x1 expansion."""
    middle = out_channels // 2
    return nn.Sequential(
        Conv2dNormActivation(channels, middle, 1, activation_layer=nn.ReLU6),
        Conv2dNormActivation(middle, middle, 3, stride=2, groups=middle, activation_layer=nn.ReLU6),
        Conv2dNormActivation(middle, out_channels, 1, activation_layer=nn.ReLU6),
    )


def _rows(head: Tensor, width: int) -> Tensor:
    """Turn [B, A * width, h, w] into [B, h * w * A, width]: cell by cell, then shape by shape."""
    batch = head.shape[0]
    return head.permute(0, 2, 3, 1).reshape(batch, -1, width)
