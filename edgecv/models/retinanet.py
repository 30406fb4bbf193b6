"""RetinaNet: dense heads over anchors on a feature pyramid, trained with the focal loss.

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, arXiv 1708.02002. Written from the
paper; with the same weights the detections and losses are those of torchvision (BSD-3-Clause),
whose conventions the paper leaves open.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, box_convert, sigmoid_focal_loss

from edgecv.anchors import anchor_boxes
from edgecv.data.targets import Target
from edgecv.models.backbone import Backbone
from edgecv.models.blocks import anchor_rows
from edgecv.models.detector import OneStage
from edgecv.models.losses import AnchorBoxLoss, anchor_box_loss
from edgecv.models.matching import IGNORED, decode_offsets, match_regions
from edgecv.models.neck import FPN
from edgecv.models.network import Losses
from edgecv.models.registry import register_model
from edgecv.output_spec import AnchorLayer, SSDOutput

STRIDES = (8, 16, 32)
EXTRA_LEVELS = 2
WIDTH = 256
DEPTH = 4
VARIANCES = (1.0, 1.0)
ALPHA, GAMMA = 0.25, 2.0
POSITIVE_FROM, NEGATIVE_BELOW = 0.5, 0.4

_SIDE = 4  # of a level's smallest square anchor, in strides: 32 pixels where the stride is 8
_OCTAVE_SCALES = tuple(2 ** (step / 3) for step in range(3))
_ASPECT_RATIOS = (0.5, 1.0, 2.0)
_PRIOR = 0.01  # score of an untrained anchor, section 4.1
_GROUPS = 32
_SMOOTH_L1_BETA = 1 / 9  # of the published network


@register_model
def retinanet(
    num_classes: int,
    size_hw: tuple[int, int],
    backbone: str = "resnet18",
    *,
    box_loss: AnchorBoxLoss = "smooth-l1",
) -> "RetinaNet":
    """Build RetinaNet over P3 to P7, stride 8 to 128, with nine anchors a cell."""
    return RetinaNet(Backbone(backbone, STRIDES), num_classes, size_hw, box_loss=box_loss)


def retinanet_anchor_layers(
    strides: Sequence[int], size_hw: tuple[int, int]
) -> tuple[AnchorLayer, ...]:
    """Return the anchors of each level: three sizes within an octave, each in three ratios.

    Args:
        strides: input pixels per cell, one per level.
        size_hw: height and width of the input in pixels.

    Source:
        Lin et al. 2017, section 4, "Anchors": areas of 32² to 512² on P3 to P7, times 2^0, 2^(1/3)
        and 2^(2/3) in side, with the ratios 1:2, 1:1 and 2:1.

    """
    height, width = size_hw
    return tuple(
        AnchorLayer(
            grid_hw=(math.ceil(height / stride), math.ceil(width / stride)),
            shapes_wh=tuple(
                (side * math.sqrt(ratio) / width, side / math.sqrt(ratio) / height)
                for side in (_SIDE * stride * scale for scale in _OCTAVE_SCALES)
                for ratio in _ASPECT_RATIOS
            ),
        )
        for stride in strides
    )


class RetinaNet(OneStage):
    """`forward` returns offsets [B, N, 4] and logits [B, N, C], each of a sigmoid of its own.

    The levels share the heads. These have group norms as torchvision's second version, so that
    they train with a few images a batch; the paper's have none. P6 is made from P5, not from C5.
    """

    head_names = ("offsets", "logits")

    def __init__(
        self,
        trunk: Backbone,
        num_classes: int,
        size_hw: tuple[int, int],
        *,
        box_loss: AnchorBoxLoss = "smooth-l1",
    ) -> None:
        """Build with random weights.

        Args:
            trunk: gives the maps C3 to C5.
            num_classes: C.
            size_hw: height and width of the input in pixels.
            box_loss: of the matched anchors, see `edgecv.models.losses.anchor_box_loss`.

        """
        super().__init__()
        self.trunk = trunk
        self.num_classes = num_classes
        self.box_loss: AnchorBoxLoss = box_loss
        self.neck = FPN(trunk.channels, WIDTH, extra=EXTRA_LEVELS)
        num_shapes = len(_OCTAVE_SCALES) * len(_ASPECT_RATIOS)
        self.offset_head = _tower(num_shapes * 4, bias=0.0)
        self.logit_head = _tower(num_shapes * num_classes, bias=-math.log((1 - _PRIOR) / _PRIOR))
        extra = tuple(2 ** (level + 1) * trunk.strides[-1] for level in range(EXTRA_LEVELS))
        self.layers = retinanet_anchor_layers((*trunk.strides, *extra), size_hw)
        anchors = torch.from_numpy(anchor_boxes(self.layers, size_hw))
        self.register_buffer("anchors", anchors, persistent=False)

    anchors: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, 3, H, W] float32 to offsets [B, N, 4] and logits [B, N, C]."""
        maps = self.neck(self.trunk(images))
        offsets = [anchor_rows(self.offset_head(x), 4) for x in maps]
        logits = [anchor_rows(self.logit_head(x), self.num_classes) for x in maps]
        return torch.cat(offsets, dim=1), torch.cat(logits, dim=1)

    def head_losses(self, heads: tuple[Tensor, ...], targets: Sequence[Target]) -> Losses:
        """Return the focal loss of every anchor and the box loss of those that have an object.

        Both are divided by an image's number of matched anchors and averaged over the images.
        Anchors that overlap an object neither well nor little teach nothing.

        Source:
            Lin et al. 2017, section 4.1 and equation 5.

        """
        offsets, logits = heads
        anchors_xyxy = box_convert(self.anchors, "cxcywh", "xyxy")
        class_losses, box_losses = [], []
        for image, target in enumerate(targets):
            matched = match_regions(
                anchors_xyxy,
                target.boxes_xyxy,
                positive_from=POSITIVE_FROM,
                negative_below=NEGATIVE_BELOW,
                keep_best=True,
            )
            positive = torch.nonzero(matched >= 0).flatten()
            objects = matched[positive]
            wanted_scores = torch.zeros_like(logits[image])
            wanted_scores[positive, target.class_ids[objects]] = 1.0
            counts = matched != IGNORED
            focal = sigmoid_focal_loss(
                logits[image, counts], wanted_scores[counts], ALPHA, GAMMA, reduction="sum"
            )
            box = anchor_box_loss(
                self.box_loss,
                offsets[image, positive],
                self.anchors[positive],
                target.boxes_xyxy[objects],
                variances=VARIANCES,
                beta=_SMOOTH_L1_BETA,
            )
            normaliser = max(1, len(positive))
            class_losses.append(focal / normaliser)
            box_losses.append(box / normaliser)
        parts = {"class": torch.stack(class_losses).mean(), "box": torch.stack(box_losses).mean()}
        return Losses(total=torch.stack(list(parts.values())).sum(), parts=parts)

    def decoded(self, heads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return boxes [B, N, 4] xyxy in input pixels and scores [B, N, C]."""
        offsets, logits = heads
        return decode_offsets(offsets, self.anchors, VARIANCES), logits.sigmoid()

    def output_spec(self) -> SSDOutput:
        """Return the description of the raw heads, anchors included."""
        return SSDOutput(anchors=self.layers, variances=VARIANCES, activation="sigmoid")

    def backbone(self) -> Backbone:
        """Return the trunk."""
        return self.trunk


def _tower(out_channels: int, *, bias: float) -> nn.Sequential:
    """Return the layers of a head, its last bias all `bias`; weights as in section 4.1."""
    tower = nn.Sequential(
        *(
            Conv2dNormActivation(
                WIDTH, WIDTH, 3, norm_layer=lambda channels: nn.GroupNorm(_GROUPS, channels)
            )
            for _ in range(DEPTH)
        ),
        nn.Conv2d(WIDTH, out_channels, 3, padding=1),
    )
    for layer in tower.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, bias)
    return tower
