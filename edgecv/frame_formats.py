"""The pixel formats in which frames arrive, and how their planes lie in memory.

A frame is one array or a tuple of planes, each uint8:

| format | one array | planes |
|---|---|---|
| `bgr24` `rgb24` | (H, W, 3) | |
| `gray8`, `bayer_*8` | (H, W) | |
| `yuyv422` | (H, W, 2), W even | |
| `yuv420p` | (H * 3 / 2, W), even sides | Y (H, W), U and V (⌈H/2⌉, ⌈W/2⌉) |
| `nv12` | (H * 3 / 2, W), even sides | Y (H, W), UV (⌈H/2⌉, ⌈W/2⌉, 2) |

The one array of the planar formats is laid out as OpenCV does it.

Rows may have any stride, so that a decoder's planes and cropped or flipped views are read in place;
the pixels of a row are dense.
"""

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

FrameFormat = Literal[
    "bgr24",
    "rgb24",
    "gray8",
    "yuv420p",
    "nv12",
    "yuyv422",
    "bayer_rggb8",
    "bayer_bggr8",
    "bayer_grbg8",
    "bayer_gbrg8",
]
FRAME_FORMATS: tuple[FrameFormat, ...] = get_args(FrameFormat)

ColourMatrix = Literal["bt601", "bt709"]
COLOUR_MATRICES: tuple[ColourMatrix, ...] = get_args(ColourMatrix)

ColourRange = Literal["limited", "full"]
COLOUR_RANGES: tuple[ColourRange, ...] = get_args(ColourRange)

Plane: TypeAlias = NDArray[np.uint8]
Pixels: TypeAlias = Plane | tuple[Plane, ...]

_BYTES_PER_PIXEL = {"bgr24": 3, "rgb24": 3, "yuyv422": 2}


def planes_of(function: str, frame: Pixels, format: FrameFormat) -> tuple[Plane, ...]:  # noqa: A002
    """Return views of the planes of `frame`, checked, without copying a pixel.

    Args:
        function: in whose name to complain.
        frame: see the module.
        format: one of FRAME_FORMATS.

    Returns:
        One plane (H, W, 3), (H, W) or (H, W, 2) for packed formats; Y, U, V for `yuv420p`; Y and
        UV for `nv12`. The pixels of each row are dense; a packed array whose pixels are not is
        copied.

    Raises:
        ValueError: if the format is unknown, or a shape does not fit it.
        TypeError: if a plane is not a uint8 array.

    """
    check_frame_format(function, format)
    planes = frame if isinstance(frame, tuple) else (frame,)
    for plane in planes:
        if not isinstance(plane, np.ndarray):
            raise TypeError(
                f"{function}: `frame` must be a NumPy array or a tuple of them, got "
                f"{type(plane).__name__}. Convert it with `np.asarray(frame, np.uint8)`."
            )
        if plane.dtype != np.uint8:
            raise TypeError(
                f"{function}: `frame` must be uint8, got {plane.dtype}. "
                "Scale it to 0..255 and convert it with `.astype(np.uint8)`."
            )
    if format in ("yuv420p", "nv12") and len(planes) == 1:
        planes = _planes_of_array(planes[0], format)
    check_plane_shapes(function, tuple(plane.shape for plane in planes), format)
    return tuple(_with_dense_rows(plane) for plane in planes)


def check_frame_format(function: str, format: FrameFormat) -> None:  # noqa: A002
    """Refuse a word that is not one of FRAME_FORMATS.

    Raises:
        ValueError: in the name of `function`.

    """
    if format not in FRAME_FORMATS:
        raise ValueError(
            f"{function}: `format` must be one of {', '.join(FRAME_FORMATS)}, got {format!r}."
        )


def check_plane_shapes(
    function: str,
    shapes: tuple[tuple[int, ...], ...],
    format: FrameFormat,  # noqa: A002
) -> None:
    """Refuse planes of other shapes than a frame of `format` has, and a frame without pixels.

    Raises:
        ValueError: in the name of `function`.

    """
    if format in ("yuv420p", "nv12"):
        expected = _chroma_shapes(shapes[0], format)
    else:
        expected = _packed_shape(shapes[0], format)
    if shapes != expected:
        raise ValueError(
            f"{function}: `frame` must be {_EXPECTED[format]} for format {format}, "
            f"got {' and '.join(map(str, shapes))}."
        )
    if 0 in shapes[0]:
        raise ValueError(f"{function}: `frame` must hold at least 1 pixel, got {shapes[0]}.")


def height_of_array(shape: tuple[int, ...]) -> int | None:
    """Return the height of a `yuv420p` or `nv12` frame in one array, None if it is not one."""
    rows, width = (*shape, 0, 0)[:2]
    if len(shape) != 2 or rows % 3 or width % 2:  # noqa: PLR2004  # rows and columns
        return None
    return rows // 3 * 2


def frame_size_hw(planes: tuple[Plane, ...]) -> tuple[int, int]:
    """Return height and width in pixels of a frame whose planes `planes_of` returned."""
    height, width = planes[0].shape[:2]
    return height, width


_EXPECTED = {
    "bgr24": "(H, W, 3)",
    "rgb24": "(H, W, 3)",
    "gray8": "(H, W)",
    "yuyv422": "(H, W, 2) with an even W",
    "yuv420p": "(H * 3 / 2, W) with even sides, or planes (H, W) and 2 of (⌈H/2⌉, ⌈W/2⌉)",
    "nv12": "(H * 3 / 2, W) with even sides, or planes (H, W) and (⌈H/2⌉, ⌈W/2⌉, 2)",
    **{name: "(H, W)" for name in FRAME_FORMATS if name.startswith("bayer")},
}


def _packed_shape(shape: tuple[int, ...], format: FrameFormat) -> tuple[tuple[int, ...], ...]:  # noqa: A002
    """Return the one shape that `shape` should have been, empty if it cannot be mended."""
    bytes_per_pixel = _BYTES_PER_PIXEL.get(format)
    if format == "yuyv422" and (len(shape) < 2 or shape[1] % 2):  # noqa: PLR2004  # rows, columns
        return ()
    return ((*shape[:2],) if bytes_per_pixel is None else (*shape[:2], bytes_per_pixel),)


def _chroma_shapes(shape: tuple[int, ...], format: FrameFormat) -> tuple[tuple[int, ...], ...]:  # noqa: A002
    height, width = (*shape, 0, 0)[:2]
    half = (height + 1) // 2, (width + 1) // 2
    return ((height, width), half, half) if format == "yuv420p" else ((height, width), (*half, 2))


def _planes_of_array(frame: Plane, format: FrameFormat) -> tuple[Plane, ...]:  # noqa: A002
    """Return the planes of a frame that is one array of 3 / 2 of its height."""
    height = height_of_array(frame.shape)
    if height is None:
        return (frame,)
    width = frame.shape[1]
    luma, chroma = frame[:height], frame[height:]
    if format == "nv12":
        return luma, _with_dense_rows(chroma).reshape(height // 2, width // 2, 2)
    # Each row of the array holds two rows of a chroma plane.
    halves = _with_dense_rows(chroma).reshape(-1)
    return (luma, *halves.reshape(2, height // 2, width // 2))


def _with_dense_rows(plane: Plane) -> Plane:
    """Return `plane`, or a copy if the bytes of its rows do not follow each other."""
    row = plane[:1]
    return plane if row.flags.c_contiguous else np.ascontiguousarray(plane)
