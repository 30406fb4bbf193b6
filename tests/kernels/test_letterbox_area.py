"""The fit by area interpolation: spans of every length, and sums at their limit."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.frame_formats import FrameFormat, Pixels
from edgecv.kernels import letterbox, reference
from edgecv.kernels.letterbox import Colour
from edgecv.placement import Fit

from .conftest import Place
from .fits import fitted, on_places

# In pixel values of 255, see kernels/letterbox/letterbox.h.
ERRORS: dict[FrameFormat, float] = {
    "bgr24": 0.04,
    "rgb24": 0.04,
    "gray8": 0.04,
    "nv12": 0.15,
    "yuyv422": 0.15,
    "bayer_grbg8": 0.54,
}


def random_frame(form: FrameFormat, height: int, width: int) -> NDArray[np.uint8]:
    """Noise in one array; `nv12` needs even sides."""
    shapes = {
        "bgr24": (height, width, 3),
        "rgb24": (height, width, 3),
        "nv12": (height * 3 // 2, width),
        "yuyv422": (height, width, 2),
    }
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, shapes.get(form, (height, width)), np.uint8)


def assert_matches_reference(
    place: Place,
    frame: Pixels,
    size_hw: tuple[int, int],
    form: FrameFormat,
    *,
    fit: Fit = "stretch",
    colour: Colour = "rgb",
) -> None:
    options: dict[str, Any] = {"format": form, "colour": colour, "interpolation": "area"}
    out, placement = fitted(place, frame, size_hw, fit=fit, scale=1, pad=114, **options)
    expected = reference.letterbox(frame, placement, pad=114, **options)
    np.testing.assert_allclose(out, expected, rtol=0, atol=ERRORS[form])


# Rows that are added in fours, columns alike or one longer than others, and none whole.
@pytest.mark.parametrize("ratio", [1.01, 1.2, 1.5, 1.99, 2, 2.01, 3, 3.4, 4, 4.62, 5, 6, 8.3, 9])
@pytest.mark.parametrize("colour", ["bgr", "gray"])
@on_places("bgr24", "rgb24", "gray8", "nv12", "yuyv422", "bayer_grbg8")
def test_matches_reference_at_every_ratio_of_both_axes(
    place: Place, form: FrameFormat, colour: Colour, ratio: float
) -> None:
    resized_hw = (3, 8)
    height, width = (2 * math.ceil(side * ratio / 2) for side in resized_hw)
    frame = random_frame(form, height, width)
    fits: list[tuple[Fit, tuple[int, int]]]
    fits = [("stretch", resized_hw), ("letterbox", (9, 8)), ("centre-crop", (3, 5))]
    for fit, size_hw in fits:
        assert_matches_reference(place, frame, size_hw, form, fit=fit, colour=colour)


# The sums of up to 257 bytes fit 16 bits, to which longer ones must not be left.
@pytest.mark.parametrize("length", [256, 257, 258, 259, 515, 600])
@on_places("bgr24", "gray8", "nv12")
def test_matches_reference_over_long_spans(place: Place, form: FrameFormat, length: int) -> None:
    for side in (2 * length, 2 * length - 2):
        for frame_hw in ((side, 4), (4, side)):
            frame = random_frame(form, *frame_hw)
            assert_matches_reference(place, frame, (2, 2), form)
            assert_matches_reference(place, frame, (1, 1), form)


@pytest.mark.parametrize("side", [255, 256, 257, 258, 300, 514, 515])
def test_white_stays_white(place: Place, side: int) -> None:
    frame = np.full((side, side, 3), 255, np.uint8)
    for size_hw in ((1, 1), (2, 2), (7, 7)):
        out, _ = fitted(place, frame, size_hw, scale=1, interpolation="area")
        np.testing.assert_array_equal(out, np.full_like(out, 255))


@pytest.mark.parametrize("resized", [1, 5, 20, 21, 32, 47, 63, 64])
@pytest.mark.parametrize("form", ["bgr24", "gray8", "bayer_grbg8"])
def test_reads_a_frame_at_the_end_of_its_buffer(form: FrameFormat, resized: int) -> None:
    frame = random_frame(form, 64, 64)
    cut = frame[5:, 7:]  # its last byte is the last one allocated
    expected, _ = letterbox(cut.copy(), (resized,) * 2, format=form, interpolation="area")
    actual, _ = letterbox(cut, (resized,) * 2, format=form, interpolation="area")
    np.testing.assert_array_equal(actual, expected)
    upside_down = cut[::-1]
    expected, _ = letterbox(upside_down.copy(), (resized,) * 2, format=form, interpolation="area")
    actual, _ = letterbox(upside_down, (resized,) * 2, format=form, interpolation="area")
    np.testing.assert_array_equal(actual, expected)
