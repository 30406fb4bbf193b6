"""The definition of the fit: from a frame to a network's input."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.placement import Placement

Array = NDArray[np.float64]


def letterbox(
    frame: NDArray[np.uint8],
    placement: Placement,
    *,
    reverse_channels: bool,
    scale: float = 1.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    pad: float = 0.0,
) -> Array:
    """Resize by two interpolation matrices, paste on a canvas of `pad`, normalise."""
    height, width = placement.size_hw
    left, top = placement.offset_xy
    rows = _interpolation(placement.resized_hw[0], placement.frame_hw[0])
    columns = _interpolation(placement.resized_hw[1], placement.frame_hw[1])
    resized = np.einsum("yi,ijc,xj->yxc", rows, frame.astype(np.float64), columns)
    canvas = np.full((height, width, 3), float(pad))
    for y in range(height):
        for x in range(width):
            if 0 <= y - top < len(rows) and 0 <= x - left < len(columns):
                canvas[y, x] = resized[y - top, x - left]
    channels = canvas[..., ::-1] if reverse_channels else canvas
    return np.moveaxis((channels * scale - np.asarray(mean)) / np.asarray(std), 2, 0)


def _interpolation(resized: int, source: int) -> Array:
    """Return the (resized, source) matrix of bilinear weights: a hat around each sample point."""
    points = (np.arange(resized) + 0.5) * source / resized - 0.5
    points = np.clip(points, 0, source - 1)  # beyond the outer pixel centres the edge repeats
    return np.maximum(0.0, 1.0 - np.abs(points[:, None] - np.arange(source)))
