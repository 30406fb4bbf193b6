"""Keypoints in frames: discs and limbs where they belong, in every format that is drawn in."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.colour import CANVAS_FORMATS, PALETTE_RGB, CanvasFormat, colours_in, text_colours
from edgecv.frame_formats import planes_of
from edgecv.results import Poses
from edgecv.stream.annotate import annotated
from edgecv.stream.draw import draw_detections
from edgecv.stream.draw_poses import LEAST_SCORE, draw_poses
from edgecv.stream.sources import Frame

GREY = 90
SIZE_HW = (200, 300)
RADIUS = 1.5  # of a frame this small


def poses(*objects: list[tuple[float, float, float]], limbs: bool = True) -> Poses:
    keypoints = np.array(objects, np.float32).reshape(len(objects), -1, 3)
    count, names = len(objects), tuple(f"point_{i}" for i in range(keypoints.shape[1]))
    return Poses(
        np.zeros((count, 4), np.float32),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.arange(count, dtype=np.int32),
        keypoints,
        names,
        tuple((i, i + 1) for i in range(len(names) - 1)) if limbs else (),
    )


def blank(format_: CanvasFormat, size_hw: tuple[int, int] = SIZE_HW) -> tuple[NDArray, ...]:
    height, width = size_hw
    half = (height + 1) // 2, (width + 1) // 2
    shapes = {"gray8": [(height, width)], "yuv420p": [(height, width), half, half]}
    shapes["nv12"] = [(height, width), (*half, 2)]
    wanted = shapes.get(format_, [(height, width, 3)])
    return tuple(np.full(shape, GREY, np.uint8) for shape in wanted)


def drawn(found: Poses, format_: CanvasFormat, size_hw: tuple[int, int] = SIZE_HW) -> tuple:
    planes = blank(format_, size_hw)
    colours = PALETTE_RGB[: len(found)]
    draw_poses(planes, found, colours=colours, format=format_)
    return planes_of("test", planes, format_)


def test_a_point_is_a_disc_on_a_legible_rim() -> None:
    (pixels,) = drawn(poses([(100.5, 80.5, 0.9)]), "rgb24")
    rows, columns = np.mgrid[:200, :300] + 0.5
    distance = np.hypot(columns - 100.5, rows - 80.5)
    colour, rim = PALETTE_RGB[0], text_colours(PALETTE_RGB[:1])[0]
    assert (pixels[distance <= RADIUS] == colour).all()
    assert (pixels[(distance > RADIUS) & (distance <= 1.4 * RADIUS)] == rim).all()
    assert (pixels[distance > 1.4 * RADIUS] == GREY).all()


def test_a_limb_is_a_line_between_its_ends_below_the_discs() -> None:
    found = poses([(20, 50, 0.9), (220, 150, 0.9), (260, 30, LEAST_SCORE / 2)])
    (pixels,) = drawn(found, "rgb24")
    rows, columns = np.mgrid[:200, :300] + 0.5
    start, step = np.array([20.0, 50.0]), np.array([200.0, 100.0])
    along = ((columns - start[0]) * step[0] + (rows - start[1]) * step[1]) / (step @ step)
    across = np.abs((columns - start[0]) * step[1] - (rows - start[1]) * step[0])
    across /= np.hypot(*step)
    is_middle = (along > 0.05) & (along < 0.95)
    is_line = (pixels == PALETTE_RGB[0]).all(axis=-1)
    np.testing.assert_array_equal(is_line[is_middle], (across <= 0.5 * RADIUS)[is_middle])
    assert (pixels[20:40, 250:270] == GREY).all()  # what the model is not sure of is left out
    (bare,) = drawn(poses([(20, 50, 0.9), (220, 150, 0.9)], limbs=False), "rgb24")
    assert (bare[is_middle] == GREY).all()


def test_discs_grow_with_the_frame() -> None:
    for size_hw, radius in (((720, 1280), 4.0), ((2160, 3840), 12.0)):
        (pixels,) = drawn(poses([(300.5, 400.5, 0.9)]), "rgb24", size_hw)
        row = (pixels[400] == PALETTE_RGB[0]).all(axis=-1)
        assert row.sum() == 2 * int(radius) + 1


def test_the_first_object_is_on_top() -> None:
    (pixels,) = drawn(poses([(50.5, 60.5, 0.9)], [(50.5, 60.5, 0.9)]), "rgb24")
    assert pixels[60, 50].tolist() == PALETTE_RGB[0].tolist()


@pytest.mark.parametrize("format_", CANVAS_FORMATS)
@pytest.mark.parametrize("size_hw", [(200, 300), (47, 63)])
def test_every_format_shows_the_same(format_: CanvasFormat, size_hw: tuple[int, int]) -> None:
    found = poses([(10.5, 11.5, 0.9), (62.4, 46.3, 0.9)], [(0.2, 0.3, 0.9), (31.0, 46.9, 0.9)])
    (rgb,) = drawn(found, "rgb24", size_hw)
    planes = drawn(found, format_, size_hw)
    is_drawn = (rgb != GREY).any(axis=-1)
    known = np.concatenate([PALETTE_RGB[:2], text_colours(PALETTE_RGB[:2])])
    codes = colours_in(known, format_, "bt601", "limited")
    # The colour of every pixel by the packed picture; grey where there is none.
    index = np.argmax((rgb[:, :, None] == known).all(axis=-1), axis=-1)
    if len(planes) == 1:
        wanted = np.where(is_drawn[..., None], codes[index], GREY)
        np.testing.assert_array_equal(
            planes[0].reshape(*size_hw, -1), wanted[..., : planes[0].size // is_drawn.size]
        )
        return
    np.testing.assert_array_equal(planes[0], np.where(is_drawn, codes[index, 0], GREY))
    chroma = planes[1:] if format_ == "yuv420p" else np.moveaxis(planes[1], 2, 0)
    for plane, value in zip(chroma, (1, 2), strict=True):
        whole = np.where(is_drawn, codes[index, value], GREY).astype(float)
        odd = [(0, side % 2) for side in size_hw]
        padded = np.pad(whole, odd, constant_values=np.nan)
        blocks = padded.reshape(plane.shape[0], 2, plane.shape[1], 2)
        mean = np.nanmean(blocks, axis=(1, 3))
        np.testing.assert_array_equal(plane, np.floor(mean + 0.5))


def test_points_lie_under_the_labels_of_their_boxes() -> None:
    found = poses([(60, 62, 0.9), (100, 120, 0.9)])
    boxed = replace(found, boxes_xyxy=np.array([[50, 60, 150, 160]], np.float32))
    pixels = np.zeros((*SIZE_HW, 3), np.uint8)
    draw_detections(pixels, boxed, ("cat",), format="rgb24")
    assert pixels[120, 100].tolist() == PALETTE_RGB[0].tolist()
    assert pixels[159, 100].tolist() == PALETTE_RGB[0].tolist()  # the outline of the box


def test_a_frame_shows_its_poses() -> None:
    frame = Frame(0, np.zeros((*SIZE_HW, 3), np.uint8), "bgr24")
    shown = annotated(poses([(60, 62, 0.9)]), frame, ("cat",))
    assert np.asarray(shown.pixels).any()


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    points=st.lists(
        st.tuples(
            *[st.floats(-300, 300, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 1e30])] * 2
        ),
        min_size=2,
        max_size=4,
    ),
    format_=st.sampled_from(CANVAS_FORMATS),
)
def test_any_points_in_any_frame(
    size: tuple[int, int], points: list[tuple[float, float]], format_: CanvasFormat
) -> None:
    # The planes are windows of larger arrays: whatever is drawn outside would show.
    found = poses([(x, y, 0.9) for x, y in points])
    larger = blank(format_, (80, 80))
    scale = [1, 2, 2]
    windows = tuple(
        plane[4 : 4 + -(-size[0] // s), 4 : 4 + -(-size[1] // s)]
        for plane, s in zip(larger, scale, strict=False)
    )
    draw_poses(windows, found, colours=PALETTE_RGB[:1], format=format_)
    for window in windows:
        window[...] = GREY
    assert all((plane == GREY).all() for plane in larger)


def test_a_frame_that_cannot_be_drawn_in_is_refused() -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels.flags.writeable = False
    with pytest.raises(ValueError, match="draw_poses: `frame` must be writeable"):
        draw_poses(pixels, poses([(5, 5, 0.9)]), colours=PALETTE_RGB[:1])
