"""What the tests of letterbox share: where it runs, and frames that lie anywhere in memory."""

import ctypes
import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.frame_formats import FrameFormat, Pixels
from edgecv.kernels import letterbox
from edgecv.kernels.cuda.frames import GPU_FORMATS
from edgecv.placement import Placement

from .conftest import Place

Plane = NDArray[np.uint8]


def on_places(*forms: FrameFormat) -> pytest.MarkDecorator:
    """Parametrise `place` and `form`: every format on every place that takes it."""
    return pytest.mark.parametrize(
        ("place", "form"),
        [
            pytest.param(name, form, marks=marks)
            for name, marks in (("cpu", ()), ("emulated", ()), ("cuda", pytest.mark.cuda))
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


def fitted(
    place: Place, frame: Pixels, size_hw: tuple[int, int], **options: Any
) -> tuple[NDArray[Any], Placement]:
    """Fit into a poisoned output: an element that nobody writes stays NaN or 0xA5."""
    channels = 1 if options.get("colour") == "gray" else 3
    shape = (*size_hw, channels) if options.get("layout") == "hwc" else (channels, *size_hw)
    out = place.poisoned(shape, options.get("dtype", "float32"))
    returned, placement = letterbox(moved(place, frame), size_hw, out=out, **options)
    assert returned is out
    return place.numpy(out), placement


@dataclass
class DeviceSlice:
    """A view into an array on a GPU, as CuPy would make it: any address and strides."""

    owner: Any
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    typestr: str = "|u1"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.typestr,
            "data": (self.owner.pointer + self.offset, False),
            "strides": self.strides,
            "version": 3,
        }


def sliced(place: Place, room: NDArray[Any], view: NDArray[Any]) -> Any:
    """Return `view`, a view into the whole array `room`, with the same strides there."""
    if place.name == "cpu":
        return view
    offset = view.__array_interface__["data"][0] - room.__array_interface__["data"][0]
    return DeviceSlice(place.array(room), offset, view.shape, view.strides, view.dtype.str)


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
