"""Losses that detectors share: how far boxes and masks are from those they should be."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)

from edgecv.models.matching import decode_offsets, encode_offsets

OverlapLoss = Literal["giou", "diou", "ciou"]
AnchorBoxLoss = Literal["smooth-l1", "giou", "diou", "ciou"]
MaskLoss = Literal["bce", "dice", "bce+dice"]

_LEAST_SIDE = 1e-3  # pixels; more than the rounding of coordinates up to 8192

_OVERLAP_LOSSES = {
    "giou": generalized_box_iou_loss,
    "diou": distance_box_iou_loss,
    "ciou": complete_box_iou_loss,
}


def overlap_loss(kind: OverlapLoss, boxes_xyxy: Tensor, wanted_xyxy: Tensor) -> Tensor:
    """Return (K,) how little each box overlaps the wanted one: 1 - IoU and a penalty.

    The penalty leads boxes together that do not overlap at all. It is the share of the smallest
    box around both that neither fills (`giou`), or the distance of the centres over that box's
    diagonal, both squared (`diou`), and with it the difference of the aspect ratios (`ciou`).

    Args:
        kind: of the penalty.
        boxes_xyxy: (K, 4) float32.
        wanted_xyxy: (K, 4) float32, of positive area.

    Source:
        Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, algorithm 1; Zheng et
        al., "Distance-IoU Loss", AAAI 2020, equations 7 and 10.

    """
    # The aspect ratio of a point is 0 / 0, and one such box would spoil every gradient.
    upper_left, lower_right = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    proper = torch.cat([upper_left, torch.maximum(lower_right, upper_left + _LEAST_SIDE)], dim=1)
    loss: Tensor = _OVERLAP_LOSSES[kind](proper, wanted_xyxy)
    return loss


def anchor_box_loss(
    kind: AnchorBoxLoss,
    offsets: Tensor,
    anchors_cxcywh: Tensor,
    wanted_xyxy: Tensor,
    *,
    variances: tuple[float, float],
    beta: float = 1.0,
) -> Tensor:
    """Return [] the sum over matched anchors of how far their boxes are from the wanted ones.

    Args:
        kind: `smooth-l1` compares the offsets, the others the boxes, see `overlap_loss`.
        offsets: (K, 4) float32 from the anchors, see `encode_offsets`.
        anchors_cxcywh: (K, 4) float32.
        wanted_xyxy: (K, 4) float32, of positive area.
        variances: of the offsets.
        beta: up to where `smooth-l1` is quadratic.

    Source:
        Girshick, "Fast R-CNN", ICCV 2015, equation 3, for smooth L1.

    """
    if kind == "smooth-l1":
        wanted = encode_offsets(wanted_xyxy, anchors_cxcywh, variances)
        return F.smooth_l1_loss(offsets, wanted, reduction="sum", beta=beta)
    boxes_xyxy = decode_offsets(offsets, anchors_cxcywh, variances)
    return overlap_loss(kind, boxes_xyxy, wanted_xyxy).sum()


def dice_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 less the Dice coefficient of each mask, averaged over the masks.

    Unlike the mean of a loss per pixel, it does not shrink with the object: a small one weighs as
    much as one that fills its mask.

    Args:
        logits: [M, h, w] float32.
        wanted: [M, h, w] float32 in [0, 1].

    Returns:
        [] in [0, 1], not a number for M = 0. One pixel is added to the overlap and to the areas, so
        that an empty mask is learnt too.

    Source:
        Milletari et al., "V-Net", 3DV 2016, arXiv 1606.04797, section 3, with squared areas.

    """
    found = logits.sigmoid().flatten(1)
    wanted = wanted.flatten(1)
    overlap = (found * wanted).sum(dim=1)
    areas = found.square().sum(dim=1) + wanted.square().sum(dim=1)
    return (1 - (2 * overlap + 1) / (areas + 1)).mean()
