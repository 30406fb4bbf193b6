"""The Triton letterbox against the reference, the CPU kernel and its own laws."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from edgecv.frame_formats import FrameFormat, Pixels  # noqa: E402
from edgecv.kernels import letterbox as letterbox_cpu  # noqa: E402
from edgecv.kernels import letterbox_batch, reference  # noqa: E402
from edgecv.kernels.letterbox_options import COLOURS, Colour  # noqa: E402
from edgecv.kernels.triton.letterbox import DEVICE_FORMATS  # noqa: E402
from edgecv.placement import FITS, Fit, Placement  # noqa: E402

letterbox = partial(letterbox_batch, implementation="triton")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# In pixel values of 255: a conversion takes 4 roundings of numbers up to 551, each blend 3 and its
# weight one, and there are two of them.
PIXEL_ERROR = (4 * 551 + 2 * 4 * 255) * 2.0**-24
# Normalised by the deviations: two more roundings of values up to 3.
TOLERANCE = PIXEL_ERROR / 255 / min(STD) + 2 * 3 * 2.0**-24

Frames = Sequence[Pixels]


def random_frame(form: FrameFormat, height: int, width: int, *, seed: int = 0) -> Pixels:
    """Noise, in planes where the format has them, so that every side can be odd."""
    rng = np.random.default_rng(seed)

    def noise(*shape: int) -> NDArray[np.uint8]:
        return rng.integers(0, 256, shape, np.uint8)

    half = (height + 1) // 2, (width + 1) // 2
    if form == "yuv420p":
        return noise(height, width), noise(*half), noise(*half)
    if form == "nv12":
        return noise(height, width), noise(*half, 2)
    return noise(height, width, *{"bgr24": (3,), "rgb24": (3,)}.get(form, ()))


def on(device: str, frame: Pixels) -> Any:
    if isinstance(frame, tuple):
        return tuple(torch.from_numpy(plane).to(device) for plane in frame)
    return torch.from_numpy(frame).to(device)


def fit_frames(
    device: str, frames: Frames, size_hw: tuple[int, int], *, colour: Colour = "rgb", **options: Any
) -> tuple[NDArray[Any], list[Placement]]:
    """The inputs in a poisoned output: an element that nobody writes stays NaN."""
    dtype = getattr(torch, options.get("dtype", "float32"))
    shape = (len(frames), 1 if colour == "gray" else 3, *size_hw)
    out = torch.full(shape, float("nan"), dtype=dtype, device=device)
    moved = [on(device, frame) for frame in frames]
    inputs, placements = letterbox(moved, size_hw, colour=colour, out=out, **options)
    assert inputs is out
    return out.cpu().numpy(), placements


def check(
    device: str,
    frames: Frames,
    size_hw: tuple[int, int],
    fit: Fit,
    form: FrameFormat,
    *,
    colour: Colour = "rgb",
    **options: Any,
) -> None:
    channels = 1 if colour == "gray" else 3
    shared = {"format": form, "colour": colour, "mean": MEAN[:channels], "std": STD[:channels]}
    shared |= {"pad": 114, **options}
    found, placements = fit_frames(device, frames, size_hw, fit=fit, **shared)
    for frame, input_chw, placement in zip(frames, found, placements, strict=True):
        expected = reference.letterbox(frame, placement, scale=1 / 255, **shared)
        np.testing.assert_allclose(input_chw, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("form", DEVICE_FORMATS)
def test_matches_the_reference_in_every_format_and_fit(
    device: str, form: FrameFormat, fit: Fit
) -> None:
    # Each colour with each format, and with each fit.
    turn = DEVICE_FORMATS.index(form) + FITS.index(fit)
    size_hw, colour = ((7, 9), (13, 6), (16, 15))[turn % 3], COLOURS[turn % 3]
    check(device, [random_frame(form, 11, 14)], size_hw, fit, form, colour=colour)


# Around the block of 64 columns, with odd sides.
@pytest.mark.parametrize("form", ["bgr24", "nv12"])
@pytest.mark.parametrize("width", [1, 63, 64, 65])
def test_matches_the_reference_at_every_width(device: str, form: FrameFormat, width: int) -> None:
    check(device, [random_frame(form, 5, 24)], (3, width), "stretch", form)
    check(device, [random_frame(form, 5, width)], (4, 17), "stretch", form)


@pytest.mark.parametrize("colour", ["bgr", "gray"])
@pytest.mark.parametrize("form", ["yuv420p", "nv12"])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("range_", ["limited", "full"])
def test_matches_the_reference_for_every_yuv(
    device: str, form: FrameFormat, matrix: str, range_: str, colour: Colour
) -> None:
    options = {"colour": colour, "matrix": matrix, "range": range_}
    check(device, [random_frame(form, 9, 70)], (5, 31), "letterbox", form, **options)


@settings(max_examples=10)
@given(
    frame_hw=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    size_hw=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    fit=st.sampled_from(FITS),
    form=st.sampled_from(DEVICE_FORMATS),
)
def test_matches_the_reference_at_any_size(
    device: str, frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit, form: FrameFormat
) -> None:
    check(device, [random_frame(form, *frame_hw)], size_hw, fit, form)


# One launch holds eight frames; sizes and pitches that differ end it.
@pytest.mark.parametrize("form", ["rgb24", "nv12"])
def test_frames_of_several_sizes_keep_their_order(device: str, form: FrameFormat) -> None:
    sizes = [(6, 8)] * 9 + [(8, 6), (6, 8), (5, 5), (5, 5)]
    frames = [random_frame(form, *size, seed=k) for k, size in enumerate(sizes)]
    check(device, frames, (7, 9), "letterbox", form)


def test_a_batch_is_its_frames(device: str) -> None:
    batch = np.stack([random_frame("bgr24", 6, 8, seed=k) for k in range(3)])
    found, placements = letterbox(torch.from_numpy(batch).to(device), (7, 9))
    expected, wanted = fit_frames(device, list(batch), (7, 9))
    np.testing.assert_array_equal(found.cpu().numpy(), expected)
    assert placements == wanted


@settings(max_examples=10)
@given(
    value=st.integers(0, 255),
    frame_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(FITS),
)
def test_a_flat_frame_on_bars_of_its_colour_stays_flat(
    device: str, value: int, frame_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit
) -> None:
    frame = np.full((*frame_hw, 3), value, np.uint8)
    found, _ = fit_frames(device, [frame], size_hw, fit=fit, scale=1.0, pad=value)
    np.testing.assert_array_equal(found, np.float32(value))


@pytest.mark.parametrize("fit", FITS)
def test_the_same_size_is_a_copy(device: str, fit: Fit) -> None:
    frame = random_frame("bgr24", 33, 47)
    found, placements = fit_frames(device, [frame], (33, 47), fit=fit, scale=1.0)
    np.testing.assert_array_equal(found[0], np.moveaxis(frame[..., ::-1], 2, 0))
    assert placements == [Placement.of((33, 47), (33, 47), fit)]


def test_worked_example(device: str) -> None:
    # Two columns, 10 and 50, on four: sample points -0.25, 0.25, 0.75, 1.25, clamped to [0, 1].
    frame = np.repeat(np.array([[[10], [50]]], np.uint8), 3, axis=2)
    found, placements = fit_frames(device, [frame], (4, 4), scale=1.0, pad=7)
    row, bar = [10.0, 20.0, 40.0, 50.0], [7.0] * 4
    np.testing.assert_array_equal(found[0], [[bar, row, row, bar]] * 3)
    assert (placements[0].resized_hw, placements[0].offset_xy) == ((2, 4), (0, 1))


def test_a_strip_centre_cropped_reads_its_middle(device: str) -> None:
    # 640064 pixels of which 64 are kept: sample points are exact, beyond 2**32 of their unit too.
    frame = np.zeros((1, 10_001, 3), np.uint8)
    frame[0, 5000] = 255
    found, placements = fit_frames(device, [frame], (64, 64), fit="centre-crop", scale=1.0)
    assert placements[0].resized_hw == (64, 640_064)
    np.testing.assert_array_equal(found[0, :, :, 31:33], np.float32(255 * (1 - 0.5 / 64)))


def test_halves_are_the_rounded_floats(device: str) -> None:
    frame = random_frame("nv12", 18, 22)
    options: dict[str, Any] = {"format": "nv12", "mean": MEAN, "std": STD}
    exact, _ = fit_frames(device, [frame], (13, 20), **options)
    halves, _ = fit_frames(device, [frame], (13, 20), dtype="float16", **options)
    np.testing.assert_array_equal(halves, exact.astype(np.float16))


def test_agrees_with_the_cpu_kernel_by_default(device: str) -> None:
    frame = random_frame("bgr24", 30, 50)
    found, placements = letterbox([on(device, frame)], (24, 40))
    expected, placement = letterbox_cpu(frame, (24, 40))
    np.testing.assert_allclose(found[0].cpu().numpy(), expected, rtol=0, atol=0.04 / 255)
    assert placements == [placement]
    assert found.is_contiguous()


@pytest.mark.parametrize("form", DEVICE_FORMATS)
def test_rows_may_have_any_pitch(device: str, form: FrameFormat) -> None:
    planes = random_frame(form, 22, 38)
    padded = []
    for plane in planes if isinstance(planes, tuple) else (planes,):
        room = np.full((plane.shape[0] + 2, plane.shape[1] + 26, *plane.shape[2:]), 77, np.uint8)
        room[1:-1, 5 : 5 + plane.shape[1]] = plane
        padded.append(torch.from_numpy(room).to(device)[1:-1, 5 : 5 + plane.shape[1]])
    frame = tuple(padded) if len(padded) > 1 else padded[0]
    found, _ = letterbox([frame], (17, 20), format=form)
    expected, _ = fit_frames(device, [planes], (17, 20), format=form)
    np.testing.assert_array_equal(found.cpu().numpy(), expected)


def test_a_view_without_dense_rows_is_copied(device: str) -> None:
    frame = random_frame("bgr24", 12, 16)
    view = torch.from_numpy(frame).to(device)[:, ::2]
    found, _ = letterbox([view], (8, 8))
    expected, _ = fit_frames(device, [frame[:, ::2].copy()], (8, 8))
    np.testing.assert_array_equal(found.cpu().numpy(), expected)


@pytest.mark.parametrize("pitch", [20, 32])
@pytest.mark.parametrize("form", ["yuv420p", "nv12"])
def test_one_tensor_is_its_planes(device: str, form: FrameFormat, pitch: int) -> None:
    planes = random_frame(form, 12, 20)
    room = torch.zeros((18, pitch), dtype=torch.uint8, device=device)
    joined = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(18, 20)
    room[:, :20] = torch.from_numpy(joined)
    found, _ = letterbox([room[:, :20]], (17, 20), format=form)
    expected, _ = fit_frames(device, [planes], (17, 20), format=form)
    np.testing.assert_array_equal(found.cpu().numpy(), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": []}, "`frames` must hold at least 1 frame, got 0"),
        (
            {"frames": [(4, 4)]},
            r"frames\[0\]: `frame` must be \(H, W, 3\) for format bgr24, got \(4, 4\)",
        ),
        ({"frames": [(0, 4, 3)]}, r"frames\[0\]: `frame` must hold at least 1 pixel"),
        ({"format": "nv12", "frames": [(5, 4)]}, r"frames\[0\]: `frame` must be \(H \* 3 / 2, W\)"),
        ({"format": "yuyv422"}, "`format` must be one of bgr24, .*, got 'yuyv422'"),
        ({"dtype": "uint8"}, "`dtype` must be one of float32, float16, got 'uint8'"),
        ({"size_hw": (0, 4)}, "`size_hw` must be at least 1, got 0"),
        ({"pad": 256}, r"`pad` must be in \[0, 255\], got 256"),
        ({"std": (1, 1, 0)}, "`std` must be positive"),
        ({"out": (1, 3, 8, 9)}, r"`out` must have shape \(1, 3, 8, 8\), got \(1, 3, 8, 9\)"),
    ],
)
def test_refuses_values(device: str, options: dict[str, Any], message: str) -> None:
    made: dict[str, Any] = {"frames": [(4, 4, 3)], "size_hw": (8, 8)} | options
    made["frames"] = [
        torch.zeros(shape, dtype=torch.uint8, device=device) for shape in made["frames"]
    ]
    if "out" in made:
        made["out"] = torch.zeros(made["out"], device=device)
    with pytest.raises(ValueError, match=f"^letterbox_batch: {message}"):
        letterbox(**made)


def test_refuses_types(device: str) -> None:
    with pytest.raises(TypeError, match=r"frames\[0\]: `frame` must be uint8, got float32\. Scale"):
        letterbox([torch.zeros(4, 4, 3, device=device)], (8, 8))
    with pytest.raises(TypeError, match="`frame` must be a torch tensor, got ndarray"):
        letterbox([np.zeros((4, 4, 3), np.uint8)], (8, 8))  # type: ignore[list-item]
    frame = torch.zeros(4, 4, 3, dtype=torch.uint8, device=device)
    out = torch.zeros(1, 3, 8, 8, device=device)
    with pytest.raises(TypeError, match="`out` must be float16, got float32"):
        letterbox([frame], (8, 8), dtype="float16", out=out)
