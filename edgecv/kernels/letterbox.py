"""From a camera's frame to a network's input, in one pass over the pixels."""

from collections.abc import Sequence
from functools import lru_cache
from math import inf, isfinite
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.frame_formats import (
    COLOUR_MATRICES,
    COLOUR_RANGES,
    ColourMatrix,
    ColourRange,
    FrameFormat,
    Pixels,
    frame_size_hw,
    planes_of,
)
from edgecv.kernels._native import letterbox_cpu
from edgecv.kernels.arguments import check_array, check_at_least, check_choice
from edgecv.placement import FITS, Fit, Placement

Colour = Literal["rgb", "bgr", "gray"]
ElementType = Literal["float32", "float16", "uint8"]
Layout = Literal["chw", "hwc"]
Interpolation = Literal["bilinear", "area"]

COLOURS: tuple[Colour, ...] = get_args(Colour)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)

InputArray: TypeAlias = NDArray[Any]  # float32, float16 or uint8, as `dtype` says

_DTYPES: dict[ElementType, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "uint8": np.uint8,
}
_MAX_PIXEL = 255
_MIN_BAYER_SIDE = 3  # a pixel needs neighbours on both sides


def letterbox(
    frame: Pixels,
    size_hw: tuple[int, int],
    *,
    format: FrameFormat = "bgr24",  # noqa: A002  # the word that every video library uses
    fit: Fit = "letterbox",
    colour: Colour = "rgb",
    scale: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pad: float = 114,
    dtype: ElementType = "float32",
    layout: Layout = "chw",
    interpolation: Interpolation = "bilinear",
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002  # the word of every video standard
    out: InputArray | None = None,
) -> tuple[InputArray, Placement]:
    """Convert, resize and place a frame in a network's input, normalised and laid out for it.

    Every value is (pixel * scale - mean[c]) / std[c], where the pixel is converted to `colour`,
    clamped to 0..255 and only then interpolated. Chroma is replicated, not interpolated, and Bayer
    mosaics are demosaiced bilinearly, both as in OpenCV.

    `bilinear` resizes with half-pixel centres, as OpenCV's INTER_LINEAR, without antialiasing;
    beyond the outermost pixel centres the edge pixels are repeated. `area` takes the mean of the
    source area that an output pixel covers, as INTER_AREA, for strong reductions; where either axis
    is enlarged it interpolates between two pixels, as INTER_AREA does there.

    Args:
        frame: uint8 array or tuple of planes, see `edgecv.frame_formats`. Rows may have any stride:
            a cropped or flipped view and a decoder's planes are read in place. A Bayer frame has at
            least 3 rows and 3 columns.
        size_hw: height and width of the input in pixels, at least 1 each.
        format: how the pixels lie in `frame`.
        fit: how the frame is placed, see `edgecv.placement.Placement.of`.
        colour: order of the channels in the input, or `gray` for one channel: 0.299 R + 0.587 G +
            0.114 B of packed and Bayer frames; of YUV frames their luma, expanded to 0..255. A
            gray frame has three equal channels otherwise.
        scale: factor on the pixel value, positive; if None, 1 for uint8 and else 1 / 255.
        mean: per channel in the order of `colour`, in units of `pixel * scale`; 0 if None.
        std: per channel in the order of `colour`, positive; 1 if None.
        pad: pixel value 0..255 of what the frame does not cover, before normalisation.
        dtype: of the input. uint8 values are rounded to the nearest, ties up, and saturated; with
            it, `mean` and `std` must be 0 and 1: what others make is not within 0..255.
        layout: channels first or last.
        interpolation: see above.
        matrix: of YUV frames: which RGB they stand for.
        range: of YUV frames: `limited` for luma 16..235 and chroma 16..240, `full` for 0..255 as in
            JPEG. Luma below 16 is black in the limited range.
        out: C-contiguous, where to write the input instead of allocating it, such as one image
            `batch[i]` of a batch.

    Returns:
        (C, height, width) or (height, width, C) of `dtype`, C-contiguous, `out` itself if given;
        and where the frame lies in it. C is 1 for `gray`, otherwise 3.

    Raises:
        ValueError: if a shape, a size, a factor or an option is not as described.
        TypeError: if `frame` is not uint8 or `out` not of `dtype`; nothing is converted silently.

    Source:
        Bilinear and area interpolation: `cv2.resize`, OpenCV 4 documentation, "Geometric Image
        Transformations". YUV: Rec. ITU-R BT.601-7, section 2.5, and BT.709-6, section 3.

    """
    planes = planes_of("letterbox", frame, format)
    frame_hw = frame_size_hw(planes)
    if format.startswith("bayer") and min(frame_hw) < _MIN_BAYER_SIDE:
        raise ValueError(
            f"letterbox: `frame` must have at least 3 rows and columns for format {format}, "
            f"got {frame_hw}."
        )
    placement, shape, gain, bias = _prepared(
        frame_hw,
        tuple(size_hw),
        fit,
        colour,
        scale,
        None if mean is None else tuple(mean),
        None if std is None else tuple(std),
        pad,
        dtype,
        layout,
        interpolation,
        matrix,
        range,
    )
    if out is None:
        out = np.empty(shape, _DTYPES[dtype])
    else:
        _check_out(out, dtype, shape)
    letterbox_cpu(
        planes,
        pixel_format=format,
        matrix=matrix,
        colour_range=range,
        frame_hw=frame_hw,
        resized_hw=placement.resized_hw,
        offset_xy=placement.offset_xy,
        interpolation=interpolation,
        colour=colour,
        gain=gain,
        bias=bias,
        pad=pad,
        layout=layout,
        out=out,
    )
    return out, placement


