"""What the fit refuses, each with its message: the public function, then the kernel behind it."""

from typing import Any

import numpy as np
import pytest

from edgecv.kernels import letterbox
from edgecv.kernels._native import letterbox_cpu

from .fits import IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": np.zeros((4, 4), np.uint8)}, r"`frame` must be \(H, W, 3\) for format bgr24"),
        ({"frame": np.zeros((4, 4, 4), np.uint8)}, r"`frame` must be \(H, W, 3\)"),
        ({"frame": np.zeros((0, 4, 3), np.uint8)}, "`frame` must hold at least 1 pixel"),
        ({"format": "nv12"}, r"`frame` must be \(H \* 3 / 2, W\) with even sides"),
        ({"format": "nv21"}, "`format` must be one of bgr24, .*, got 'nv21'"),
        (
            {"frame": np.zeros((2, 9), np.uint8), "format": "bayer_rggb8"},
            r"`frame` must have at least 3 rows and columns for format bayer_rggb8, got \(2, 9\)",
        ),
        ({"size_hw": (0, 8)}, "`size_hw` must be at least 1, got 0"),
        ({"fit": "crop"}, "`fit` must be one of letterbox, .*, got 'crop'"),
        ({"colour": "grey"}, "`colour` must be one of rgb, bgr, gray, got 'grey'"),
        ({"dtype": "float64"}, "`dtype` must be one of float32, float16, uint8, got 'float64'"),
        ({"layout": "nchw"}, "`layout` must be one of chw, hwc, got 'nchw'"),
        ({"interpolation": "cubic"}, "`interpolation` must be one of bilinear, area, got 'cubic'"),
        ({"matrix": "bt2020"}, "`matrix` must be one of bt601, bt709, got 'bt2020'"),
        ({"range": "jpeg"}, "`range` must be one of limited, full, got 'jpeg'"),
        ({"scale": 0.0}, "`scale` must be positive"),
        ({"scale": float("nan")}, "`scale` must be positive"),
        ({"mean": (1.0,)}, "`mean` must hold 3 finite numbers"),
        ({"mean": (1.0,) * 3, "colour": "gray"}, "`mean` must hold 1 finite numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "`std` must be positive"),
        ({"std": (1.0, float("nan"), 1.0)}, "`std` must hold 3 finite numbers"),
        ({"mean": IMAGENET_MEAN, "dtype": "uint8"}, "`mean` and `std` must be 0 and 1 for uint8"),
        ({"std": IMAGENET_STD, "dtype": "uint8"}, "`mean` and `std` must be 0 and 1 for uint8"),
        ({"pad": 256}, r"`pad` must be in \[0, 255\], got 256"),
        ({"pad": -1}, r"`pad` must be in \[0, 255\], got -1"),
        ({"out": np.zeros((3, 9, 8), np.float32)}, r"`out` must have shape \(3, 8, 8\)"),
        (
            {"out": np.zeros((3, 8, 8), np.float32), "layout": "hwc"},
            r"`out` must have shape \(8, 8, 3\)",
        ),
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
        ({"frame": [[[0, 0, 0]]]}, "`frame` must be a NumPy array or a tuple of them, got list"),
        ({"out": np.zeros((3, 8, 8))}, "`out` must be float32, got float64"),
        (
            {"out": np.zeros((3, 8, 8), np.float32), "dtype": "float16"},
            "`out` must be float16, got float32",
        ),
    ],
)
def test_refuses_types(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "frame": np.zeros((4, 4, 3), np.uint8),
        "size_hw": (8, 8),
    } | options
    with pytest.raises(TypeError, match=f"^letterbox: {message}"):
        letterbox(**arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"planes": [np.zeros((4, 5, 3), np.uint8)]}, "must hold a frame"),
        ({"planes": [np.zeros((3, 6, 3), np.uint8)]}, "must hold a frame"),
        ({"planes": [np.zeros((4, 12, 3), np.uint8)[:, ::2]]}, "must hold each row densely"),
        ({"planes": []}, "must hold a frame"),
        ({"planes": [np.zeros((4, 6), np.uint8)] * 4}, "must be 1 to 3"),
        ({"pixel_format": "nv12"}, "must hold a frame"),
        ({"pixel_format": "nv21"}, "a name that is not known"),
        ({"frame_hw": (5, 6)}, "must hold a frame"),
        ({"resized_hw": (0, 8)}, "`resized_hw` must be at least 1"),
        ({"colour": "gray"}, "a plane per channel"),
        ({"out": np.zeros((3, 8, 8))}, "must be float32, float16 or uint8"),
    ],
)
def test_kernel_refuses_what_it_would_read_or_write_beyond(
    options: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {
        "planes": [np.zeros((4, 6, 3), np.uint8)],
        "pixel_format": "bgr24",
        "matrix": "bt601",
        "colour_range": "limited",
        "frame_hw": (4, 6),
        "resized_hw": (8, 8),
        "offset_xy": (0, 0),
        "interpolation": "bilinear",
        "colour": "rgb",
        "gain": (1.0,) * 3,
        "bias": (0.0,) * 3,
        "pad": 0.0,
        "layout": "chw",
        "out": np.zeros((3, 8, 8), np.float32),
    }
    with pytest.raises(ValueError, match=message):
        letterbox_cpu(**(arguments | options))
