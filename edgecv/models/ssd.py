"""SSD: Single Shot MultiBox Detector (Liu et al., ECCV 2016, arXiv 1512.02325).

Written from the paper; SSDLite has depthwise separable heads (Sandler et al., CVPR 2018, section
6.2).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torchvision.ops import Conv2dNormActivation

from edgecv.anchors import anchor_boxes
from edgecv.data.targets import Target
from edgecv.models.backbone import Backbone
from edgecv.models.blocks import anchor_rows
from edgecv.models.detector import OneStage
from edgecv.models.losses import AnchorBoxLoss, anchor_box_loss
from edgecv.models.matching import decode_offsets, match_anchors
from edgecv.models.multibox import multibox_loss
from edgecv.models.network import Losses
from edgecv.models.registry import register_model
from edgecv.output_spec import AnchorLayer, SSDOutput

VARIANCES = (0.1, 0.2)
MATCH_THRESHOLD = 0.5
NEGATIVES_PER_POSITIVE = 3.0

Pairing = Literal["n+m-1", "all-pairs"]  # which sizes of anchors meet which ratios


@dataclass(frozen=True)
class AnchorScheme:
    """Sizes and shapes of the anchors, level by level from the finest.

    Args:
        scales: side of the square anchor as a fraction of the input's shorter side, and one more
            to end the last interval.
        ratios: width to height; each also stands upright.

    """

    scales: tuple[float, ...]
    ratios: tuple[tuple[float, ...], ...]


# The values of the published networks on COCO.
SSD300 = AnchorScheme(
    (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
    ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,)),
)
SSD512 = AnchorScheme(
    (0.04, 0.1, 0.26, 0.42, 0.58, 0.74, 0.9, 1.06),
    ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,)),
)
# Five levels, of which the last two have few cells.
SSDLITE = AnchorScheme(SSD300.scales[:6], ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,)))

# MobileNetV2's maps of stride 8 and 16 are read inside the next block, after its expansion: six
# times the channels at the same resolution (SSDLite, section 6.2 of the paper).
_EXPANSIONS = ("features.7.conv.0", "features.14.conv.0", "features.18")


@register_model
def ssd_mobilenetv2(
    num_classes: int,
    size_hw: tuple[int, int],
    *,
    anchors: Pairing = "n+m-1",
    box_loss: AnchorBoxLoss = "smooth-l1",
) -> "SSD":
    """Build SSDLite over MobileNetV2 with five levels, stride 8 to 128, see `SSD`."""
    trunk = Backbone("mobilenet_v2", (8, 16, 32), layers=_EXPANSIONS)
    pyramid = SSDPyramid(trunk, (512, 256), _separable_extra)
    layers = ssd_anchor_layers(SSDLITE, pyramid.strides, size_hw, anchors)
    return SSD(pyramid, layers, _separable_head, num_classes, size_hw, box_loss=box_loss)


@register_model
def ssdlite(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "mobilenet_v3_large",
    *,
    anchors: Pairing = "n+m-1",
    box_loss: AnchorBoxLoss = "smooth-l1",
) -> "SSD":
    """Build SSDLite over any backbone with five levels, stride 8 to 128, see `SSD`."""
    pyramid = SSDPyramid(Backbone(backbone, (8, 16, 32)), (512, 256), _separable_extra)
    layers = ssd_anchor_layers(SSDLITE, pyramid.strides, size_hw, anchors)
    return SSD(pyramid, layers, _separable_head, num_classes, size_hw, box_loss=box_loss)


@register_model
def ssd300(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "vgg16",
    *,
    anchors: Pairing = "n+m-1",
    box_loss: AnchorBoxLoss = "smooth-l1",
) -> "SSD":
    """Build the SSD300 of the paper: six levels, stride 8 to 256, for inputs of about 300."""
    pyramid = SSDPyramid(Backbone(backbone, (8, 16)), (512, 256, 256, 256), _extra, context=1024)
    layers = ssd_anchor_layers(SSD300, pyramid.strides, size_hw, anchors)
    return SSD(pyramid, layers, _head, num_classes, size_hw, box_loss=box_loss)


@register_model
def ssd512(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "vgg16",
    *,
    anchors: Pairing = "n+m-1",
    box_loss: AnchorBoxLoss = "smooth-l1",
) -> "SSD":
    """Build the SSD512 of the paper: seven levels, stride 8 to 512, for inputs of about 512."""
    pyramid = SSDPyramid(
        Backbone(backbone, (8, 16)), (512, 256, 256, 256, 256), _extra, context=1024
    )
    layers = ssd_anchor_layers(SSD512, pyramid.strides, size_hw, anchors)
    return SSD(pyramid, layers, _head, num_classes, size_hw, box_loss=box_loss)


def ssd_anchor_layers(
    scheme: AnchorScheme,
    strides: Sequence[int],
    size_hw: tuple[int, int],
    pairing: Pairing = "n+m-1",
) -> tuple[AnchorLayer, ...]:
    """Return the anchors of each level by size and aspect ratio.

    A level with scale s_k has n = 2 sizes, s_k and sqrt(s_k s_{k+1}), and m ratios a: 1, then those
    of the scheme, each followed by its inverse. A box is s sqrt(a) wide and s / sqrt(a) high.
    `n+m-1` takes every size with the ratio 1 and every ratio with the first size, `all-pairs` then
    the other ratios with the other size too, n m in all.

    Args:
        scheme: scales and ratios, for as many levels as strides.
        strides: input pixels per cell, one per level.
        size_hw: height and width of the input in pixels.
        pairing: which sizes meet which ratios.

    Source:
        Liu et al. 2016, section 2.2, "Choosing scales and aspect ratios for default boxes", which
        pairs them as `n+m-1`; both ways: Zhang et al., "Dive into Deep Learning", section 14.4.1.

    """
    height, width = size_hw
    short = min(size_hw)
    layers = []
    for level, (stride, ratios) in enumerate(zip(strides, scheme.ratios, strict=True)):
        scale, following = scheme.scales[level], scheme.scales[level + 1]
        between = math.sqrt(scale * following)
        shapes = [(scale, scale), (between, between)]
        for size in (scale,) if pairing == "n+m-1" else (scale, between):
            for ratio in ratios:
                wide, narrow = size * math.sqrt(ratio), size / math.sqrt(ratio)
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

    def __init__(
        self,
        trunk: Backbone,
        extra_channels: Sequence[int],
        extra: Callable[[int, int], nn.Module],
        *,
        context: int | None = None,
    ) -> None:
        """Build with random weights.

        Args:
            trunk: the backbone.
            extra_channels: of the maps behind the backbone's.
            extra: makes the layers from one of them to the next, of given channels.
            context: channels of two layers that widen the view of the backbone's last map; where
                the backbone has no norms, its first map is then normalised too (section 3.1).

        """
        super().__init__()
        self.trunk = trunk
        self.context = None if context is None else _context(trunk.channels[-1], context)
        last = trunk.channels[-1] if context is None else context
        self.channels = (*trunk.channels[:-1], last, *extra_channels)
        has_norms = any(isinstance(layer, nn.BatchNorm2d) for layer in trunk.modules())
        self.norm = None if context is None or has_norms else _ScaledNorm(trunk.channels[0])
        self.strides = trunk.strides
        self.extras = nn.ModuleList()
        for given, wanted in itertools.pairwise((last, *extra_channels)):
            self.extras.append(extra(given, wanted))
            self.strides += (2 * self.strides[-1],)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, H, W] to maps [B, channels[k], ceil(H / strides[k]), ceil(W / strides[k])]."""
        maps: list[Tensor] = self.trunk(images)
        if self.context is not None:
            maps[-1] = self.context(maps[-1])
        if self.norm is not None:
            maps[0] = self.norm(maps[0])
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps


