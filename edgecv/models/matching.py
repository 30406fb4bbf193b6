"""Targets of anchor-based detectors: which anchor answers for which object, and by which offsets.

Everything here works on one image: anchors (N, 4) as cx, cy, w, h unless said otherwise and objects
(K, 4) as xyxy, both in input pixels.
"""

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

BACKGROUND, IGNORED = -1, -2


def match_anchors(anchors_cxcywh: Tensor, boxes_xyxy: Tensor, *, threshold: float) -> Tensor:
    """Return for each anchor the object it answers for, or -1.

    First every object gets an anchor of its own, best pair first (greedy bipartite matching), so
    that no object is lost however it fits; then every anchor left takes the object that it
    overlaps most, if by `threshold` or more.

    Args:
        anchors_cxcywh: (N, 4) float32.
        boxes_xyxy: (K, 4) float32; K <= N.
        threshold: the least IoU of the second step, in (0, 1).

    Returns:
        (N,) int64 in [-1, K).

    Source:
        Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2, matching strategy.

    """
    num_anchors, num_boxes = len(anchors_cxcywh), len(boxes_xyxy)
    if num_boxes == 0:
        return torch.full((num_anchors,), -1, dtype=torch.int64, device=boxes_xyxy.device)
    iou = box_iou(box_convert(anchors_cxcywh, "cxcywh", "xyxy"), boxes_xyxy)
    best_iou, best_box = iou.max(dim=1)
    matched = torch.where(best_iou >= threshold, best_box, -1)
    for _ in range(num_boxes):
        anchor, box = divmod(int(iou.argmax()), num_boxes)
        matched[anchor] = box
        iou[anchor, :] = -1
        iou[:, box] = -1
    return matched


def match_regions(
    regions_xyxy: Tensor,
    boxes_xyxy: Tensor,
    *,
    positive_from: float,
    negative_below: float,
    keep_best: bool,
) -> Tensor:
    """Return for each region the object it answers for, `BACKGROUND` or `IGNORED`.

    A region takes the object that it overlaps most: as its own if by `positive_from` or more, as
    none if by less than `negative_below`; those between teach nothing.

    Args:
        regions_xyxy: (N, 4) float32, anchors or proposals.
        boxes_xyxy: (K, 4) float32.
        positive_from: IoU in (0, 1].
        negative_below: IoU in (0, `positive_from`].
        keep_best: the regions that overlap an object most are positive by however little it is;
            they answer for the object that each of them overlaps most.

    Returns:
        (N,) int64 in [-2, K).

    Source:
        Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.1.2; Girshick, "Fast R-CNN", ICCV 2015,
        section 2.3.

    """
    if len(boxes_xyxy) == 0:
        return torch.full(
            (len(regions_xyxy),), BACKGROUND, dtype=torch.int64, device=boxes_xyxy.device
        )
    iou = box_iou(regions_xyxy, boxes_xyxy)
    best_iou, best_box = iou.max(dim=1)
    matched = torch.where(best_iou >= positive_from, best_box, IGNORED)
    matched[best_iou < negative_below] = BACKGROUND
    if keep_best:
        is_best = ((iou == iou.max(dim=0).values) & (iou > 0)).any(dim=1)
        matched = torch.where(is_best, best_box, matched)
    return matched


def sample_matches(
    matched: Tensor, *, count: int, positive_fraction: float
) -> tuple[Tensor, Tensor]:
    """Return the rows of a random sample: those with an object, and those of the background.

    Args:
        matched: (N,) int64, see `match_regions`.
        count: rows in all, fewer if there are not so many.
        positive_fraction: at most so many of them have an object, rounded down.

    Source:
        Ren et al. 2015, section 3.1.3. Drawn from torch's default generator.

    """
    positive = torch.nonzero(matched >= 0).flatten()
    negative = torch.nonzero(matched == BACKGROUND).flatten()
    num_positive = min(len(positive), int(count * positive_fraction))
    num_negative = min(len(negative), count - num_positive)
    return _draw(positive, num_positive), _draw(negative, num_negative)


def _draw(rows: Tensor, count: int) -> Tensor:
    return rows[torch.randperm(len(rows), device=rows.device)[:count]]


def encode_offsets(
    boxes_xyxy: Tensor, anchors_cxcywh: Tensor, variances: tuple[float, float]
) -> Tensor:
    """Return the offsets (N, 4) that lead from each anchor to its box, the inverse of decoding.

    dx = (cx - cx_a) / w_a / v0 and dw = log(w / w_a) / v1, the same vertically.

    Args:
        boxes_xyxy: (N, 4) float32, of positive area.
        anchors_cxcywh: (N, 4) float32.
        variances: v0 of the centre and v1 of the size.

    Source:
        Liu et al. 2016, equation 2; the variances are those of its published implementation.

    """
    boxes = box_convert(boxes_xyxy, "xyxy", "cxcywh")
    centre = (boxes[:, :2] - anchors_cxcywh[:, :2]) / anchors_cxcywh[:, 2:] / variances[0]
    size = torch.log(boxes[:, 2:] / anchors_cxcywh[:, 2:]) / variances[1]
    return torch.cat([centre, size], dim=1)


def decode_offsets(
    offsets: Tensor, anchors_cxcywh: Tensor, variances: tuple[float, float]
) -> Tensor:
    """Return the boxes [..., N, 4] xyxy in input pixels that `offsets` [..., N, 4] stand for.

    The anchors may have leading axes of their own, as long as the two broadcast.
    """
    centre = offsets[..., :2] * variances[0] * anchors_cxcywh[..., 2:] + anchors_cxcywh[..., :2]
    half = torch.exp(offsets[..., 2:] * variances[1]) * anchors_cxcywh[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)
