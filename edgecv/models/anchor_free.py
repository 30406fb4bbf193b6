"""Anchor-free dense heads: each cell scores its classes and says how far the four sides are.

A distance is a distribution over bins of one stride (Li et al., "Generalized Focal Loss", NeurIPS
2020, section 3). What is here is shared by every detector of that kind: YOLO, FCOS.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.nn.utils.rnn import pad_sequence

from edgecv.data.targets import Target
from edgecv.models.alignment import assign_by_alignment
from edgecv.models.detector import OneStage
from edgecv.models.losses import OverlapLoss, overlap_loss
from edgecv.models.network import Losses
from edgecv.output_spec import YoloOutput

NUM_BINS = 16
CLASS_WEIGHT, BOX_WEIGHT, DISTANCE_WEIGHT = 1.0, 2.5, 0.5  # Xu et al., "PP-YOLOE", 2022, eq. 2
_PRIOR = 0.01  # score of an untrained cell: Lin et al., "Focal Loss", ICCV 2017, section 4.1


class AnchorFree(OneStage):
    """A detector whose raw head is one tensor [B, 4 * 16 + C, N], cells level by level.

    A subclass sets what `forward` needs and returns `flat_head` of its levels' maps.
    """

    head_names = ("head",)
    # How much less a cell counts the closer its score is to what is wanted; 0: all count alike.
    focal_exponent = 0.0

    def __init__(
        self,
        num_classes: int,
        size_hw: tuple[int, int],
        strides: Sequence[int],
        *,
        box_loss: OverlapLoss = "ciou",
    ) -> None:
        """Prepare the centres of the cells for an input of `size_hw`.

        Args:
            num_classes: C.
            size_hw: height and width of the input in pixels.
            strides: of the levels.
            box_loss: see `edgecv.models.losses.overlap_loss`.

        """
        super().__init__()
        self.box_loss: OverlapLoss = box_loss
        self.num_classes = num_classes
        self.strides = tuple(strides)
        centres, cell_strides = cell_centres(size_hw, strides)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("cell_strides", cell_strides, persistent=False)
        self.register_buffer("bins", torch.arange(NUM_BINS, dtype=torch.float32), persistent=False)

    centres: Tensor
    cell_strides: Tensor
    bins: Tensor

    def decoded(self, heads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return boxes [B, N, 4] xyxy in input pixels and scores [B, N, C]."""
        distances, logits = self._parts(heads[0])
        return self._boxes(distances), logits.sigmoid()

    def output_spec(self) -> YoloOutput:
        """Return the description of the raw head."""
        return YoloOutput(
            head=self.head_names[0], layout="cn", reg_max=NUM_BINS, strides=self.strides
        )

    def head_losses(self, heads: tuple[Tensor, ...], targets: Sequence[Target]) -> Losses:
        """Return quality focal loss, overlap loss and distribution focal loss of a batch.

        Each is divided by the sum of the wanted qualities, and boxes count by theirs. Quality focal
        loss is the cross-entropy to the wanted quality times |wanted - score| ** focal_exponent
        (Li et al. 2020, equation 5).
        """
        distances, logits = self._parts(heads[0])
        boxes = self._boxes(distances)
        wanted_boxes = pad_sequence([target.boxes_xyxy for target in targets], batch_first=True)
        wanted_classes = pad_sequence(
            [target.class_ids for target in targets], batch_first=True, padding_value=-1
        )
        is_object = wanted_classes >= 0
        classes = wanted_classes.clamp(min=0)
        detached = boxes.detach()
        assigned = assign_by_alignment(
            logits.detach()
            .sigmoid()
            .transpose(1, 2)
            .gather(1, classes[..., None].expand(-1, -1, logits.shape[1])),
            pairwise_iou(wanted_boxes, detached),
            self._candidates(wanted_boxes) & is_object[..., None],
        )
        image, cell = torch.nonzero(assigned.objects >= 0, as_tuple=True)
        row = assigned.objects[image, cell]
        quality = assigned.quality[image, cell]
        wanted_scores = torch.zeros_like(logits)
        wanted_scores[image, cell, classes[image, row]] = quality
        entropy = F.binary_cross_entropy_with_logits(logits, wanted_scores, reduction="none")
        if self.focal_exponent:
            entropy = entropy * (wanted_scores - logits.sigmoid()).abs() ** self.focal_exponent

        box = overlap_loss(self.box_loss, boxes[image, cell], wanted_boxes[image, row])
        centre, stride = self.centres[cell], self.cell_strides[cell]
        sides = distances_to(wanted_boxes[image, row], centre) / stride[:, None]
        spread = distribution_focal_loss(distances[image, cell], sides)
        count = quality.sum()
        normaliser = count.clamp(min=1.0)
        parts = {
            "class": CLASS_WEIGHT * entropy.sum() / normaliser,
            "box": BOX_WEIGHT * (box * quality).sum() / normaliser,
            "distance": DISTANCE_WEIGHT * (spread * quality).sum() / normaliser,
        }
        return Losses(total=torch.stack(list(parts.values())).sum(), parts=parts, count=count)

    def _parts(self, head: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the distances [B, N, 4, bins] and of the classes [B, N, C]."""
        rows = head.transpose(1, 2)
        distances = rows[..., : 4 * NUM_BINS].reshape(*rows.shape[:2], 4, NUM_BINS)
        return distances, rows[..., 4 * NUM_BINS :]

    def _boxes(self, distances: Tensor) -> Tensor:
        """Return boxes [B, N, 4] xyxy in input pixels."""
        expected = (distances.softmax(dim=-1) * self.bins).sum(dim=-1) * self.cell_strides[:, None]
        upper_left = self.centres - expected[..., :2]
        lower_right = self.centres + expected[..., 2:]
        return torch.cat([upper_left, lower_right], dim=-1)

    def _candidates(self, boxes_xyxy: Tensor) -> Tensor:
        """Return [B, M, N]: the cells whose centre lies in a box.

        A box narrower than a cell is widened to it, so that one centre at least lies inside.
        """
        middle = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:])[:, :, None] / 2
        half = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2])[:, :, None] / 2
        reach = torch.maximum(half, self.cell_strides[:, None] / 2)
        return ((self.centres - middle).abs() <= reach).all(dim=-1)


def cell_centres(size_hw: tuple[int, int], strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the centres (N, 2) as x, y in input pixels and the stride (N,) of every cell.

    Args:
        size_hw: height and width of the input in pixels.
        strides: of the levels, in the order of the cells; rows within a level.

    """
    centres, cell_strides = [], []
    for stride in strides:
        height, width = (math.ceil(side / stride) for side in size_hw)
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        centres.append(torch.stack([x, y], dim=-1).flatten(0, 1) * stride)
        cell_strides.append(torch.full((height * width,), float(stride)))
    return torch.cat(centres), torch.cat(cell_strides)


def distances_to(boxes_xyxy: Tensor, centres: Tensor) -> Tensor:
    """Return the distances (K, 4) from centres (K, 2) to the left, top, right and bottom sides."""
    return torch.cat([centres - boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - centres], dim=-1)


def distribution_focal_loss(logits: Tensor, sides: Tensor) -> Tensor:
    """Return (K,) the cross-entropy to the two bins around each side, averaged over the sides.

    Args:
        logits: (K, 4, bins) float32.
        sides: (K, 4) float32 distances in bins; outside the bins they count as the nearest.

    Source:
        Li et al., "Generalized Focal Loss", NeurIPS 2020, equation 6.

    """
    num_bins = logits.shape[-1]
    sides = sides.clamp(0, num_bins - 1 - 1e-3)
    low = sides.long()
    weight = sides - low
    entropy = -logits.log_softmax(dim=-1)
    at_low = entropy.gather(-1, low[..., None])[..., 0]
    at_high = entropy.gather(-1, low[..., None] + 1)[..., 0]
    return (at_low * (1 - weight) + at_high * weight).mean(dim=-1)


def pairwise_iou(objects_xyxy: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Return the IoU [B, M, N] of objects [B, M, 4] with boxes [B, N, 4]."""
    first, second = objects_xyxy[:, :, None], boxes_xyxy[:, None]
    overlap = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(
        first[..., :2], second[..., :2]
    )
    intersection = overlap.clamp(min=0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (first, second)]
    return intersection / (areas[0] + areas[1] - intersection).clamp(min=1e-9)


def flat_head(distances: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
    """Return [B, 4 * bins + C, N] from each level's [B, 4 * bins, h, w] and [B, C, h, w]."""
    levels = [
        torch.cat([sides, classes], dim=1).flatten(2)
        for sides, classes in zip(distances, logits, strict=True)
    ]
    return torch.cat(levels, dim=2)


def start_quietly(distances: nn.Sequential, logits: nn.Sequential) -> None:
    """Set the last biases so that untrained cells score 0.01 and their boxes are a few cells."""
    for head, bias in ((distances, 1.0), (logits, -math.log((1 - _PRIOR) / _PRIOR))):
        last = head[-1]
        if not isinstance(last, nn.Conv2d) or last.bias is None:
            raise TypeError(f"start_quietly: a head must end in a convolution, got {last}.")
        nn.init.constant_(last.bias, bias)