class SSD(OneStage):
    """A pyramid of feature maps with an offset head and a class head on each.

    `forward` returns offsets [B, N, 4] and logits [B, N, 1 + C], background first.

    The options of its builders: `anchors`, how their sizes and ratios are paired, see
    `ssd_anchor_layers`; `box_loss`, see `edgecv.models.losses.anchor_box_loss`.
    """

    head_names = ("offsets", "logits")

    def __init__(
        self,
        pyramid: SSDPyramid,
        layers: tuple[AnchorLayer, ...],
        head: Callable[[int, int], nn.Module],
        num_classes: int,
        size_hw: tuple[int, int],
        *,
        box_loss: AnchorBoxLoss = "smooth-l1",
    ) -> None:
        """Build with random weights.

        Args:
            pyramid: gives the maps.
            layers: the anchors of each map.
            head: makes the layers from a map to its answers, of given channels.
            num_classes: C, the background not counted.
            size_hw: height and width of the input in pixels.
            box_loss: of the matched anchors.

        """
        super().__init__()
        self.pyramid = pyramid
        self.num_classes = num_classes
        self.layers = layers
        self.box_loss: AnchorBoxLoss = box_loss
        self.offset_heads = nn.ModuleList()
        self.logit_heads = nn.ModuleList()
        for channels, layer in zip(pyramid.channels, self.layers, strict=True):
            num_shapes = len(layer.shapes_wh)
            self.offset_heads.append(head(channels, num_shapes * 4))
            self.logit_heads.append(head(channels, num_shapes * (1 + num_classes)))
        anchors = torch.from_numpy(anchor_boxes(self.layers, size_hw))
        self.register_buffer("anchors", anchors, persistent=False)

    anchors: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, 3, H, W] float32 to offsets [B, N, 4] and logits [B, N, 1 + C]."""
        maps = self.pyramid(images)
        offsets = [anchor_rows(head(x), 4) for head, x in zip(self.offset_heads, maps, strict=True)]
        width = 1 + self.num_classes
        logits = [
            anchor_rows(head(x), width) for head, x in zip(self.logit_heads, maps, strict=True)
        ]
        return torch.cat(offsets, dim=1), torch.cat(logits, dim=1)

    def head_losses(self, heads: tuple[Tensor, ...], targets: Sequence[Target]) -> Losses:
        """Return the MultiBox loss of a batch, see `OneStage.head_losses`."""
        offsets, logits = heads
        wanted_boxes = torch.zeros_like(offsets)
        target_classes = torch.zeros(offsets.shape[:2], dtype=torch.int64, device=offsets.device)
        for image, target in enumerate(targets):
            boxes, classes = target.boxes_xyxy, target.class_ids
            matched = match_anchors(self.anchors, boxes, threshold=MATCH_THRESHOLD)
            positive = matched >= 0
            target_classes[image, positive] = classes[matched[positive]] + 1
            wanted_boxes[image, positive] = boxes[matched[positive]]
        row, anchor = torch.nonzero(target_classes, as_tuple=True)
        box_loss = anchor_box_loss(
            self.box_loss,
            offsets[row, anchor],
            self.anchors[anchor],
            wanted_boxes[row, anchor],
            variances=VARIANCES,
        )
        return multibox_loss(
            box_loss, logits, target_classes, negatives_per_positive=NEGATIVES_PER_POSITIVE
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


class _ScaledNorm(nn.Module):
    """Features of length 20 in each cell at first: ParseNet's norm, section 3.1 of the paper."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 20.0))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * self.scale


