"""How the Triton letterbox takes its frames: several in a launch, and tensors of any strides."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgecv.frame_formats import FrameFormat  # noqa: E402
from edgecv.kernels import letterbox_batch  # noqa: E402

from ..conftest import Place  # noqa: E402, TID252
from ..fits import fitted, moved  # noqa: E402, TID252
from ..test_letterbox import random_bgr, random_frame  # noqa: E402, TID252


def fit(frames: Any, size_hw: tuple[int, int] = (7, 9), **options: Any) -> Any:
    """The inputs alone."""
    return letterbox_batch(frames, size_hw, implementation="triton", **options)[0]


@pytest.mark.parametrize("form", ["rgb24", "nv12"])
def test_frames_of_several_sizes_keep_their_order(triton: Place, form: FrameFormat) -> None:
    # One launch holds eight frames; sizes and pitches that differ end it.
    sizes = [(6, 8)] * 9 + [(8, 6), (6, 8), (5, 5), (5, 5)]
    frames = [random_frame(form, *size, seed=k) for k, size in enumerate(sizes)]
    inputs = triton.numpy(fit([moved(triton, frame) for frame in frames], format=form))
    for frame, input_chw in zip(frames, inputs, strict=True):
        np.testing.assert_array_equal(input_chw, fitted(triton, frame, (7, 9), format=form)[0])


def test_a_tensor_is_a_batch(triton: Place) -> None:
    batch = np.stack([random_bgr(6, 8, seed=k) for k in range(3)])
    together, listed = fit(triton.array(batch)), fit([triton.array(frame) for frame in batch])
    np.testing.assert_array_equal(triton.numpy(together), triton.numpy(listed))


def test_a_view_without_dense_rows_is_copied(triton: Place) -> None:
    frame = random_bgr(12, 16)
    found = fit([triton.array(frame)[:, ::2]])
    np.testing.assert_array_equal(triton.numpy(found)[0], fitted(triton, frame[:, ::2], (7, 9))[0])


@pytest.mark.parametrize("form", ["yuv420p", "nv12"])
def test_one_tensor_with_rows_apart_is_its_planes(triton: Place, form: FrameFormat) -> None:
    planes = random_frame(form, 12, 20)
    room = np.zeros((18, 32), np.uint8)
    room[:, :20] = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(18, 20)
    found = fit([triton.array(room)[:, :20]], format=form)
    expected, _ = fitted(triton, planes, (7, 9), format=form)
    np.testing.assert_array_equal(triton.numpy(found)[0], expected)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 4), {}, r"frames\[0\]: `frame` must be \(H, W, 3\) for format bgr24, got \(4, 4\)"),
        ((0, 4, 3), {}, r"frames\[0\]: `frame` must hold at least 1 pixel"),
        ((5, 4), {"format": "nv12"}, r"frames\[0\]: `frame` must be \(H \* 3 / 2, W\)"),
        ((4, 4), {"format": "bayer_rggb8"}, "`format` must be one of bgr24, .*, got 'bayer_rggb8'"),
        ((4, 4, 3), {"interpolation": "area"}, "`interpolation` must be 'bilinear' with `implem"),
        ((4, 4, 3), {"dtype": "float64"}, "`dtype` must be one of float32, float16, uint8, got"),
        ((4, 4, 3), {"pad": 256}, r"`pad` must be in \[0, 255\], got 256"),
        ((4, 4, 3), {"stream": 0}, "`stream` must be None with `implementation` 'triton'"),
    ],
)
def test_refuses_values(
    triton: Place, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^letterbox_batch: {message}"):
        fit([triton.array(np.zeros(shape, np.uint8))], **options)


def test_refuses_types(triton: Place) -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(TypeError, match=r"frames\[0\]: `frame` must be uint8, got float32\. Scale"):
        fit([triton.array(frame.astype(np.float32))])
    with pytest.raises(TypeError, match="`frame` must be a torch tensor, got ndarray"):
        fit([frame])
    out = triton.poisoned((1, 3, 7, 9), np.float32)
    with pytest.raises(TypeError, match="`out` must be float16, got float32"):
        fit([triton.array(frame)], dtype="float16", out=out)
