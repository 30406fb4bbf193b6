"""Task-aligned assignment: which cell answers for which object, by how well it does both tasks."""

from dataclasses import dataclass

import torch
from torch import Tensor

ALPHA, BETA = 1.0, 6.0  # exponents of score and IoU
CELLS_PER_OBJECT = 13


@dataclass(frozen=True)
class Assignment:
    """What each of N cells of B images should answer.

    Args:
        objects: [B, N] int64, row of the image's objects; -1 for background.
        quality: [B, N] float32 in [0, 1], the score that the cell should give the object's class;
            0 for background.

    """

    objects: Tensor
    quality: Tensor


@torch.no_grad()
def assign_by_alignment(
    scores: Tensor,
    iou: Tensor,
    is_candidate: Tensor,
    *,
    cells_per_object: int = CELLS_PER_OBJECT,
) -> Assignment:
    """Give each object the candidates that score its class and overlap it best.

    A cell's alignment with an object is score ** 1 * IoU ** 6. The `cells_per_object` best aligned
    candidates answer for an object; a cell chosen by several answers for the one that it overlaps
    most. The wanted score is the alignment, scaled so that an object's best cell is asked for the
    best IoU that the object has.

    Args:
        scores: [B, M, N] float32 in [0, 1], of each cell for each object's class.
        iou: [B, M, N] float32 in [0, 1], of each cell's box with each object.
        is_candidate: [B, M, N] bool, the cells that may answer for an object; all False for rows
            that only fill up.
        cells_per_object: at most so many cells answer for an object.

    Source:
        Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021, section 3.2.

    """
    batch, num_objects, num_cells = iou.shape
    if num_objects == 0:
        nothing = torch.zeros(batch, num_cells, device=iou.device)
        return Assignment(nothing.long() - 1, nothing)
    alignment = torch.where(is_candidate, scores**ALPHA * iou**BETA, -1.0)
    best = alignment.topk(min(cells_per_object, num_cells), dim=-1)
    chosen = torch.zeros_like(is_candidate).scatter_(-1, best.indices, value=True) & is_candidate
    wanted_iou = torch.where(chosen, iou, -1.0)
    best_iou, objects = wanted_iou.max(dim=1)
    objects = torch.where(best_iou >= 0, objects, -1)

    own = chosen & (objects[:, None] == torch.arange(num_objects, device=iou.device)[:, None])
    alignment = torch.where(own, alignment, 0.0)
    largest = alignment.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(iou.dtype).tiny)
    best_of_object = torch.where(own, iou, 0.0).amax(dim=-1, keepdim=True)
    quality = (alignment / largest * best_of_object).amax(dim=1)
    return Assignment(objects, quality)