# Cached: the frames of a stream come alike, and hundreds of Python steps are worth a small frame.
@lru_cache(maxsize=256)
def _prepared(
    frame_hw: tuple[int, int],
    size_hw: tuple[int, ...],
    fit: Fit,
    colour: Colour,
    scale: float | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    pad: float,
    dtype: ElementType,
    layout: Layout,
    interpolation: Interpolation,
    matrix: ColourMatrix,
    range: ColourRange,  # noqa: A002
) -> tuple[Placement, tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Check the options; return the placement, the input's shape, and gain and bias."""
    for name, value, choices in (
        ("fit", fit, FITS),
        ("colour", colour, COLOURS),
        ("dtype", dtype, tuple(_DTYPES)),
        ("layout", layout, LAYOUTS),
        ("interpolation", interpolation, INTERPOLATIONS),
        ("matrix", matrix, COLOUR_MATRICES),
        ("range", range, COLOUR_RANGES),
    ):
        check_choice("letterbox", name, value, choices)
    height, width = size_hw
    check_at_least("letterbox", "size_hw", min(height, width), 1)
    if not 0 <= pad <= _MAX_PIXEL:
        raise ValueError(f"letterbox: `pad` must be in [0, 255], got {pad}.")
    channels = 1 if colour == "gray" else 3
    gain, bias = _affine(dtype, channels, scale, mean, std)

    shape = (channels, height, width) if layout == "chw" else (height, width, channels)
    return Placement.of(frame_hw, (height, width), fit), shape, gain, bias


def _check_out(out: InputArray, dtype: ElementType, shape: tuple[int, ...]) -> None:
    check_array("letterbox", "out", out, _DTYPES[dtype], shape)
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError(
            "letterbox: `out` must be C-contiguous and writeable, got a view that is not. "
            f"Allocate it with `np.empty({shape}, np.{dtype})`."
        )


def _affine(
    dtype: ElementType,
    channels: int,
    scale: float | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the normalisation as one factor and one addend for each of 3 channels."""
    if scale is None:
        scale = 1.0 if dtype == "uint8" else 1 / _MAX_PIXEL
    if not 0 < scale < inf:
        raise ValueError(f"letterbox: `scale` must be positive and finite, got {scale}.")
    mean = (0.0,) * channels if mean is None else mean
    std = (1.0,) * channels if std is None else std
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels or not all(map(isfinite, values)):
            raise ValueError(
                f"letterbox: `{name}` must hold {channels} finite numbers, got {values}."
            )
    if min(std) <= 0:
        raise ValueError(f"letterbox: `std` must be positive, got {std}.")
    if dtype == "uint8" and (any(mean) or any(deviation != 1 for deviation in std)):
        raise ValueError(
            f"letterbox: `mean` and `std` must be 0 and 1 for uint8, got {mean} and {std}. "
            "Normalise inside the network, or ask for a float dtype."
        )
    gain = [scale / float(deviation) for deviation in std]
    bias = [-float(centre) / float(deviation) for centre, deviation in zip(mean, std, strict=True)]
    unused = (0.0,) * (3 - channels)
    return (*gain, *unused), (*bias, *unused)
