"""The MultiBox loss of SSD: that of the boxes, and cross-entropy with hard-negative mining."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from edgecv.models.network import Losses


def multibox_loss(
    box_loss: Tensor,
    logits: Tensor,
    target_classes: Tensor,
    *,
    negatives_per_positive: float,
) -> Losses:
    """Return the loss of a batch, divided by its number of matched anchors.

    Anchors without an object are so many that only the worst of each image count:
    `negatives_per_positive` times its matched anchors. An image without objects gives its single
    worst one, so that it teaches too.

    Args:
        box_loss: [] float32, the sum over the matched anchors.
        logits: [B, N, 1 + C] float32, background first.
        target_classes: [B, N] int64, 0 for the background.
        negatives_per_positive: 3 in the paper.

    Source:
        Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2, equation 1.

    """
    positive = target_classes > 0
    num_positive = positive.sum(dim=1)
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
