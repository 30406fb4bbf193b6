"""The anchor points of detectors that have no anchor boxes."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def level_sizes(size_hw: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Return the rows and columns of cells of each level: ceil(side / stride)."""
    height, width = size_hw
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


@lru_cache(maxsize=16)
def anchor_points(
    size_hw: tuple[int, int], strides: tuple[int, ...], offset: float
) -> NDArray[np.float32]:
    """Return the points of every level, in the order of `strides`, row by row.

    Args:
        size_hw: height and width of the network's input in pixels.
        strides: pixels per cell of each level, see `level_sizes`.
        offset: where the point lies in its cell, in cells: 0.5 is the centre, 0 the corner.

    Returns:
        (N, 3) float32, read-only: x, y and stride in pixels.

    """
    levels = []
    for stride, (rows, columns) in zip(strides, level_sizes(size_hw, strides), strict=True):
        level = np.empty((rows, columns, 3), np.float32)
        level[..., 0] = (np.arange(columns) + offset) * stride
        level[..., 1] = ((np.arange(rows) + offset) * stride)[:, None]
        level[..., 2] = stride
        levels.append(level.reshape(-1, 3))
    points = np.concatenate(levels)
    points.setflags(write=False)  # the cache hands the same array to every caller
    return points
