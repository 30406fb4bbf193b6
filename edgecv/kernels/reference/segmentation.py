"""The definition of labels from logits."""

import numpy as np
from numpy.typing import NDArray

from edgecv.placement import Placement

Array = NDArray[np.float64]


def resize_argmax(
    logits: NDArray[np.floating],
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
) -> tuple[NDArray[np.uint8], Array]:
    """Return the class with the largest resized logit, and its softmax probability."""
    values = resized_logits(logits, size_hw, placement=placement)
    values = np.where(np.isnan(values), -np.inf, values)
    labels = values.argmax(axis=0)  # the first of equals
    best = values.max(axis=0)
    with np.errstate(invalid="ignore"):
        probability = 1 / np.exp(values - best).sum(axis=0)
    return labels.astype(np.uint8), np.where(np.isfinite(best), probability, np.nan)


def resized_logits(
    logits: NDArray[np.floating],
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
) -> Array:
    """Return (C, H, W): every class at every pixel of the frame."""
    values = logits.astype(np.float64)
    for axis in (0, 1):
        side, frame_side = values.shape[1 + axis], size_hw[axis]
        in_frame = np.arange(frame_side) + 0.5  # centres, in pixels from the edge
        if placement is None:
            in_logits = in_frame * side / frame_side
        else:
            scale = placement.resized_hw[axis] / placement.frame_hw[axis]
            in_input = in_frame * scale + placement.offset_xy[1 - axis]
            in_logits = in_input * side / placement.size_hw[axis]
        values = _interpolated(values, in_logits, axis=1 + axis)
    return values


def _interpolated(values: Array, positions: Array, *, axis: int) -> Array:
    """Return `values` at positions in pixels from the edge, linear between the pixels' centres."""
    last = values.shape[axis] - 1
    at = np.clip(positions - 0.5, 0, last)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, last)
    weight = (at - low).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    with np.errstate(invalid="ignore"):  # infinity times zero is NaN, as meant
        blended: Array = values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight
    return blended
