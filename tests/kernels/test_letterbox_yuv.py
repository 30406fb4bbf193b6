"""The fit of YUV frames to planes of floats: what is read of a row, and how taps share chroma.

Elsewhere its results come from several stages, as those in `hwc` do on every processor: the two are
equal to the bit.
"""

import sys
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.placement import FITS, Fit

from .fits import IMAGENET_STD, assert_fits_by_stages, between_guards

Yuv = Literal["yuv420p", "nv12", "yuyv422"]
Plane = NDArray[np.uint8]
Planes = tuple[Plane, ...]
YUV: tuple[Yuv, ...] = ("yuv420p", "nv12", "yuyv422")

# YUV_ERROR of test_letterbox.py, and the floats' own rounding.
PIXEL_ERROR = 3 * 0.5 / 128 + 5 * 255 / 65536 + 3 * 0.5 / 32 + 239 / 2**14 + 2 * 128 / 2**13
TOLERANCE = (PIXEL_ERROR + 1e-3) / 255 / min(IMAGENET_STD)

# A luma or a chroma row of 63 bytes, of one, two or three windows of 64, and a pixel less and more.
FRAME_WIDTHS = [62, 63, 64, 65, 126, 127, 128, 129, 130, 191, 192, 193, 255, 256, 257, 258]
# Around 16 and 32 outputs, and more of them.
INPUT_WIDTHS = [1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 67]
# Means of two columns that share chroma (2, 6) or do not (4, 8), no blend (3, 5), and the rest.
RATIOS = [1, 1.01, 1.5, 2, 2.4, 3, 3.1, 4, 5, 5.8, 6, 7, 8, 8.1, 15, 16, 17]


def shapes_of(form: Yuv, height: int, width: int) -> tuple[tuple[int, ...], ...]:
    half = (height + 1) // 2, (width + 1) // 2
    if form == "yuv420p":
        return (height, width), half, half
    if form == "nv12":
        return (height, width), (*half, 2)
    return ((height, width, 2),)


def noise(form: Yuv, height: int, width: int, *, extreme: bool = False) -> Planes:
    """Planes of noise: bytes of every value, or of the least and the greatest alone."""
    rng = np.random.default_rng(height * width)
    planes = (rng.integers(0, 256, s, np.uint8) for s in shapes_of(form, height, width))
    return tuple(np.where(p < 128, 0, 255).astype(np.uint8) if extreme else p for p in planes)


def even(form: Yuv, width: int) -> int:
    """Return the width, which packed pairs need to be even."""
    return width + width % 2 if form == "yuyv422" else width


def assert_fits(
    form: Yuv, planes: Planes, size_hw: tuple[int, int], fit: Fit = "stretch", **options: Any
) -> None:
    frame = planes[0] if len(planes) == 1 else planes
    assert_fits_by_stages(frame, size_hw, fit, tolerance=TOLERANCE, format=form, **options)


@pytest.mark.parametrize("form", YUV)
@pytest.mark.parametrize("frame_width", FRAME_WIDTHS)
@pytest.mark.parametrize("input_width", [1, 16, 33, 70])
def test_every_end_of_a_row(form: Yuv, frame_width: int, input_width: int) -> None:
    assert_fits(form, noise(form, 5, even(form, frame_width)), (3, input_width))


@pytest.mark.parametrize("form", YUV)
@pytest.mark.parametrize("input_width", INPUT_WIDTHS)
@pytest.mark.parametrize("ratio", [2, 3, 4.1])
def test_every_number_of_outputs(form: Yuv, input_width: int, ratio: float) -> None:
    width = even(form, max(128, round(ratio * input_width)))
    assert_fits(form, noise(form, 4, width), (2, input_width))


@pytest.mark.parametrize("form", YUV)
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("vertical_ratio", [1, 2, 3, 3.4, 4])
def test_every_ratio(form: Yuv, ratio: float, vertical_ratio: float) -> None:
    # Rows, too, share chroma or do not, are means or not.
    width = even(form, round(130 * ratio))
    assert_fits(form, noise(form, round(5 * vertical_ratio), width), (5, round(width / ratio)))


@pytest.mark.parametrize("form", YUV)
@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("range_", ["limited", "full"])
@pytest.mark.parametrize("input_width", [65, 76, 130])
def test_every_colour(
    form: Yuv, matrix: str, range_: str, colour: str, input_width: int, *, extreme: bool
) -> None:
    # Of extremes, most colours are clamped, and taps differ by all there is.
    planes = noise(form, 6, 130, extreme=extreme)
    assert_fits(form, planes, (3, input_width), colour=colour, matrix=matrix, range=range_)


@pytest.mark.parametrize("form", ["yuv420p", "nv12"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("range_", ["limited", "full"])
def test_every_luma_with_every_extreme_of_chroma(form: Yuv, matrix: str, range_: str) -> None:
    # Column pairs of luma i and 255 - i; rows of chroma for each pair of its extremes.
    luma = np.arange(256, dtype=np.uint8)
    row = np.stack([luma, luma[::-1]], axis=1).reshape(-1)
    chroma = np.array([[0, 0], [0, 255], [255, 0], [255, 255], [128, 0], [1, 128]], np.uint8)
    u, v = (np.repeat(chroma[:, c : c + 1], 256, axis=1) for c in (0, 1))
    y = np.tile(row, (12, 1))
    planes = (y, u, v) if form == "yuv420p" else (y, np.stack([u, v], axis=2))
    for size_hw in ((12, 512), (6, 256), (7, 200)):
        assert_fits(form, planes, size_hw, matrix=matrix, range=range_)


@pytest.mark.parametrize("form", YUV)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("frame_hw", [(90, 150), (150, 130), (31, 300)])
@pytest.mark.parametrize("size_hw", [(30, 30), (29, 17), (17, 70)])
def test_every_placement(
    form: Yuv, fit: Fit, frame_hw: tuple[int, int], size_hw: tuple[int, int]
) -> None:
    assert_fits(form, noise(form, *frame_hw), size_hw, fit)


@pytest.mark.parametrize("form", YUV)
@pytest.mark.parametrize("turned", [False, True], ids=["apart", "apart and upside down"])
def test_rows_apart(form: Yuv, *, turned: bool) -> None:
    planes = noise(form, 9, 150)
    padded = []
    for index, plane in enumerate(planes):
        room = np.full((plane.shape[0], plane.shape[1] + 7 + index, *plane.shape[2:]), 77, np.uint8)
        view = room[:: -1 if turned else 1, 3 : 3 + plane.shape[1]]
        view[...] = plane
        padded.append(view)
    for size_hw in ((4, 75), (9, 150), (3, 40)):
        assert_fits(form, tuple(padded), size_hw)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no mprotect")
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("form", YUV)
@pytest.mark.parametrize("width", [63, 64, 65, 127, 128, 129, 200, 333])
def test_reads_nothing_outside_the_planes(form: Yuv, width: int, *, at_end: bool) -> None:
    planes = noise(form, 6, even(form, width))
    guarded = tuple(between_guards(plane, at_end=at_end) for plane in planes)
    for size_hw in ((6, 20), (3, 33), (3, width // 2), (2, width)):
        assert_fits(form, guarded, size_hw)


@given(
    form=st.sampled_from(YUV),
    frame_hw=st.tuples(st.integers(1, 30), st.integers(60, 500)),
    size_hw=st.tuples(st.integers(1, 20), st.integers(1, 130)),
    fit=st.sampled_from(FITS),
)
def test_any_size(form: Yuv, frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit) -> None:
    assert_fits(form, noise(form, frame_hw[0], even(form, frame_hw[1])), size_hw, fit)
