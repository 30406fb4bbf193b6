"""Every implementation of letterbox against the reference, cv2 and its own properties."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.kernels import letterbox, reference
from edgecv.kernels.letterbox import Colour, FrameFormat
from edgecv.placement import FITS, Fit, Placement

Frame = NDArray[np.uint8]
Input = NDArray[np.float32]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

EPS = float(np.finfo(np.float32).eps)

# Two blends, each with a rounded weight, difference, product and sum; gain, product, bias, sum.
# All of values at most 255, in units of which the error is stated.
TOLERANCE = 12 * EPS

# Around the vector width of the gather (8 or 16 lanes) and of the byte blend (16 or 32).
WIDTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 67]


def random_frame(height: int, width: int, *, seed: int = 0) -> Frame:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def poisoned(size_hw: tuple[int, int]) -> Input:
    """An output in which an element that nobody writes stays NaN."""
    return np.full((3, *size_hw), np.nan, np.float32)


def assert_matches_reference(frame: Frame, size_hw: tuple[int, int], fit: Fit) -> None:
    out = poisoned(size_hw)
    _, placement = letterbox(frame, size_hw, fit=fit, mean=MEAN, std=STD, pad=114, out=out)
    expected = reference.letterbox(
        frame, placement, reverse_channels=True, scale=1 / 255, mean=MEAN, std=STD, pad=114
    )
    np.testing.assert_allclose(out, expected, rtol=0, atol=TOLERANCE / min(STD))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("width", WIDTHS)
def test_matches_reference_at_every_source_width(fit: Fit, width: int) -> None:
    assert_matches_reference(random_frame(11, width), (13, 17), fit)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("width", WIDTHS)
def test_matches_reference_at_every_input_width(fit: Fit, width: int) -> None:
    assert_matches_reference(random_frame(19, 23), (9, width), fit)


@given(
    frame_hw=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    size_hw=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    fit=st.sampled_from(FITS),
)
def test_matches_reference_at_any_size(
    frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit
) -> None:
    assert_matches_reference(random_frame(*frame_hw), size_hw, fit)


@given(
    value=st.integers(0, 255),
    frame_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(FITS),
)
def test_a_flat_frame_on_bars_of_its_colour_stays_flat(
    value: int, frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit
) -> None:
    frame = np.full((*frame_hw, 3), value, np.uint8)
    out, _ = letterbox(frame, size_hw, fit=fit, scale=1.0, pad=value)
    np.testing.assert_array_equal(out, np.float32(value))


@pytest.mark.parametrize("fit", FITS)
def test_same_size_is_a_copy(fit: Fit) -> None:
    frame = random_frame(33, 47)
    out, placement = letterbox(frame, (33, 47), fit=fit, scale=1.0)
    np.testing.assert_array_equal(out, np.moveaxis(frame[..., ::-1], 2, 0))
    assert placement == Placement.of((33, 47), (33, 47), fit)


def test_worked_example() -> None:
    # Two columns, 10 and 50, on four: sample points -0.25, 0.25, 0.75, 1.25, clamped to [0, 1].
    frame = np.repeat(np.array([[[10], [50]]], np.uint8), 3, axis=2)
    out, placement = letterbox(frame, (4, 4), scale=1.0, pad=7)
    row, bar = [10.0, 20.0, 40.0, 50.0], [7.0] * 4
    np.testing.assert_array_equal(out, [[bar, row, row, bar]] * 3)
    assert (placement.resized_hw, placement.offset_xy) == ((2, 4), (0, 1))


@pytest.mark.parametrize(
    ("form", "colour", "expected"),
    [
        ("bgr24", "rgb", [3.0, 2.0, 1.0]),
        ("bgr24", "bgr", [1.0, 2.0, 3.0]),
        ("rgb24", "rgb", [1.0, 2.0, 3.0]),
        ("rgb24", "bgr", [3.0, 2.0, 1.0]),
    ],
)
def test_channel_order(form: FrameFormat, colour: Colour, expected: list[float]) -> None:
    frame = np.array([[[1, 2, 3]]], np.uint8)
    out, _ = letterbox(frame, (1, 1), format=form, colour=colour, scale=1.0)
    np.testing.assert_array_equal(out[:, 0, 0], expected)


def test_mean_and_std_are_in_the_models_colour_order() -> None:
    frame = np.array([[[10, 20, 30]]], np.uint8)  # b, g, r
    out, _ = letterbox(frame, (1, 1), scale=0.5, mean=(5, 1, 3), std=(2, 4, 8))
    np.testing.assert_array_equal(out[:, 0, 0], [(15 - 5) / 2, (10 - 1) / 4, (5 - 3) / 8])


def test_pad_is_a_pixel_value_before_normalisation() -> None:
    out, _ = letterbox(
        random_frame(1, 4), (4, 4), scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3, pad=51
    )
    np.testing.assert_allclose(out[:, 0], (51 / 255 - 0.5) / 0.25, rtol=TOLERANCE)


@pytest.mark.parametrize(
    "view",
    [
        np.s_[5:29, 3:40],
        np.s_[::2, 3:40],
        np.s_[::-1],
        np.s_[:, ::2],
        np.s_[:, :, ::-1],
        np.s_[5:6, 7:8],
    ],
    ids=["crop", "every second row", "upside down", "every second column", "channels", "pixel"],
)
def test_views_are_read_as_they_are(view: tuple[slice, ...] | slice) -> None:
    frame = random_frame(32, 48)[view]
    frame.setflags(write=False)
    actual, _ = letterbox(frame, (20, 20))
    expected, _ = letterbox(frame.copy(order="C"), (20, 20))
    np.testing.assert_array_equal(actual, expected)


def test_a_strip_centre_cropped_reads_its_middle() -> None:
    frame = np.zeros((1, 10_001, 3), np.uint8)
    frame[0, 5000] = 255
    out, placement = letterbox(frame, (64, 64), fit="centre-crop", scale=1.0)
    assert placement.resized_hw == (64, 640_064)
    np.testing.assert_array_equal(out[:, :, 31:33].min(), np.float32(255 * (1 - 0.5 / 64)))


def test_out_is_returned_and_fully_written() -> None:
    out = poisoned((24, 40))
    returned, _ = letterbox(random_frame(10, 10), (24, 40), out=out)
    assert returned is out
    assert np.isfinite(out).all()


@pytest.mark.parametrize("size_hw", [(360, 640), (180, 320), (100, 333), (1000, 900)])
def test_agrees_with_opencv(size_hw: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    frame = random_frame(360, 640)
    resized = cv2.resize(frame, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    out, _ = letterbox(frame, size_hw, fit="stretch", colour="bgr")
    # OpenCV blends 8-bit pixels in fixed point and rounds to a whole pixel value.
    np.testing.assert_allclose(out, np.moveaxis(resized, 2, 0) / 255, rtol=0, atol=1 / 255)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": np.zeros((4, 4), np.uint8)}, r"`frame` must have shape \(H, W, 3\), got \(4, 4"),
        ({"frame": np.zeros((4, 4, 4), np.uint8)}, r"`frame` must have shape"),
        ({"frame": np.zeros((0, 4, 3), np.uint8)}, "`frame` must hold at least 1 pixel"),
        ({"size_hw": (0, 8)}, "`size_hw` must be at least 1, got 0"),
        ({"format": "nv12"}, "`format` must be one of bgr24, rgb24, got 'nv12'"),
        ({"fit": "crop"}, "`fit` must be one of letterbox, .*, got 'crop'"),
        ({"colour": "gray"}, "`colour` must be one of rgb, bgr, got 'gray'"),
        ({"scale": 0.0}, "`scale` must be positive"),
        ({"scale": float("nan")}, "`scale` must be positive"),
        ({"mean": (1.0,)}, "`mean` must hold 3 finite numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "`std` must be positive"),
        ({"std": (1.0, float("nan"), 1.0)}, "`std` must hold 3 finite numbers"),
        ({"pad": 256}, r"`pad` must be in \[0, 255\], got 256"),
        ({"pad": -1}, r"`pad` must be in \[0, 255\], got -1"),
        ({"out": np.zeros((3, 9, 8), np.float32)}, r"`out` must have shape \(3, 8, 8\)"),
        ({"out": np.zeros((8, 8, 3), np.float32).transpose(2, 0, 1)}, "`out` must be C-contiguous"),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "frame": np.zeros((4, 4, 3), np.uint8),
        "size_hw": (8, 8),
    } | options
    with pytest.raises(ValueError, match=f"^letterbox: {message}"):
        letterbox(**arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": np.zeros((4, 4, 3), np.float32)}, "`frame` must be uint8, got float32"),
        ({"frame": [[[0, 0, 0]]]}, "`frame` must be a NumPy array, got list"),
        ({"out": np.zeros((3, 8, 8))}, "`out` must be float32, got float64"),
    ],
)
def test_refuses_types(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "frame": np.zeros((4, 4, 3), np.uint8),
        "size_hw": (8, 8),
    } | options
    with pytest.raises(TypeError, match=f"^letterbox: {message}"):
        letterbox(**arguments)