def _context(channels: int, out_channels: int) -> nn.Sequential:
    """Stand in for VGG's two fully connected layers, as the paper's section 3.1 converts them."""
    return nn.Sequential(
        nn.MaxPool2d(3, stride=1, padding=1),
        Conv2dNormActivation(channels, out_channels, 3, dilation=6),
        Conv2dNormActivation(out_channels, out_channels, 1),
    )


def _extra(channels: int, out_channels: int) -> nn.Sequential:
    """Halve the resolution: 1x1 squeeze, 3x3 of stride 2."""
    middle = out_channels // 2
    return nn.Sequential(
        Conv2dNormActivation(channels, middle, 1),
        Conv2dNormActivation(middle, out_channels, 3, stride=2),
    )


def _head(channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, padding=1)


def _separable_head(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        Conv2dNormActivation(channels, channels, 3, groups=channels, activation_layer=nn.ReLU6),
        nn.Conv2d(channels, out_channels, 1),
    )


def _separable_extra(channels: int, out_channels: int) -> nn.Sequential:
    """Halve the resolution: 1x1 squeeze, depthwise 3x3 of stride 2, 1x1 expansion."""
    middle = out_channels // 2
    return nn.Sequential(
        Conv2dNormActivation(channels, middle, 1, activation_layer=nn.ReLU6),
        Conv2dNormActivation(middle, middle, 3, stride=2, groups=middle, activation_layer=nn.ReLU6),
        Conv2dNormActivation(middle, out_channels, 1, activation_layer=nn.ReLU6),
    )
