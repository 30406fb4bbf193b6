"""What the tests of letterbox share: where it runs, and frames that lie anywhere in memory."""

import ctypes
import mmap
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.frame_formats import FrameFormat, Pixels
from edgecv.kernels import letterbox, letterbox_batch, reference
from edgecv.kernels.cuda.frames import GPU_FORMATS
from edgecv.placement import Fit, Placement

from .conftest import PLACES, Place
from .device_slices import DeviceSlice

Plane = NDArray[np.uint8]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def on_places(*forms: FrameFormat) -> pytest.MarkDecorator:
    """Parametrise `place` and `form`: every format on every place that takes it."""
    return pytest.mark.parametrize(
        ("place", "form"),
        [
            pytest.param(name, form, marks=marks)
            for name, marks in PLACES.items()
            for form in forms
            if name == "cpu" or form in GPU_FORMATS
        ],
        indirect=["place"],
    )


def moved(place: Place, frame: Pixels) -> Any:
    """Return the frame there, each plane in an array of its own."""
    if isinstance(frame, tuple):
        return tuple(place.array(plane) for plane in frame)
    return place.array(frame)


def fit_one(
    place: Place, frame: Any, size_hw: tuple[int, int], out: Any = None, **options: Any
) -> tuple[Any, Placement]:
    """Fit a frame that is there; in Triton a batch of one, which is all that it has."""
    if place.implementation == "auto":
        return letterbox(frame, size_hw, out=out, **options)
    if options.get("interpolation") == "area":
        pytest.skip("Triton's letterbox has no interpolation but bilinear")
    batch = None if out is None else out[None]
    inputs, (placement,) = letterbox_batch(
        [frame], size_hw, out=batch, implementation=place.implementation, **options
    )
    return inputs[0] if out is None else out, placement


def fitted(
    place: Place, frame: Pixels, size_hw: tuple[int, int], **options: Any
) -> tuple[NDArray[Any], Placement]:
    """Fit into a poisoned output: an element that nobody writes stays NaN or 0xA5."""
    channels = 1 if options.get("colour") == "gray" else 3
    shape = (*size_hw, channels) if options.get("layout") == "hwc" else (channels, *size_hw)
    out = place.poisoned(shape, options.get("dtype", "float32"))
    returned, placement = fit_one(place, moved(place, frame), size_hw, out, **options)
    assert returned is out
    return place.numpy(out), placement


def assert_fits_by_stages(
    frame: Pixels, size_hw: tuple[int, int], fit: Fit, *, tolerance: float, **options: Any
) -> None:
    """Compare what is fused for such frames with the definition, and with the stages to the bit."""
    options = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **options}
    out = np.full((3, *size_hw), np.nan, np.float32)
    _, placement = letterbox(frame, size_hw, fit=fit, out=out, **options)
    by_stages, _ = letterbox(frame, size_hw, fit=fit, layout="hwc", **options)
    np.testing.assert_array_equal(out, np.moveaxis(by_stages, 2, 0))
    expected = reference.letterbox(frame, placement, scale=1 / 255, pad=114, **options)
    np.testing.assert_allclose(out, expected, rtol=0, atol=tolerance)


def sliced(place: Place, room: NDArray[Any], view: NDArray[Any], whole: Any = None) -> Any:
    """Return `view`, a view into the whole array `room`, with the same strides there.

    It lies in `whole` if the room has been taken there before.
    """
    if place.name == "cpu":
        return view
    offset = view.__array_interface__["data"][0] - room.__array_interface__["data"][0]
    whole = place.array(room) if whole is None else whole
    if place.name == "triton":
        strides = [stride // view.itemsize for stride in view.strides]
        return whole.as_strided(view.shape, strides, offset // view.itemsize)
    return DeviceSlice(whole, view.shape, view.dtype, offset, view.strides)


def between_guards(plane: Plane, *, at_end: bool) -> Plane:
    """Return the plane in pages of its own, with its first or last byte next to forbidden ones."""
    page = mmap.PAGESIZE
    num_pages = -(-plane.nbytes // page)
    pages = mmap.mmap(-1, (num_pages + 2) * page)
    room = np.frombuffer(pages, np.uint8)  # keeps the pages
    protect = ctypes.CDLL(None).mprotect
    for forbidden in (0, num_pages + 1):
        address = ctypes.c_void_p(room.ctypes.data + forbidden * page)
        assert protect(address, ctypes.c_size_t(page), 0) == 0
    begin = (num_pages + 1) * page - plane.nbytes if at_end else page
    guarded = room[begin : begin + plane.nbytes].reshape(plane.shape)
    guarded[...] = plane
    return guarded
