"""The MultiBox loss of SSD: smooth L1 on offsets, cross-entropy with hard-negative mining."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from edgecv.models.network import Losses


def multibox_loss(
    offsets: Tensor,
    logits: Tensor,
    target_offsets: Tensor,
    target_classes: Tensor,
    *,
    negatives_per_positive: float,
) -> Losses:
    """Return the loss of a batch, divided by its number of matched anchors.

    Anchors without an object are so many that only the worst of each image count:
    `negatives_per_positive` times its matched anchors. An image without objects gives its single
    worst one, so that it teaches too.

    Args:
        offsets: [B, N, 4] float32.
        logits: [B, N, 1 + C] float32, background first.
        target_offsets: [B, N, 4] float32, used where `target_classes` is positive.
        target_classes: [B, N] int64, 0 for the background.
        negatives_per_positive: 3 in the paper.

    Source:
        Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2, equation 1.

    """
    positive = target_classes > 0
    num_positive = positive.sum(dim=1)
    box_loss = F.smooth_l1_loss(offsets[positive], target_offsets[positive], reduction="sum")

    entropy = F.cross_entropy(logits.flatten(0, 1), target_classes.flatten(), reduction="none")
    entropy = entropy.view_as(target_classes)
    # Rank of each negative within its image, the worst first.
    hardness = entropy.detach().masked_fill(positive, -1.0)
    rank = hardness.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    quota = (num_positive * negatives_per_positive).long().clamp(min=1)
    chosen = positive | (rank < quota[:, None])
    class_loss = entropy[chosen].sum()

    count = num_positive.sum()
    normaliser = count.clamp(min=1)
    parts = {"box": box_loss / normaliser, "class": class_loss / normaliser}
    return Losses(total=torch.stack(list(parts.values())).sum(), parts=parts, count=count)
