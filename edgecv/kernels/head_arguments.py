"""What the decoders take: heads in either layout, and the levels of those without anchor boxes."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.arguments import Side, check_array, check_at_least, check_choice
from edgecv.kernels.points import anchor_points, level_sizes

Layout = Literal["cn", "nc"]

NUM_SIDES = 4  # numbers that a box has, distances that a distribution head predicts

_MAX_PAIRS = 2**32 - 1  # the kernels number the pairs of an anchor and a class with 32 bits


def shape_of_head(
    function: str, num_channels: Side, num_anchors: Side, layout: Layout
) -> tuple[Side, Side]:
    """Return the sides of a head in their order; refuse a layout that there is not."""
    check_choice(function, "layout", layout, get_args(Layout))
    return (num_channels, num_anchors) if layout == "cn" else (num_anchors, num_channels)


def check_head(
    function: str,
    name: str,
    head: NDArray[np.float32],
    num_channels: Side,
    layout: Layout,
    num_anchors: Side = "N",
) -> tuple[int, int]:
    """Refuse a head of another type or shape; return its numbers of channels and of anchors."""
    shape = shape_of_head(function, num_channels, num_anchors, layout)
    check_array(function, name, head, np.float32, shape)
    return (head.shape[0], head.shape[1]) if layout == "cn" else (head.shape[1], head.shape[0])


def count_pairs(
    function: str, name: str, shape: tuple[int, ...], num_classes: int, num_anchors: int
) -> int:
    """Return the number of pairs of an anchor and a class; refuse none and too many."""
    if num_classes < 1:
        raise ValueError(
            f"{function}: `{name}` must have channels for at least 1 class, got shape {shape}. "
            "Check its layout and the bins per distance."
        )
    num_pairs = num_anchors * num_classes
    if num_pairs > _MAX_PAIRS:
        raise ValueError(
            f"{function}: `{name}` must have fewer than 2**32 pairs of an anchor and a class, got "
            f"{num_anchors} x {num_classes}. Decode it in parts."
        )
    return num_pairs


def check_size(function: str, size_hw: tuple[int, int] | None) -> tuple[int, int]:
    """Return the height and width of the input of a raw head; refuse none."""
    if size_hw is None:
        raise ValueError(
            f"{function}: `size_hw` must be given for a raw head, got None. "
            "Pass the height and width of the network's input."
        )
    height, width = size_hw
    check_at_least(function, "size_hw", min(height, width), 1)
    return height, width


def check_levels(
    function: str, num_anchors: int, size_hw: tuple[int, int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the rows and columns of cells of each level; refuse a head of other anchors."""
    if min(strides, default=0) < 1:
        raise ValueError(f"{function}: `strides` must be at least 1 each, got {tuple(strides)}.")
    levels = level_sizes(size_hw, strides)
    expected = sum(rows * columns for rows, columns in levels)
    if expected != num_anchors:
        height, width = size_hw
        raise ValueError(
            f"{function}: `head` must have {expected} anchors for an input of "
            f"{height} x {width} and strides {tuple(strides)}, got {num_anchors}. "
            "Check `size_hw`, `strides` and the layout."
        )
    return levels


def points_of_head(
    function: str,
    num_anchors: int,
    size_hw: tuple[int, int] | None,
    strides: Sequence[int],
    *,
    offset: float,
) -> NDArray[np.float32]:
    """Return the anchor points of a raw head, see `anchor_points`, its levels checked."""
    size_hw = check_size(function, size_hw)
    check_levels(function, num_anchors, size_hw, strides)
    return anchor_points(size_hw, tuple(strides), offset)
