"""Drawing in every format against the reference, cv2, NumPy and its own properties."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.colour import CANVAS_FORMATS, CanvasFormat, colours_in
from edgecv.frame_formats import (
    COLOUR_MATRICES,
    COLOUR_RANGES,
    ColourMatrix,
    ColourRange,
    planes_of,
)
from edgecv.kernels import blend_labels, colorize, draw_boxes, reference
from edgecv.kernels._native import draw_boxes_cpu

from .canvases import Bytes, Planes, assert_equal, random_frame, shapes, windows

# Around the vectors of 8, 16, 32 and 64 bytes, odd and even.
SIDES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67, 129]
TEXTS = ("", "x", "a cat", "a longer name 0.87", " two  words ")

formats = pytest.mark.parametrize("format_", CANVAS_FORMATS)


def copied(frame: Planes) -> Planes:
    return tuple(plane.copy() for plane in frame)


def random_boxes(count: int, size_hw: tuple[int, int], *, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    height, width = size_hw
    corners = rng.uniform(-8, [width, height], (count, 2))
    sides = rng.uniform(0, [width, height], (count, 2))
    return np.hstack([corners, corners + sides]).astype(np.float32)


def random_colours(count: int, *, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (count, 3), np.uint8)


def assert_draws_like_the_reference(
    frame: Planes,
    boxes: NDArray[np.float32],
    labels: Sequence[str] | None,
    format_: CanvasFormat,
    **options: Any,
) -> None:
    options |= {"colours": random_colours(len(boxes)), "labels": labels, "format": format_}
    expected = reference.draw_boxes(frame, boxes, **options)
    draw_boxes(frame, boxes, **options)
    assert_equal(frame, expected)


@formats
@pytest.mark.parametrize("width", SIDES)
def test_boxes_match_the_reference_at_every_width(format_: CanvasFormat, width: int) -> None:
    size = (37, width)
    assert_draws_like_the_reference(
        random_frame(size, format_),
        random_boxes(5, size),
        TEXTS,
        format_,
        line_width=1,
        font_size=11,
    )


@formats
@pytest.mark.parametrize("height", [1, 2, 3, 13, 14, 15, 30, 31])
@pytest.mark.parametrize("line_width", [1, 2, 3, 4, 40])
def test_boxes_match_the_reference_at_every_height_and_line(
    format_: CanvasFormat, height: int, line_width: int
) -> None:
    size = (height, 41)
    assert_draws_like_the_reference(
        random_frame(size, format_),
        random_boxes(5, size, seed=3),
        TEXTS,
        format_,
        line_width=line_width,
        font_size=10,
    )


# Halves, far outside, empty, inverted, not a number and endless.
coordinates = (
    st.integers(-6, 40).map(float)
    | st.integers(-12, 80).map(lambda twice: twice / 2)
    | st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.49999997])
)
boxes_of_any_kind = st.lists(st.tuples(*[coordinates] * 4), max_size=4)


@settings(max_examples=300)
@given(
    boxes=boxes_of_any_kind,
    size_hw=st.tuples(st.integers(1, 33), st.integers(1, 33)),
    line_width=st.integers(1, 5),
    texts=st.tuples(*[st.sampled_from(TEXTS)] * 4),
    format_=st.sampled_from(CANVAS_FORMATS),
)
def test_any_box_in_any_frame_matches_the_reference(
    boxes: list[tuple[float, ...]],
    size_hw: tuple[int, int],
    line_width: int,
    texts: tuple[str, ...],
    format_: CanvasFormat,
) -> None:
    whole, frame = windows(size_hw, format_)
    assert_draws_like_the_reference(
        frame,
        np.array(boxes, np.float32).reshape(-1, 4),
        texts[: len(boxes)],
        format_,
        line_width=line_width,
        font_size=10,
    )
    for plane in frame:
        plane[:] = 99
    assert all((plane == 99).all() for plane in whole)


@pytest.mark.parametrize("matrix", COLOUR_MATRICES)
@pytest.mark.parametrize("range_", COLOUR_RANGES)
def test_matrix_and_range_decide_the_colours(matrix: ColourMatrix, range_: ColourRange) -> None:
    red = np.array([[255, 0, 0]], np.uint8)
    frame = random_frame((20, 20), "yuv420p")
    box = np.array([[2, 4, 18, 18]], np.float32)
    draw_boxes(frame, box, colours=red, format="yuv420p", line_width=2, matrix=matrix, range=range_)
    drawn = [frame[0][4, 2], frame[1][2, 1], frame[2][2, 1]]
    assert drawn == colours_in(red, "yuv420p", matrix, range_)[0].tolist()


@formats
def test_the_first_box_is_on_top(format_: CanvasFormat) -> None:
    frame = random_frame((20, 20), format_)
    pair = np.array([[4, 4, 16, 16]] * 2, np.float32)
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    alone = copied(frame)
    draw_boxes(frame, pair, colours=colours, format=format_, line_width=2)
    draw_boxes(alone, pair[:1], colours=colours[:1], format=format_, line_width=2)
    assert_equal(frame, alone)


def test_lines_of_one_pixel_agree_with_cv2() -> None:
    boxes = random_boxes(20, (90, 110), seed=5)
    ours, theirs = (np.zeros((90, 110, 3), np.uint8) for _ in range(2))
    colours = random_colours(20)
    draw_boxes(ours, boxes, colours=colours, line_width=1, format="rgb24")
    for (x1, y1, x2, y2), colour in reversed(
        list(zip(boxes.tolist(), colours.tolist(), strict=True))
    ):
        low = max(round(x1), 0), max(round(y1), 0)
        high = min(round(x2), 110) - 1, min(round(y2), 90) - 1
        if low[0] <= high[0] and low[1] <= high[1]:
            cv2.rectangle(theirs, low, high, colour, 1)
    np.testing.assert_array_equal(ours, theirs)


@given(
    box=st.tuples(*[st.integers(-4, 30)] * 4),
    line_width=st.integers(1, 4),
    colour=st.integers(0, 9),
)
def test_chroma_is_what_averaging_a_drawing_in_rgb_gives(
    box: tuple[int, ...], line_width: int, colour: int
) -> None:
    colours = random_colours(1, seed=colour)
    boxes = np.array([box], np.float32)
    rgb, frame = (
        np.zeros((26, 28, 3), np.uint8),
        tuple(
            np.full(shape, value, np.uint8)
            for shape, value in zip(shapes((26, 28), "yuv420p"), (16, 128, 128), strict=True)
        ),
    )
    draw_boxes(rgb, boxes, colours=colours, format="rgb24", line_width=line_width)
    draw_boxes(frame, boxes, colours=colours, format="yuv420p", line_width=line_width)
    luma, cb, cr = np.moveaxis(
        colours_in(rgb.reshape(-1, 3), "yuv420p", "bt601", "limited").reshape(26, 28, 3), 2, 0
    ).astype(np.float64)
    np.testing.assert_array_equal(frame[0], luma)
    for ours, pixels in zip(frame[1:], (cb, cr), strict=True):
        mean = pixels.reshape(13, 2, 14, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(ours, mean, rtol=0, atol=0.5)  # one rounding


def test_defaults_grow_with_the_frame() -> None:
    small, large = np.zeros((100, 160, 3), np.uint8), np.zeros((2160, 3840, 3), np.uint8)
    for frame, line in ((small, 1), (large, 7)):
        height, width = frame.shape[:2]
        box = np.array([[width // 4, height // 4, width // 2, height // 2]], np.float32)
        draw_boxes(frame, box, colours=np.full((1, 3), 255, np.uint8))
        assert frame[height // 3].any(axis=1).sum() == 2 * line


@formats
@pytest.mark.parametrize("width", SIDES)
@pytest.mark.parametrize("height", [1, 2, 5, 8])
def test_colorize_matches_the_reference(format_: CanvasFormat, width: int, height: int) -> None:
    labels, palette = label_map((height, width), 40), random_colours(40)
    expected = reference.colorize(labels, palette, format=format_)
    for sentinel in (0, 255):  # whatever it leaves out shows against one of the two
        out = tuple(np.full(s, sentinel, np.uint8) for s in shapes((height, width), format_))
        assert colorize(labels, palette, format=format_, out=out) is out
        assert_equal(out, expected)
    assert_equal(as_planes(colorize(labels, palette, format=format_)), expected)


@formats
@pytest.mark.parametrize("width", SIDES)
@pytest.mark.parametrize("height", [1, 2, 5, 8])
def test_blend_matches_the_reference(format_: CanvasFormat, width: int, height: int) -> None:
    labels, palette = label_map((height, width), 40), random_colours(38)
    options: dict[str, Any] = {"alpha": 0.37, "format": format_, "ignore": [0, 7, 38, 39]}
    whole, frame = windows((height, width), format_)
    for plane, pixels in zip(frame, random_frame((height, width), format_), strict=True):
        plane[:] = pixels
    expected = reference.blend_labels(frame, labels, palette, **options)
    blend_labels(frame, labels, palette, **options)
    assert_equal(frame, expected)
    for plane in frame:
        plane[:] = 99
    assert all((plane == 99).all() for plane in whole)


@formats
@pytest.mark.parametrize("alpha", [0.0, 0.001, 0.25, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("value", [0, 1, 127, 128, 254, 255])
def test_blend_at_the_ends_of_its_range(format_: CanvasFormat, alpha: float, value: int) -> None:
    frame = tuple(np.full(shape, value, np.uint8) for shape in shapes((66, 70), format_))
    labels, palette = label_map((66, 70), 256), random_colours(256)
    palette[::3], palette[1::3] = 0, 255
    expected = reference.blend_labels(frame, labels, palette, alpha=alpha, format=format_)
    blend_labels(frame, labels, palette, alpha=alpha, format=format_)
    assert_equal(frame, expected)


@formats
@given(data=st.data())
def test_flat_regions_match_the_reference(format_: CanvasFormat, data: st.DataObject) -> None:
    # Maps are mostly flat: blocks of one label, ignored or not, are a case of their own.
    labels = np.zeros((6, 200), np.uint8)
    for x in data.draw(st.lists(st.integers(0, 199), max_size=4)):
        labels[:, x:] = data.draw(st.integers(0, 3))
    palette, frame = random_colours(4), random_frame((6, 200), format_)
    options: dict[str, Any] = {"format": format_, "ignore": [0]}
    expected = reference.blend_labels(frame, labels, palette, **options)
    blend_labels(frame, labels, palette, **options)
    assert_equal(frame, expected)
    picture = as_planes(colorize(labels, palette, format=format_))
    assert_equal(picture, reference.colorize(labels, palette, format=format_))


def test_colorize_is_indexing() -> None:
    labels, palette = label_map((50, 71), 256), random_colours(256)
    np.testing.assert_array_equal(colorize(labels, palette, format="rgb24"), palette[labels])
    np.testing.assert_array_equal(colorize(labels, palette), palette[labels][..., ::-1])


def test_blend_agrees_with_cv2() -> None:
    labels, palette = label_map((50, 71), 256), random_colours(256)
    (frame,) = random_frame((50, 71), "rgb24")
    expected = cv2.addWeighted(frame, 0.75, palette[labels], 0.25, 0)
    blend_labels(frame, labels, palette, alpha=0.25, format="rgb24")
    assert np.abs(frame.astype(int) - expected).max() <= 1  # it rounds halves to even


def test_a_flipped_map_in_a_flipped_frame() -> None:
    labels, palette = label_map((20, 70), 9), random_colours(9)
    out = np.zeros((20, 70, 3), np.uint8)
    colorize(labels[::-1], palette, format="rgb24", out=out[::-1])
    np.testing.assert_array_equal(out, palette[labels])
    thinned = colorize(labels[:, ::2], palette, format="rgb24")
    np.testing.assert_array_equal(thinned, palette[labels[:, ::2]])


@pytest.mark.parametrize("format_", ["yuv420p", "nv12"])
def test_the_one_array_of_a_planar_format_is_drawn_into(format_: CanvasFormat) -> None:
    array = np.full((60, 48), 128, np.uint8)
    planes = copied(planes_of("test", array, format_))
    box, colours = np.array([[5, 6, 40, 30]], np.float32), random_colours(1)
    draw_boxes(array, box, colours=colours, labels=["cat"], format=format_)
    draw_boxes(planes, box, colours=colours, labels=["cat"], format=format_)
    assert_equal(planes_of("test", array, format_), planes)
    assert (planes[1] != 128).any()


def label_map(size_hw: tuple[int, int], count: int) -> Bytes:
    return np.random.default_rng(7).integers(0, count, size_hw, np.uint8)


def as_planes(frame: Bytes | Planes) -> Planes:
    return frame if isinstance(frame, tuple) else (frame,)


BOX, COLOUR = np.zeros((1, 4), np.float32), np.zeros((1, 3), np.uint8)
FRAME, LABELS = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)


def read_only(frame: Bytes) -> Bytes:
    frame = frame.copy()
    frame.flags.writeable = False
    return frame


REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (
        lambda: draw_boxes(FRAME, BOX, colours=COLOUR, format="yuyv422"),  # type: ignore[arg-type]
        ValueError,
        "draw_boxes: `format` must be one of bgr24, rgb24, gray8, yuv420p, nv12, got 'yuyv422'.",
    ),
    (
        lambda: draw_boxes(FRAME, BOX, colours=COLOUR, matrix="bt2020"),  # type: ignore[arg-type]
        ValueError,
        "draw_boxes: `matrix` must be one of bt601, bt709, got 'bt2020'.",
    ),
    (
        lambda: draw_boxes(FRAME, BOX, colours=COLOUR, range="tv"),  # type: ignore[arg-type]
        ValueError,
        "draw_boxes: `range` must be one of limited, full, got 'tv'.",
    ),
    (
        lambda: draw_boxes(read_only(FRAME), BOX, colours=COLOUR),
        ValueError,
        "draw_boxes: `frame` must be writeable, got a read-only array. Draw into a copy: ",
    ),
    (
        lambda: draw_boxes(FRAME[:, ::2], BOX, colours=COLOUR),
        ValueError,
        "draw_boxes: `frame` must hold the pixels of each row densely, got strides (18, 6, 1).",
    ),
    (
        lambda: draw_boxes(np.zeros((6, 12), np.uint8)[:, ::2], BOX, colours=COLOUR, format="nv12"),
        ValueError,
        "draw_boxes: `frame` must hold the pixels of each row densely, got strides (12, 2).",
    ),
    (
        lambda: draw_boxes(FRAME.astype(np.float32), BOX, colours=COLOUR),  # type: ignore[arg-type]
        TypeError,
        "draw_boxes: `frame` must be uint8, got float32.",
    ),
    (
        lambda: draw_boxes(FRAME, BOX.astype(np.float64), colours=COLOUR),  # type: ignore[arg-type]
        TypeError,
        "draw_boxes: `boxes_xyxy` must be float32, got float64.",
    ),
    (
        lambda: draw_boxes(FRAME, BOX, colours=np.zeros((2, 3), np.uint8)),
        ValueError,
        "draw_boxes: `colours` must have shape (1, 3), got (2, 3).",
    ),
    (
        lambda: draw_boxes(FRAME, BOX, colours=COLOUR, labels=["a", "b"]),
        ValueError,
        "draw_boxes: `labels` must have one text per box, 1, got 2.",
    ),
    (
        lambda: draw_boxes(FRAME, BOX, colours=COLOUR, line_width=0),
        ValueError,
        "draw_boxes: `line_width` must be at least 1, got 0.",
    ),
    (
        lambda: draw_boxes(FRAME, BOX, colours=COLOUR, font_size=5000),
        ValueError,
        "draw_boxes: `font_size` must be at most 4096, got 5000.",
    ),
    (
        lambda: colorize(LABELS.astype(np.int32), COLOUR),  # type: ignore[arg-type]
        TypeError,
        "colorize: `labels` must be uint8, got int32.",
    ),
    (
        lambda: colorize(LABELS[:0], COLOUR),
        ValueError,
        "colorize: `labels` must hold at least 1 pixel, got (0, 6).",
    ),
    (
        lambda: colorize(LABELS, COLOUR[:0]),
        ValueError,
        "colorize: `palette` must hold 1 to 256 colours, got 0.",
    ),
    (
        lambda: colorize(LABELS + np.uint8(3), COLOUR),
        ValueError,
        "colorize: `labels` must be below the number of colours, 1, got 3. Give `palette` a",
    ),
    (
        lambda: colorize(LABELS, COLOUR, out=np.zeros((4, 5, 3), np.uint8)),
        ValueError,
        "colorize: `out` must have the size of `labels`, (4, 6), got (4, 5).",
    ),
    (
        lambda: colorize(LABELS, COLOUR, out=read_only(FRAME)),
        ValueError,
        "colorize: `out` must be writeable",
    ),
    (
        lambda: blend_labels(FRAME, LABELS[1:], COLOUR),
        ValueError,
        "blend_labels: `labels` must have shape (4, 6), got (3, 6).",
    ),
    (
        lambda: blend_labels(FRAME, LABELS, COLOUR, alpha=1.5),
        ValueError,
        "blend_labels: `alpha` must be in [0, 1], got 1.5.",
    ),
    (
        lambda: blend_labels(FRAME, LABELS, COLOUR, ignore=[0, 256]),
        ValueError,
        "blend_labels: `ignore` must hold labels in 0..255, got 256.",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refuses(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="^" + re.escape(message)):
        call()


def test_a_label_without_a_colour_leaves_the_frame_alone() -> None:
    (frame,) = random_frame((4, 70), "bgr24")
    before = frame.copy()
    labels = np.zeros((4, 70), np.uint8)
    labels[3, 69] = 2
    with pytest.raises(ValueError, match="must be below the number of colours, 2, got 2"):
        blend_labels(frame, labels, random_colours(2))
    np.testing.assert_array_equal(frame, before)
    blend_labels(frame, labels, random_colours(2), ignore=2)
    np.testing.assert_array_equal(frame[3, 69], before[3, 69])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_words": np.array([2], np.int32)}, "the words must account for all masks"),
        ({"num_words": np.array([-1], np.int32)}, "the words must account for all masks"),
        ({"word_widths": np.array([-3], np.int32)}, "the words must account for all masks"),
        ({"word_widths": np.array([4], np.int32)}, "the words must account for all masks"),
        ({"masks": np.zeros(7, np.uint8)}, "the words must account for all masks"),
        ({"mask_height": 3}, "the words must account for all masks"),
        ({"num_words": np.array([1, 0], np.int32)}, "must have a row per box"),
        ({"line_width": 0}, "`line_width` must be at least 1"),
        ({"planes": [FRAME, LABELS]}, "must be the planes of one frame"),
        ({"planes": [LABELS, LABELS]}, "must be the planes of one frame"),
        ({"planes": []}, "must be the planes of one frame"),
        ({"planes": [FRAME[:, ::2]]}, "must hold each row densely"),
    ],
)
def test_the_native_function_reads_and_writes_nothing_outside(
    change: dict[str, Any], message: str
) -> None:
    good: dict[str, Any] = {
        "planes": [FRAME.copy()],
        "boxes_xyxy": BOX,
        "colours": np.zeros((1, 2, 3), np.uint8),
        "line_width": 1,
        "num_words": np.array([1], np.int32),
        "word_widths": np.array([3], np.int32),
        "masks": np.zeros(6, np.uint8),
        "mask_height": 2,
    }
    draw_boxes_cpu(**good)
    with pytest.raises(ValueError, match=message):
        draw_boxes_cpu(**good | change)
