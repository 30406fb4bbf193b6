"""What is asked of a letterbox, checked once for the frames that come alike."""

from collections.abc import Sequence
from functools import lru_cache
from math import inf, isfinite
from typing import Literal, NamedTuple, get_args

import numpy as np

from edgecv.frame_formats import (
    COLOUR_MATRICES,
    COLOUR_RANGES,
    ColourMatrix,
    ColourRange,
    FrameFormat,
)
from edgecv.kernels.arguments import check_at_least, check_choice
from edgecv.placement import FITS, Fit, Placement

Colour = Literal["rgb", "bgr", "gray"]
ElementType = Literal["float32", "float16", "uint8"]
Layout = Literal["chw", "hwc"]
Interpolation = Literal["bilinear", "area"]

COLOURS: tuple[Colour, ...] = get_args(Colour)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
DTYPES: dict[ElementType, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "uint8": np.uint8,
}

_MAX_PIXEL = 255


class Options(NamedTuple):
    """The arguments of `edgecv.kernels.letterbox` that the frames of a batch have in common."""

    size_hw: tuple[int, ...]
    format: FrameFormat
    fit: Fit
    colour: Colour
    scale: float | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    pad: float
    dtype: ElementType
    layout: Layout
    interpolation: Interpolation
    matrix: ColourMatrix
    range: ColourRange


class Prepared(NamedTuple):
    """What follows from the options for a frame: pixel * gain[c] + bias[c] in `shape`."""

    placement: Placement
    shape: tuple[int, ...]
    gain: tuple[float, ...]
    bias: tuple[float, ...]


# Cached: the frames of a stream come alike, and hundreds of Python steps are worth a small frame.
@lru_cache(maxsize=256)
def prepared(function: str, options: Options, frame_hw: tuple[int, int]) -> Prepared:
    """Check the options and return what follows from them for a frame of `frame_hw`.

    Raises:
        ValueError: in the name of `function`, if an option is not as `letterbox` describes it.

    """
    for name, value, choices in (
        ("fit", options.fit, FITS),
        ("colour", options.colour, COLOURS),
        ("dtype", options.dtype, tuple(DTYPES)),
        ("layout", options.layout, LAYOUTS),
        ("interpolation", options.interpolation, INTERPOLATIONS),
        ("matrix", options.matrix, COLOUR_MATRICES),
        ("range", options.range, COLOUR_RANGES),
    ):
        check_choice(function, name, value, choices)
    height, width = options.size_hw
    check_at_least(function, "size_hw", min(height, width), 1)
    if not 0 <= options.pad <= _MAX_PIXEL:
        raise ValueError(f"{function}: `pad` must be in [0, 255], got {options.pad}.")
    channels = 1 if options.colour == "gray" else 3
    gain, bias = _affine(
        function, options.dtype, channels, options.scale, options.mean, options.std
    )
    shape = (channels, height, width) if options.layout == "chw" else (height, width, channels)
    return Prepared(Placement.of(frame_hw, (height, width), options.fit), shape, gain, bias)


def _affine(
    function: str,
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
        raise ValueError(f"{function}: `scale` must be positive and finite, got {scale}.")
    mean = (0.0,) * channels if mean is None else mean
    std = (1.0,) * channels if std is None else std
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels or not all(map(isfinite, values)):
            raise ValueError(
                f"{function}: `{name}` must hold {channels} finite numbers, got {values}."
            )
    if min(std) <= 0:
        raise ValueError(f"{function}: `std` must be positive, got {std}.")
    if dtype == "uint8" and (any(mean) or any(deviation != 1 for deviation in std)):
        raise ValueError(
            f"{function}: `mean` and `std` must be 0 and 1 for uint8, got {mean} and {std}. "
            "Normalise inside the network, or ask for a float dtype."
        )
    gain = [scale / float(deviation) for deviation in std]
    bias = [-float(centre) / float(deviation) for centre, deviation in zip(mean, std, strict=True)]
    unused = (0.0,) * (3 - channels)
    return (*gain, *unused), (*bias, *unused)
