"""Frames that tests of drawing draw into."""

import numpy as np
from numpy.typing import NDArray

from edgecv.colour import CanvasFormat

Bytes = NDArray[np.uint8]
Planes = tuple[Bytes, ...]


def shapes(size_hw: tuple[int, int], format_: CanvasFormat) -> list[tuple[int, ...]]:
    height, width = size_hw
    half = (height + 1) // 2, (width + 1) // 2
    return {
        "bgr24": [(height, width, 3)],
        "rgb24": [(height, width, 3)],
        "gray8": [(height, width)],
        "yuv420p": [(height, width), half, half],
        "nv12": [(height, width), (*half, 2)],
    }[format_]


def random_frame(size_hw: tuple[int, int], format_: CanvasFormat, *, seed: int = 0) -> Planes:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 256, shape, np.uint8) for shape in shapes(size_hw, format_))


def windows(size_hw: tuple[int, int], format_: CanvasFormat) -> tuple[Planes, Planes]:
    """Planes of one value, and a frame cut out of them: what is drawn beside it would show."""
    margin = 5
    whole = tuple(
        np.full((shape[0] + 2 * margin, shape[1] + 2 * margin, *shape[2:]), 99, np.uint8)
        for shape in shapes(size_hw, format_)
    )
    inside = (slice(margin, -margin),) * 2
    return whole, tuple(plane[inside] for plane in whole)


def assert_equal(ours: Planes, expected: Planes) -> None:
    for plane, wanted in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(plane, wanted)
