"""Colours in planes, against the standards' formulas in exact fractions and against cv2."""

from fractions import Fraction
from math import floor

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.colour import (
    CANVAS_FORMATS,
    PALETTE_RGB,
    CanvasFormat,
    class_colours,
    colours_in,
    rgb_to_yuv,
    text_colours,
)
from edgecv.frame_formats import (
    COLOUR_MATRICES,
    COLOUR_RANGES,
    ColourMatrix,
    ColourRange,
)

colours = st.tuples(*[st.integers(0, 255)] * 3)


@given(
    colour=colours, matrix=st.sampled_from(COLOUR_MATRICES), range_=st.sampled_from(COLOUR_RANGES)
)
def test_follows_the_standard(
    colour: tuple[int, int, int], matrix: ColourMatrix, range_: ColourRange
) -> None:
    kr, kb = {
        "bt601": (Fraction("0.299"), Fraction("0.114")),
        "bt709": (Fraction("0.2126"), Fraction("0.0722")),
    }[matrix]
    black, luma, chroma = {"limited": (16, 219, 224), "full": (0, 255, 255)}[range_]
    red, green, blue = (Fraction(value, 255) for value in colour)
    y = kr * red + (1 - kr - kb) * green + kb * blue
    exact = (
        black + luma * y,
        128 + chroma * (blue - y) / (2 * (1 - kb)),
        128 + chroma * (red - y) / (2 * (1 - kr)),
    )
    expected = [min(floor(value + Fraction(1, 2)), 255) for value in exact]
    assert rgb_to_yuv(np.array([colour], np.uint8), matrix, range_)[0].tolist() == expected


def test_full_range_agrees_with_cv2() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (500, 3), np.uint8)
    y_cr_cb = cv2.cvtColor(rgb[None], cv2.COLOR_RGB2YCrCb)[0].astype(int)
    ours = rgb_to_yuv(rgb, "bt601", "full").astype(int)
    assert np.abs(ours[:, [0, 2, 1]] - y_cr_cb).max() <= 1  # its weights have 14 bits


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("rgb24", [255, 0, 0]),
        ("bgr24", [0, 0, 255]),
        ("yuv420p", [81, 90, 240]),
        ("nv12", [81, 90, 240]),
    ],
)
def test_red_in_every_format(format_: CanvasFormat, expected: list[int]) -> None:
    red = np.array([[255, 0, 0]], np.uint8)
    assert colours_in(red, format_, "bt601", "limited")[0].tolist() == expected


@pytest.mark.parametrize("range_", COLOUR_RANGES)
def test_gray_is_full_luma(range_: ColourRange) -> None:
    white_and_red = np.array([[255, 255, 255], [255, 0, 0]], np.uint8)
    assert colours_in(white_and_red, "gray8", "bt601", range_)[:, 0].tolist() == [255, 76]


@pytest.mark.parametrize("format_", CANVAS_FORMATS)
def test_colours_are_rows_of_bytes(format_: CanvasFormat) -> None:
    converted = colours_in(np.zeros((5, 3), np.uint8)[::2], format_, "bt709", "full")
    assert converted.shape == (3, 3)
    assert converted.dtype == np.uint8
    assert converted.flags.c_contiguous


def test_text_is_black_on_light_and_white_on_dark() -> None:
    backgrounds = np.array([[255, 255, 0], [0, 0, 160], [255, 255, 255], [0, 0, 0]], np.uint8)
    assert text_colours(backgrounds)[:, 0].tolist() == [0, 255, 0, 255]


def test_colours_are_stable_and_far_apart() -> None:
    first, again = class_colours(np.array([3, 3 + len(PALETTE_RGB)], np.int32))
    np.testing.assert_array_equal(first, again)
    colours = PALETTE_RGB.astype(np.int64)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2)
    distances[np.diag_indices(len(colours))] = 255
    assert distances.min() >= 60
