"""The fit of packed frames to planes of floats: what is read of a row, and how its outputs align.

Elsewhere its results come from several stages, as those in `hwc` do on every processor: the two are
equal to the bit.
"""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.placement import FITS, Fit

from .fits import IMAGENET_STD, assert_fits_by_stages

Packed = Literal["bgr24", "rgb24"]
PACKED: tuple[Packed, ...] = ("bgr24", "rgb24")

# Two blends in Q7 and their weights, as in test_letterbox.py, and the floats' own rounding.
TOLERANCE = (3 * 0.5 / 128 + 5 * 255 / 65536 + 1e-3) / 255 / min(IMAGENET_STD)

# Rows of 63 bytes and of one, two or three windows of 64, and a pixel less and more.
FRAME_WIDTHS = [20, 21, 22, 23, 41, 42, 43, 44, 63, 64, 65, 85, 86, 127, 128, 129]
# Around 8 and 16 outputs, and more of them.
INPUT_WIDTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 64, 65, 67]
RATIOS = [1, 1.01, 1.5, 2, 2.4, 2.7, 3, 3.1, 4, 5, 5.8, 6, 7, 9.3, 15, 22, 25]


def noise(height: int, width: int, *, row_bytes: int | None = None) -> NDArray[np.uint8]:
    """A frame whose first and last bytes are those of its allocation, rows `row_bytes` apart."""
    row_bytes = row_bytes or 3 * width
    rng = np.random.default_rng(height * width)
    buffer = rng.integers(0, 256, (height - 1) * row_bytes + 3 * width, np.uint8)
    return np.lib.stride_tricks.as_strided(buffer, (height, width, 3), (row_bytes, 3, 1))


def assert_fits(
    frame: NDArray[np.uint8], size_hw: tuple[int, int], fit: Fit = "stretch", **options: Any
) -> None:
    assert_fits_by_stages(frame, size_hw, fit, tolerance=TOLERANCE, **options)


@pytest.mark.parametrize("frame_width", FRAME_WIDTHS)
@pytest.mark.parametrize("input_width", [1, 8, 11, 16, 21, 43, 70])
def test_every_end_of_a_row(frame_width: int, input_width: int) -> None:
    assert_fits(noise(5, frame_width), (3, input_width))


@pytest.mark.parametrize("input_width", INPUT_WIDTHS)
@pytest.mark.parametrize("ratio", [1, 2, 3.1])
def test_every_number_of_outputs(input_width: int, ratio: float) -> None:
    assert_fits(noise(4, max(22, round(ratio * input_width))), (2, input_width))


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("vertical_ratio", [1, 2, 3, 3.4])
def test_every_ratio(ratio: float, vertical_ratio: float) -> None:
    assert_fits(noise(round(5 * vertical_ratio), round(37 * ratio)), (5, 37))


@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("width", [66, 99, 100, 250])
def test_every_order_of_channels(form: Packed, colour: str, width: int) -> None:
    assert_fits(noise(6, width), (3, 33), format=form, colour=colour)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("frame_hw", [(90, 50), (50, 90), (64, 64), (31, 200), (200, 31)])
@pytest.mark.parametrize("size_hw", [(30, 30), (29, 17), (17, 41)])
def test_every_placement(fit: Fit, frame_hw: tuple[int, int], size_hw: tuple[int, int]) -> None:
    assert_fits(noise(*frame_hw), size_hw, fit)


@pytest.mark.parametrize("width", [22, 43, 64, 129])
def test_rows_apart_and_upside_down(width: int) -> None:
    frame = noise(7, width, row_bytes=3 * width + 5)
    assert_fits(frame, (4, 20))
    assert_fits(frame[::-1], (4, 20))
    assert_fits(frame[:, 1:], (4, 20))


@given(
    frame_hw=st.tuples(st.integers(1, 30), st.integers(20, 300)),
    size_hw=st.tuples(st.integers(1, 20), st.integers(1, 70)),
    fit=st.sampled_from(FITS),
)
def test_any_size(frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit) -> None:
    assert_fits(noise(*frame_hw), size_hw, fit)
