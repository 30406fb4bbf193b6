"""Loss functions that several heads may use."""

from typing import Literal

from torch import Tensor

MaskLoss = Literal["bce", "dice", "bce+dice"]


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
