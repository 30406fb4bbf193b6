"""Placement's laws for every fit, and worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.placement import FITS, Fit, Placement

sizes_hw = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
fits = st.sampled_from(FITS)


@given(
    frame_hw=sizes_hw,
    size_hw=sizes_hw,
    fit=fits,
    boxes=arrays(np.float32, (3, 4), elements=st.floats(0, 5000, width=32)),
)
def test_to_frame_undoes_to_input(
    frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit, boxes: NDArray[np.float32]
) -> None:
    placement = Placement.of(frame_hw, size_hw, fit)
    there = placement.to_input(boxes)
    back = placement.to_frame(there)
    assert back.dtype == np.float32
    # Product, sum, difference and quotient round once each, in units of the input; the offset's
    # magnitude counts where it cancels.
    scale = np.array(placement.scale_xy * 2)
    magnitude = (np.abs(there) + np.abs(np.array(placement.offset_xy * 2))) / scale + boxes
    # Below the smallest normal number a rounding error is no longer relative to the value.
    tiny = np.finfo(np.float32).tiny
    assert (np.abs(back - boxes) <= 4 * np.finfo(np.float32).eps * magnitude + tiny).all()


@given(frame_hw=sizes_hw, size_hw=sizes_hw, fit=fits)
def test_the_whole_frame_lands_on_its_rectangle(
    frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit
) -> None:
    placement = Placement.of(frame_hw, size_hw, fit)
    (height, width), (left, top) = placement.resized_hw, placement.offset_xy
    frame = np.array([[0, 0, frame_hw[1], frame_hw[0]]], np.float32)
    expected = [[left, top, left + width, top + height]]
    np.testing.assert_allclose(placement.to_input(frame), expected, rtol=1e-6, atol=1e-3)


@given(frame_hw=sizes_hw, size_hw=sizes_hw, fit=st.sampled_from(["letterbox", "top-left"]))
def test_bars_surround_a_frame_that_touches_two_sides(
    frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit
) -> None:
    placement = Placement.of(frame_hw, size_hw, fit)
    bars = np.subtract(size_hw, placement.resized_hw)
    assert bars.min() == 0
    before = np.array(placement.offset_xy[::-1])
    after = bars - before
    if fit == "top-left":
        assert not before.any()
    else:
        assert set((after - before).tolist()) <= {0, 1}  # an odd bar is wider at the end


@given(frame_hw=sizes_hw, size_hw=sizes_hw)
def test_centre_crop_covers_the_input(frame_hw: tuple[int, int], size_hw: tuple[int, int]) -> None:
    placement = Placement.of(frame_hw, size_hw, "centre-crop")
    beyond = np.subtract(placement.resized_hw, size_hw)
    assert beyond.min() == 0
    before = -np.array(placement.offset_xy[::-1])
    assert set((before - (beyond - before)).tolist()) <= {0, 1}


@given(frame_hw=sizes_hw, size_hw=sizes_hw, fit=st.sampled_from(FITS[:2] + FITS[3:]))
def test_the_aspect_ratio_is_kept_to_half_a_pixel(
    frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit
) -> None:
    placement = Placement.of(frame_hw, size_hw, fit)
    ratios = np.divide(size_hw, frame_hw)
    ratio = ratios.max() if fit == "centre-crop" else ratios.min()
    exact = np.maximum(1, np.array(frame_hw) * ratio)
    assert np.abs(placement.resized_hw - exact).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("frame_hw", "size_hw", "fit", "resized_hw", "offset_xy"),
    [
        ((720, 1280), (640, 640), "letterbox", (360, 640), (0, 140)),
        ((720, 1280), (640, 640), "top-left", (360, 640), (0, 0)),
        ((720, 1280), (640, 640), "stretch", (640, 640), (0, 0)),
        ((720, 1280), (640, 640), "centre-crop", (640, 1138), (-249, 0)),
        ((1280, 720), (640, 640), "letterbox", (640, 360), (140, 0)),
        ((427, 640), (416, 416), "letterbox", (278, 416), (0, 69)),
        ((101, 99), (33, 65), "letterbox", (33, 32), (16, 0)),
        ((1, 1), (3, 2), "letterbox", (2, 2), (0, 0)),
        ((3000, 1), (30, 30), "letterbox", (30, 1), (14, 0)),  # never thinner than a pixel
    ],
)
def test_worked_examples(
    frame_hw: tuple[int, int],
    size_hw: tuple[int, int],
    fit: Fit,
    resized_hw: tuple[int, int],
    offset_xy: tuple[int, int],
) -> None:
    placement = Placement.of(frame_hw, size_hw, fit)
    assert (placement.resized_hw, placement.offset_xy) == (resized_hw, offset_xy)


def test_worked_boxes() -> None:
    placement = Placement.of((720, 1280), (640, 640), "letterbox")
    inputs = np.array([[320, 320, 640, 500]], np.float32)
    np.testing.assert_array_equal(placement.to_frame(inputs), [[640, 360, 1280, 720]])


def test_boxes_are_not_clipped() -> None:
    placement = Placement.of((10, 10), (20, 20), "stretch")
    outside = np.array([[-5, -1, 15, 11]], np.float32)
    np.testing.assert_array_equal(placement.to_input(outside), [[-10, -2, 30, 22]])


@pytest.mark.parametrize(
    ("frame_hw", "size_hw"),
    [((0, 5), (5, 5)), ((5, 0), (5, 5)), ((5, 5), (0, 5)), ((5, 5), (5, -1))],
)
@pytest.mark.parametrize("fit", FITS)
def test_refuses_an_empty_side(
    frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit
) -> None:
    with pytest.raises(ValueError, match="every side must be at least 1 pixel, got"):
        Placement.of(frame_hw, size_hw, fit)


def test_refuses_an_unknown_fit() -> None:
    with pytest.raises(ValueError, match=r"`fit` must be one of letterbox, .*, got 'crop'"):
        Placement.of((5, 5), (5, 5), "crop")  # type: ignore[arg-type]
