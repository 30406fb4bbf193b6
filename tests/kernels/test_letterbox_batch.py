"""Batches of frames: each image is what `letterbox` makes of its frame alone, in any company."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.frame_formats import FRAME_FORMATS, FrameFormat, Pixels
from edgecv.kernels import letterbox_batch, reference
from edgecv.kernels.cuda.frames import GPU_FORMATS
from edgecv.kernels.cuda.native import cuda
from edgecv.kernels.letterbox import ElementType, Interpolation, Layout
from edgecv.placement import FITS, Fit, Placement

from .conftest import Place, heavy
from .fits import fitted, moved, on_places, sliced

IN_TRITON = True
NOT_IN_TRITON = {"interpolation": "area"}

PER_LAUNCH = 32
# In pixel values of 255, see kernels/letterbox/letterbox.h.
PACKED_ERROR, YUV_ERROR, BAYER_ERROR = 0.04, 0.15, 0.54


def noise(form: FrameFormat, height: int, width: int) -> Pixels:
    """Noise that differs from size to size."""
    rng = np.random.default_rng(1000 * height + width)
    half = (height + 1) // 2, (width + 1) // 2
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "bgr24": ((height, width, 3),),
        "rgb24": ((height, width, 3),),
        "yuyv422": ((height, width + width % 2, 2),),
        "yuv420p": ((height, width), half, half),
        "nv12": ((height, width), (*half, 2)),
    }
    planes = tuple(
        rng.integers(0, 256, shape, np.uint8) for shape in shapes.get(form, ((height, width),))
    )
    return planes if len(planes) > 1 else planes[0]


def batched(
    place: Place, frames: list[Pixels], size_hw: tuple[int, int], **options: Any
) -> tuple[NDArray[Any], list[Placement]]:
    """Fit a batch into a poisoned output."""
    channels = 1 if options.get("colour") == "gray" else 3
    shape = (*size_hw, channels) if options.get("layout") == "hwc" else (channels, *size_hw)
    out = place.poisoned((len(frames), *shape), options.get("dtype", "float32"))
    there = [moved(place, frame) for frame in frames]
    options["implementation"] = place.implementation
    returned, placements = letterbox_batch(there, size_hw, out=out, **options)
    assert returned is out
    return place.numpy(out), placements


def tolerance_of(form: FrameFormat) -> float:
    if form in ("yuv420p", "nv12", "yuyv422"):
        return YUV_ERROR
    return BAYER_ERROR if form not in GPU_FORMATS else PACKED_ERROR


@on_places(*FRAME_FORMATS)
@pytest.mark.parametrize("interpolation", ["bilinear", "area"])
@pytest.mark.parametrize("fit", FITS)
def test_matches_reference(
    place: Place, form: FrameFormat, fit: Fit, interpolation: Interpolation
) -> None:
    # Larger than the input, smaller, both at once, odd and even.
    frames = [noise(form, *size) for size in ((40, 56), (5, 8), (9, 61), (33, 7), (12, 16))]
    options: dict[str, Any] = {"format": form, "interpolation": interpolation}
    out, placements = batched(place, frames, (12, 16), fit=fit, scale=1, **options)
    for frame, placement, image in zip(frames, placements, out, strict=True):
        expected = reference.letterbox(frame, placement, pad=114, **options)
        np.testing.assert_allclose(image, expected, rtol=0, atol=tolerance_of(form))


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("colour", ["bgr", "gray"])
@pytest.mark.parametrize("width", [16, 18])
def test_images_are_those_of_the_frames_alone(
    place: Place, width: int, colour: str, layout: Layout, dtype: ElementType
) -> None:
    frames = [noise("nv12", *size) for size in ((40, 56), (5, 8), (33, 7))]
    options = {"format": "nv12", "colour": colour, "layout": layout, "dtype": dtype}
    out, placements = batched(place, frames, (12, width), **options)
    for frame, placement, image in zip(frames, placements, out, strict=True):
        alone, placement_alone = fitted(place, frame, (12, width), **options)
        np.testing.assert_array_equal(image, alone)
        assert placement == placement_alone


MANY = [PER_LAUNCH - 1, PER_LAUNCH, PER_LAUNCH + 1, 64, 65]


@pytest.mark.parametrize("count", [1, 9, *(pytest.param(count, marks=heavy) for count in MANY)])
def test_any_number_of_frames(place: Place, count: int) -> None:
    frames = [noise("bgr24", 1 + i % 7, 1 + i % 11) for i in range(count)]
    out, placements = batched(place, frames, (4, 5), scale=1)
    for frame, placement, image in zip(frames, placements, out, strict=True):
        expected = reference.letterbox(frame, placement, pad=114)
        np.testing.assert_allclose(image, expected, rtol=0, atol=PACKED_ERROR)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=4),
    size_hw=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    fit=st.sampled_from(FITS),
    form=st.sampled_from(["rgb24", "nv12", "yuv420p"]),
)
def test_frames_of_any_sizes(
    place: Place,
    sizes: list[tuple[int, int]],
    size_hw: tuple[int, int],
    fit: Fit,
    form: FrameFormat,
) -> None:
    frames = [noise(form, *size) for size in sizes]
    out, placements = batched(place, frames, size_hw, fit=fit, format=form, scale=1)
    for frame, placement, image in zip(frames, placements, out, strict=True):
        expected = reference.letterbox(frame, placement, format=form, pad=114)
        np.testing.assert_allclose(image, expected, rtol=0, atol=tolerance_of(form))


def test_frames_with_rows_of_any_pitch(place: Place) -> None:
    # Chroma at odd addresses and at odd distances cannot be read in words, next to some that can.
    there, here = [], []
    for pad, shift in ((0, 0), (1, 0), (2, 1), (7, 2), (64, 0)):
        planes = noise("nv12", 14, 22)
        views = []
        for plane in planes:
            rows, room_bytes = plane.shape[0], plane[0].size + pad + shift
            room = np.full((rows, room_bytes), 99, np.uint8)
            view = room[:, shift : shift + plane[0].size]
            view[...] = plane.reshape(rows, -1)
            strides = (room_bytes, 2, 1) if plane.ndim > 2 else (room_bytes, 1)
            shaped = np.lib.stride_tricks.as_strided(view, plane.shape, strides)
            views.append(sliced(place, room, shaped))
        there.append(tuple(views))
        here.append(planes)
    options: dict[str, Any] = {"format": "nv12", "implementation": place.implementation}
    out, placements = letterbox_batch(there, (8, 12), scale=1, **options)
    for planes, placement, image in zip(here, placements, place.numpy(out), strict=True):
        expected = reference.letterbox(planes, placement, format="nv12", pad=114)
        np.testing.assert_allclose(image, expected, rtol=0, atol=YUV_ERROR)


def test_allocates_what_it_returns(place: Place) -> None:
    frames = [noise("bgr24", 9, 13), noise("bgr24", 6, 3)]
    there = [moved(place, frame) for frame in frames]
    allocated, placements = letterbox_batch(there, (8, 8), implementation=place.implementation)
    expected, _ = batched(place, frames, (8, 8))
    np.testing.assert_array_equal(place.numpy(allocated), expected)
    assert placements == [Placement.of(size, (8, 8), "letterbox") for size in ((9, 13), (6, 3))]


def test_a_launch_takes_as_many_frames_as_it_says(gpu: Place) -> None:
    assert gpu.name in ("emulated", "cuda")
    assert cuda().letterbox_frames_per_launch == PER_LAUNCH


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": []}, ": `frames` must hold at least 1 frame, got 0"),
        (
            {"frames": [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)]},
            r": frames\[1\]: `frame` must be \(H, W, 3\) for format bgr24, got \(2, 2\)",
        ),
        (
            {"frames": [np.zeros((2, 9), np.uint8)], "format": "bayer_rggb8"},
            r": frames\[0\]: `frame` must have at least 3 rows and columns",
        ),
        ({"pad": 300}, r": `pad` must be in \[0, 255\], got 300"),
        ({"mean": (0.5,)}, ": `mean` must hold 3 finite numbers"),
        (
            {"out": np.zeros((3, 8, 8), np.float32)},
            r": `out` must have shape \(1, 3, 8, 8\), got \(3, 8, 8\)",
        ),
        (
            {"out": np.zeros((1, 8, 8, 3), np.float32).transpose(0, 3, 1, 2)},
            ": `out` must be C-contiguous and writeable",
        ),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"frames": [np.zeros((4, 4, 3), np.uint8)], "size_hw": (8, 8)}
    with pytest.raises(ValueError, match=f"^letterbox_batch{message}"):
        letterbox_batch(**arguments | options)


def test_refuses_frames_in_different_places(gpu: Place) -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    for frames, index in (([gpu.array(frame), frame], 1), ([frame, gpu.array(frame)], 0)):
        message = rf"^letterbox_batch: frames\[{index}\]: `frame` must be on the GPU, got a NumPy"
        with pytest.raises(TypeError, match=message):
            letterbox_batch(frames, (8, 8))
