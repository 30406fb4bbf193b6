"""`draw_masks` in every format against the reference, NumPy and its own properties."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.colour import CANVAS_FORMATS, CanvasFormat, colours_in
from edgecv.frame_formats import planes_of
from edgecv.kernels import draw_masks, paste_masks, reference
from edgecv.kernels._native import draw_masks_cpu
from edgecv.kernels.reference.segmentation import pasted_probabilities

from .canvases import Bytes, assert_equal, random_frame, windows

Floats = NDArray[np.float32]

# Around the vectors of 8, 16, 32 and 64 bytes, odd and even.
SIDES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67, 129]

formats = pytest.mark.parametrize("format_", CANVAS_FORMATS)


def random_masks(count: int, side: int = 9, *, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).random((count, side, side), np.float32)


def random_boxes(count: int, size_hw: tuple[int, int], *, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    sides = np.array(size_hw[::-1], np.float64)
    corners = rng.uniform(-0.3, 1, (count, 2)) * sides
    return np.hstack([corners, corners + rng.uniform(0.1, 1, (count, 2)) * sides]).astype(
        np.float32
    )


def random_colours(count: int, *, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, 3), np.uint8)


@formats
@pytest.mark.parametrize("width", SIDES)
@pytest.mark.parametrize("height", [1, 2, 5, 8, 31])
def test_masks_match_the_reference(format_: CanvasFormat, width: int, height: int) -> None:
    size = (height, width)
    whole, frame = windows(size, format_)
    for plane, pixels in zip(frame, random_frame(size, format_), strict=True):
        plane[:] = pixels
    masks, boxes = random_masks(4), random_boxes(4, size)
    options: dict[str, Any] = {"colours": random_colours(4), "format": format_, "alpha": 0.37}
    expected = reference.draw_masks(frame, masks, boxes, **options)
    draw_masks(frame, masks, boxes, **options)
    assert_equal(frame, expected)
    for plane in frame:
        plane[:] = 99
    assert all((plane == 99).all() for plane in whole)


@formats
@pytest.mark.parametrize("side", [1, 2, 6, 7, 28])
@pytest.mark.parametrize("alpha", [0.0, 0.001, 0.5, 0.999, 1.0])
def test_masks_of_every_side_and_weight(format_: CanvasFormat, side: int, alpha: float) -> None:
    size = (40, 50)
    frame = random_frame(size, format_)
    masks, boxes, colours = random_masks(3, side), random_boxes(3, size), random_colours(3)
    colours[0], colours[1] = 0, 255
    options: dict[str, Any] = {"colours": colours, "format": format_, "alpha": alpha}
    expected = reference.draw_masks(frame, masks, boxes, threshold=0.4, **options)
    draw_masks(frame, masks, boxes, threshold=0.4, **options)
    assert_equal(frame, expected)


# Far outside, empty, inverted, not a number and endless.
coordinates = st.floats(-20, 60, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30])


@settings(max_examples=200)
@given(
    boxes=st.lists(st.tuples(*[coordinates] * 4), max_size=3),
    size_hw=st.tuples(st.integers(1, 33), st.integers(1, 33)),
    format_=st.sampled_from(CANVAS_FORMATS),
    seed=st.integers(0, 9),
)
def test_any_box_in_any_frame_matches_the_reference(
    boxes: list[tuple[float, ...]], size_hw: tuple[int, int], format_: CanvasFormat, seed: int
) -> None:
    whole, frame = windows(size_hw, format_)
    count = len(boxes)
    masks = random_masks(count, seed=seed)
    masks[masks > 0.95] = np.nan
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    # Where a probability is a rounding away from the threshold, either is right.
    distance = pasted_probabilities(masks, corners, size_hw) - 0.5
    near = (np.abs(distance) < 1e-5).any()
    options: dict[str, Any] = {"colours": random_colours(count), "format": format_}
    expected = reference.draw_masks(frame, masks, corners, **options)
    draw_masks(frame, masks, corners, **options)
    if not near:
        assert_equal(frame, expected)
    for plane in frame:
        plane[:] = 99
    assert all((plane == 99).all() for plane in whole)


def test_a_mask_is_blended_where_paste_masks_covers() -> None:
    size = (90, 120)
    (frame,) = random_frame(size, "rgb24")
    before = frame.astype(np.float64)
    masks, boxes, colours = random_masks(1, 28), random_boxes(1, size, seed=2), random_colours(1)
    covered = paste_masks(masks, boxes, size)[0]
    assert 0 < covered.sum() < covered.size
    draw_masks(frame, masks, boxes, colours=colours, alpha=0.25, format="rgb24")
    blended = np.floor(0.75 * before + 0.25 * colours[0] + 0.5)
    np.testing.assert_array_equal(frame, np.where(covered[..., None], blended, before))


@formats
def test_the_first_mask_is_on_top(format_: CanvasFormat) -> None:
    frame, alone = (random_frame((20, 20), format_) for _ in range(2))
    masks, boxes = np.ones((2, 4, 4), np.float32), np.array([[4, 4, 16, 16]] * 2, np.float32)
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    draw_masks(frame, masks, boxes, colours=colours, format=format_, alpha=1.0)
    draw_masks(alone, masks[:1], boxes[:1], colours=colours[:1], format=format_, alpha=1.0)
    np.testing.assert_array_equal(frame[0], alone[0])  # a sample of chroma may be half of each
    first = colours_in(colours, format_, "bt601", "limited")[0]
    assert frame[0][10, 10].tolist() == (first[0] if frame[0].ndim == 2 else first.tolist())


@formats
def test_no_mask_changes_nothing(format_: CanvasFormat) -> None:
    frame, before = (random_frame((9, 9), format_) for _ in range(2))
    none: dict[str, Any] = {"colours": random_colours(0), "format": format_}
    draw_masks(frame, random_masks(0), np.zeros((0, 4), np.float32), **none)
    assert_equal(frame, before)


def test_the_one_array_of_a_planar_format_is_drawn_into() -> None:
    array = np.full((60, 48), 128, np.uint8)
    planes = tuple(plane.copy() for plane in planes_of("test", array, "nv12"))
    boxes = np.array([[5, 6, 40, 30]], np.float32)
    masks, colours = np.ones((1, 4, 4), np.float32), random_colours(1)
    draw_masks(array, masks, boxes, colours=colours, format="nv12")
    draw_masks(planes, masks, boxes, colours=colours, format="nv12")
    assert_equal(planes_of("test", array, "nv12"), planes)
    assert (planes[1] != 128).any()


FRAME, MASKS = np.zeros((4, 6, 3), np.uint8), np.zeros((1, 3, 3), np.float32)
BOX, COLOUR = np.zeros((1, 4), np.float32), np.zeros((1, 3), np.uint8)

REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (
        lambda: draw_masks(FRAME, MASKS[:, :2], BOX, colours=COLOUR),
        ValueError,
        "draw_masks: `masks` must be squares of at least 1 pixel, got (1, 2, 3).",
    ),
    (
        lambda: draw_masks(FRAME, MASKS[:, :0, :0], BOX, colours=COLOUR),
        ValueError,
        "draw_masks: `masks` must be squares of at least 1 pixel, got (1, 0, 0).",
    ),
    (
        lambda: draw_masks(FRAME, MASKS.astype(np.float64), BOX, colours=COLOUR),  # type: ignore[arg-type]
        TypeError,
        "draw_masks: `masks` must be float32, got float64.",
    ),
    (
        lambda: draw_masks(FRAME, MASKS, BOX[:0], colours=COLOUR),
        ValueError,
        "draw_masks: `boxes_xyxy` must have shape (1, 4), got (0, 4).",
    ),
    (
        lambda: draw_masks(FRAME, MASKS, BOX, colours=COLOUR[:0]),
        ValueError,
        "draw_masks: `colours` must have shape (1, 3), got (0, 3).",
    ),
    (
        lambda: draw_masks(FRAME, MASKS, BOX, colours=COLOUR, alpha=1.5),
        ValueError,
        "draw_masks: `alpha` must be in [0, 1], got 1.5.",
    ),
    (
        lambda: draw_masks(FRAME, MASKS, BOX, colours=COLOUR, threshold=-0.1),
        ValueError,
        "draw_masks: `threshold` must be in [0, 1], got -0.1.",
    ),
    (
        lambda: draw_masks(FRAME[:, ::2], MASKS, BOX, colours=COLOUR),
        ValueError,
        "draw_masks: `frame` must hold the pixels of each row densely, got strides (18, 6, 1).",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refuses(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.zeros((1, 3, 2), np.float32)}, "must be squares"),
        ({"masks": np.zeros((1, 0, 0), np.float32)}, "must be squares"),
        ({"boxes_xyxy": np.zeros((2, 4), np.float32)}, "must have a row per mask"),
        ({"colours": np.zeros((0, 3), np.uint8)}, "must have a row per mask"),
        ({"alpha_256": 257}, "must be at most 256"),
        ({"planes": []}, "must be the planes of one frame"),
    ],
)
def test_the_native_function_reads_and_writes_nothing_outside(
    change: dict[str, Any], message: str
) -> None:
    good: dict[str, Any] = {
        "planes": [FRAME.copy()],
        "masks": MASKS,
        "boxes_xyxy": BOX,
        "colours": COLOUR,
        "threshold": 0.5,
        "alpha_256": 115,
    }
    draw_masks_cpu(**good)
    with pytest.raises(ValueError, match=message):
        draw_masks_cpu(**good | change)
