"""The fit on a GPU: frames and outputs at any address, and what it refuses, with its message."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.errors import DeviceError
from edgecv.frame_formats import FrameFormat
from edgecv.kernels import letterbox, letterbox_batch, reference
from edgecv.kernels.cuda import arrays
from edgecv.kernels.letterbox import ElementType, Layout

from .conftest import Place
from .device_slices import DeviceSlice
from .fits import between_guards, fitted, sliced

Slices = tuple[slice, ...] | slice

PLANES: dict[FrameFormat, int] = {"bgr24": 1, "gray8": 1, "yuyv422": 1, "nv12": 2, "yuv420p": 3}


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def planes_of(form: FrameFormat, height: int, width: int) -> tuple[NDArray[np.uint8], ...]:
    half = (height + 1) // 2, (width + 1) // 2
    if form == "nv12":
        return noise(height, width), noise(*half, 2)
    if form == "yuv420p":
        return noise(height, width), noise(*half), noise(half[0] + 1, half[1])[1:]
    depth = {"bgr24": (3,), "yuyv422": (2,)}.get(form, ())
    return (noise(height, width, *depth),)


@pytest.mark.parametrize(
    "view", [np.s_[5:29, 3:40], np.s_[::2, 3:40], np.s_[::-1], np.s_[5:6, 7:8]]
)
def test_views_are_read_as_they_are(gpu: Place, view: Slices) -> None:
    room = noise(32, 48, 3)
    actual, _ = letterbox(sliced(gpu, room, room[view]), (20, 20))
    expected, _ = fitted(gpu, room[view].copy(), (20, 20))
    np.testing.assert_array_equal(gpu.numpy(actual), expected)


@pytest.mark.parametrize("form", ["nv12", "yuv420p"])
@pytest.mark.parametrize("pitch", [20, 21, 32])
def test_one_array_with_rows_apart(gpu: Place, form: FrameFormat, pitch: int) -> None:
    room = noise(18, pitch)
    frame = sliced(gpu, room, room[:, :20])
    if form == "yuv420p" and pitch > 20:  # two chroma rows in one of the array's
        with pytest.raises(
            ValueError, match=r"C-contiguous for format yuv420p in one array, got s"
        ):
            letterbox(frame, (9, 10), format=form)
        return
    actual, _ = letterbox(frame, (9, 10), format=form)
    expected, _ = fitted(gpu, room[:, :20].copy(), (9, 10), format=form)
    np.testing.assert_array_equal(gpu.numpy(actual), expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("shift", [0, 1, 2, 4])
def test_outputs_at_any_address(gpu: Place, shift: int, layout: Layout, dtype: ElementType) -> None:
    # Only those at multiples of four elements are stored four at a time; nothing beside is written.
    shape = (3, 8, 12) if layout == "chw" else (8, 12, 3)
    kind = np.dtype(dtype)
    room = np.full(np.prod(shape) + 8, 77, kind)
    there = sliced(gpu, room, room[shift : shift + np.prod(shape)].reshape(shape))
    frame = noise(17, 23, 3)
    letterbox(gpu.array(frame), (8, 12), layout=layout, dtype=dtype, out=there)
    written = gpu.numpy(there.owner)
    expected, _ = fitted(gpu, frame, (8, 12), layout=layout, dtype=dtype)
    np.testing.assert_array_equal(written[shift : shift + np.prod(shape)].reshape(shape), expected)
    np.testing.assert_array_equal(written[:shift], room[:shift])
    np.testing.assert_array_equal(written[shift + np.prod(shape) :], room[shift + np.prod(shape) :])


@pytest.mark.parametrize("resized", [1, 640, 4095, 4097, 20_011, 40_000])
def test_positions_hold_over_long_rows(gpu: Place, resized: int) -> None:
    row = noise(1, 20_000)
    options: dict[str, Any] = {"format": "gray8", "colour": "gray", "fit": "stretch", "scale": 1}
    out, _ = fitted(gpu, row, (1, resized), **options)
    points = (np.arange(resized) + 0.5) * 20_000 / resized - 0.5
    expected = np.interp(points, np.arange(20_000), row[0].astype(np.float64))
    np.testing.assert_allclose(out[0, 0], expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("height", [1, 7, 8, 9, 100])
@pytest.mark.parametrize("width", [1, 127, 128, 129, 260])
def test_inputs_of_every_number_of_blocks(gpu: Place, height: int, width: int) -> None:
    frame = noise(19, 31, 3)
    out, placement = fitted(gpu, frame, (height, width), scale=1)
    expected = reference.letterbox(frame, placement, pad=114)
    np.testing.assert_allclose(out, expected, rtol=0, atol=0.04)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no mprotect")
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("form", PLANES)
@pytest.mark.parametrize("place", ["emulated"], indirect=True)
def test_reads_nothing_outside_the_planes(place: Place, form: FrameFormat, *, at_end: bool) -> None:
    # The emulated GPU's memory is the processor's.
    assert place.name == "emulated"
    for width in (2, 62, 64, 66):
        planes = [between_guards(plane, at_end=at_end) for plane in planes_of(form, 7, width)]
        views = tuple(
            DeviceSlice(SimpleNamespace(pointer=p.ctypes.data, room=p), p.shape, p.dtype)
            for p in planes
        )
        frame = views if len(views) > 1 else views[0]
        for size_hw in ((7, 20), (3, 33), (2, 2 * width)):
            for how in ("bilinear", "area"):
                letterbox(frame, size_hw, format=form, interpolation=how, fit="centre-crop")


@pytest.mark.cuda
def test_a_captured_batch_reads_what_lies_there_then() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    frames = [
        tuple(torch.from_numpy(plane).cuda() for plane in planes_of("nv12", *size))
        for size in ((36, 64), (50, 30))
    ]
    out = torch.empty((2, 3, 32, 32), dtype=torch.float16, device="cuda")
    stream = torch.cuda.Stream()
    options: dict[str, Any] = {"format": "nv12", "dtype": "float16"}
    with torch.cuda.stream(stream):
        letterbox_batch(frames, (32, 32), out=out, **options)  # loads the kernel
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        letterbox_batch(frames, (32, 32), out=out, **options)
    for step in range(3):
        for planes in frames:
            for plane in planes:
                plane.add_(37 * step)
        out.fill_(torch.nan)
        graph.replay()
        torch.cuda.synchronize()
        here = [tuple(plane.cpu().numpy() for plane in planes) for planes in frames]
        expected, _ = letterbox_batch(here, (32, 32), **options)
        # The processor's error and ours, and a rounding to half floats near 1 each.
        np.testing.assert_allclose(out.cpu().numpy(), expected, rtol=0, atol=0.3 / 255 + 2**-11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"format": "bayer_rggb8"},
            "`format` must be one of bgr24, .*, yuyv422 for a frame on a GPU, got 'bayer_rggb8'",
        ),
        ({"format": "nv21"}, "`format` must be one of bgr24, .*, got 'nv21'"),
        ({"format": "gray8"}, r"`frame` must be \(H, W\) for format gray8, got \(4, 6, 3\)"),
        ({"format": "nv12"}, r"`frame` must be \(H \* 3 / 2, W\) with even sides"),
        ({"size_hw": (0, 8)}, "`size_hw` must be at least 1, got 0"),
        ({"pad": -1}, r"`pad` must be in \[0, 255\], got -1"),
        ({"fit": "crop"}, "`fit` must be one of letterbox, .*, got 'crop'"),
        ({"std": (1.0, 0.0, 1.0)}, "`std` must be positive"),
    ],
)
def test_refuses_values(gpu: Place, options: dict[str, Any], message: str) -> None:
    arguments = {"frame": gpu.array(noise(4, 6, 3)), "size_hw": (8, 8)} | options
    with pytest.raises(ValueError, match=f"^letterbox: {message}"):
        letterbox(**arguments)


@pytest.mark.parametrize("view", [np.s_[:, ::2], np.s_[:, :, ::-1], np.s_[:, ::-1]])
def test_refuses_rows_that_are_not_dense(gpu: Place, view: Slices) -> None:
    room = noise(8, 8, 3)
    message = r"^letterbox: `frame` must hold the pixels of each row densely, got strides of"
    with pytest.raises(ValueError, match=message):
        letterbox(sliced(gpu, room, room[view]), (8, 8))


def test_refuses_an_empty_frame(gpu: Place) -> None:
    with pytest.raises(ValueError, match=r"^letterbox: `frame` must hold at least 1 pixel"):
        letterbox(gpu.array(np.zeros((0, 4, 3), np.uint8)), (8, 8))


def test_refuses_other_types(gpu: Place) -> None:
    with pytest.raises(TypeError, match=r"^letterbox: `frame` must be uint8, got float32"):
        letterbox(gpu.array(np.zeros((4, 4, 3), np.float32)), (8, 8))


def test_refuses_other_outputs(gpu: Place) -> None:
    frame = gpu.array(noise(4, 4, 3))
    room = np.zeros((8, 8, 6), np.float32)
    with pytest.raises(
        ValueError, match=r"^letterbox: `out` must have shape \(3, 8, 8\), got \(3,"
    ):
        letterbox(frame, (8, 8), out=gpu.array(np.zeros((3, 9, 8), np.float32)))
    with pytest.raises(ValueError, match=r"^letterbox: `out` must be C-contiguous, got strides"):
        letterbox(frame, (8, 8), layout="hwc", out=sliced(gpu, room, room[:, :, :3]))
    with pytest.raises(TypeError, match=r"^letterbox: `out` must be float16, got float32"):
        letterbox(frame, (8, 8), dtype="float16", out=gpu.array(np.zeros((3, 8, 8), np.float32)))


def test_refuses_a_frame_and_an_output_in_different_places(gpu: Place) -> None:
    frame, out = noise(4, 4, 3), np.zeros((3, 8, 8), np.float32)
    with pytest.raises(TypeError, match=r"^letterbox: `out` must be on the GPU, got a NumPy array"):
        letterbox(gpu.array(frame), (8, 8), out=out)
    with pytest.raises(
        TypeError, match=r"^letterbox: `frame` must be on the GPU, got a NumPy array"
    ):
        letterbox(frame, (8, 8), out=gpu.array(out))


def test_refuses_arrays_on_two_gpus(gpu: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = [gpu.array(plane) for plane in planes_of("nv12", 4, 4)]
    first, second = gpu.array(noise(4, 4, 3)), gpu.array(noise(4, 4, 3))
    out = gpu.array(np.zeros((3, 8, 8), np.float32))
    far = {planes[1].pointer, second.pointer, out.pointer}
    elsewhere = SimpleNamespace(device_of=lambda pointer: 1 if pointer in far else 0)
    monkeypatch.setattr(arrays, "cuda", lambda: elsewhere)
    with pytest.raises(
        ValueError, match=r"^letterbox: the planes of `frame` must be on one GPU, got"
    ):
        letterbox(tuple(planes), (8, 8), format="nv12")
    message = r"^letterbox_batch: frames\[1\] must be on GPU 0 as frames\[0\] is, got GPU 1"
    with pytest.raises(ValueError, match=message):
        letterbox_batch([first, second], (8, 8))
    with pytest.raises(ValueError, match=r"^letterbox: `out` must be on GPU 0 as the other arrays"):
        letterbox(first, (8, 8), out=out)


def test_refuses_sides_that_its_integers_cannot_hold(gpu: Place) -> None:
    owner = gpu.array(noise(8))
    frame = DeviceSlice(owner, (1, 2**31), np.uint8)  # never read
    with pytest.raises(DeviceError, match=r"^letterbox: cudaError"):
        letterbox(frame, (8, 8), format="gray8")
