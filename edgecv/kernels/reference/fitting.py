"""The definition of the fit: from a frame to a network's input."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Pixels, planes_of
from edgecv.kernels.letterbox import Colour, Interpolation
from edgecv.placement import Placement

Array = NDArray[np.float64]


def letterbox(
    frame: Pixels,
    placement: Placement,
    *,
    format: FrameFormat = "bgr24",  # noqa: A002
    colour: Colour = "rgb",
    scale: float = 1.0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pad: float = 0.0,
    interpolation: Interpolation = "bilinear",
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> Array:
    """Convert the colours, resize by two matrices, paste on a canvas of `pad`, normalise.

    Returns (C, height, width), nowhere rounded.
    """
    pixels = _in_colour(planes_of("letterbox", frame, format), format, colour, matrix, range)
    height, width = placement.size_hw
    left, top = placement.offset_xy
    rows, columns = _interpolations(interpolation, placement.resized_hw, placement.frame_hw)
    resized = np.einsum("yi,ijc,xj->yxc", rows, pixels, columns, optimize=True)
    canvas = np.full((height, width, pixels.shape[2]), float(pad))
    for y, x in np.ndindex(height, width):
        if 0 <= y - top < len(rows) and 0 <= x - left < len(columns):
            canvas[y, x] = resized[y - top, x - left]
    canvas *= scale
    canvas -= np.zeros(1) if mean is None else np.asarray(mean)
    canvas /= np.ones(1) if std is None else np.asarray(std)
    return np.moveaxis(canvas, 2, 0)


def _in_colour(
    planes: tuple[NDArray[np.uint8], ...],
    format: FrameFormat,  # noqa: A002
    colour: Colour,
    matrix: ColourMatrix,
    range: ColourRange,  # noqa: A002
) -> Array:
    """Return (H, W, C) in 0..255 in the order of `colour`."""
    first = planes[0].astype(np.float64)
    if format == "gray8":
        return np.repeat(first[..., None], 1 if colour == "gray" else 3, axis=2)
    if format in ("yuv420p", "nv12", "yuyv422"):
        luma, blue_difference, red_difference = _yuv(planes, format)
        rgb = _yuv_to_rgb(luma, blue_difference, red_difference, matrix, range)
        if colour == "gray":
            neutral = np.full_like(luma, 128)
            return _yuv_to_rgb(luma, neutral, neutral, matrix, range)[..., :1]
    elif format.startswith("bayer"):
        rgb = _demosaiced(first, format)
    else:
        rgb = first[..., ::-1] if format == "bgr24" else first
    if colour == "gray":
        return (rgb @ [0.299, 0.587, 0.114])[..., None]
    return rgb if colour == "rgb" else rgb[..., ::-1]


def _yuv(
    planes: tuple[NDArray[np.uint8], ...],
    format: FrameFormat,  # noqa: A002
) -> tuple[Array, Array, Array]:
    """Return Y, U and V, each (H, W): chroma is that of the block a pixel lies in."""
    if format == "yuyv422":
        pairs = planes[0].astype(np.float64)
        chroma = pairs[..., 1]
        return pairs[..., 0], np.repeat(chroma[:, ::2], 2, 1), np.repeat(chroma[:, 1::2], 2, 1)
    luma = planes[0].astype(np.float64)
    height, width = luma.shape
    halves = planes[1:] if format == "yuv420p" else (planes[1][..., 0], planes[1][..., 1])
    u, v = (
        np.repeat(np.repeat(half.astype(np.float64), 2, 0), 2, 1)[:height, :width]
        for half in halves
    )
    return luma, u, v


def _yuv_to_rgb(y: Array, u: Array, v: Array, matrix: ColourMatrix, range: ColourRange) -> Array:  # noqa: A002
    """Invert Y = kr R + kg G + kb B, U ~ B - Y, V ~ R - Y; black has no shades."""
    kr, kb = (0.299, 0.114) if matrix == "bt601" else (0.2126, 0.0722)
    black, luma_steps, chroma_steps = (16, 219, 224) if range == "limited" else (0, 255, 255)
    luma = np.maximum(y - black, 0) / luma_steps
    red = luma + 2 * (1 - kr) * (v - 128) / chroma_steps
    blue = luma + 2 * (1 - kb) * (u - 128) / chroma_steps
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(255 * np.stack([red, green, blue], axis=2), 0, 255)


def _demosaiced(mosaic: Array, format: FrameFormat) -> Array:  # noqa: A002
    """Give each pixel the mean of the nearest samples of each colour, itself if it has it."""
    height, width = mosaic.shape
    tile = format.removeprefix("bayer_").removesuffix("8")  # of the 2 x 2 block, row by row
    rgb = np.empty((height, width, 3))
    for y in range(height):
        for x in range(width):
            # A pixel at the edge lacks neighbours and takes over those of the next one inwards.
            row, column = min(max(y, 1), height - 2), min(max(x, 1), width - 2)
            around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            for channel, name in enumerate("rgb"):
                distances = {
                    (i, j): abs(i) + abs(j)
                    for i, j in around
                    if tile[2 * ((row + i) % 2) + (column + j) % 2] == name
                }
                nearest = [at for at in distances if distances[at] == min(distances.values())]
                rgb[y, x, channel] = np.mean([mosaic[row + i, column + j] for i, j in nearest])
    return rgb


def _interpolations(
    interpolation: Interpolation, resized_hw: tuple[int, int], source_hw: tuple[int, int]
) -> tuple[Array, Array]:
    """Return the (resized, source) matrices of the rows and of the columns."""
    sides = list(zip(resized_hw, source_hw, strict=True))
    if interpolation == "bilinear":
        make = _hats
    elif all(resized <= source for resized, source in sides):
        make = _means
    else:
        make = _reaches
    rows, columns = (make(*pair) for pair in sides)
    return rows, columns


def _hats(resized: int, source: int) -> Array:
    """Return bilinear weights: a hat around each sample point."""
    points = (np.arange(resized) + 0.5) * source / resized - 0.5
    points = np.clip(points, 0, source - 1)  # beyond the outer pixel centres the edge repeats
    return np.maximum(0.0, 1.0 - np.abs(points[:, None] - np.arange(source)))


def _means(resized: int, source: int) -> Array:
    """Return the share that each source pixel has in the area of each output pixel."""
    # In units of 1 / (resized * source) of the side, where all edges are whole numbers.
    begin = np.arange(resized)[:, None] * source
    cell = np.arange(source) * resized
    overlap = np.minimum(begin + source, cell + resized) - np.maximum(begin, cell)
    return np.asarray(np.maximum(overlap, 0) / source)


def _reaches(resized: int, source: int) -> Array:
    """Return what INTER_AREA does where it enlarges, see kernels/letterbox/letterbox.h."""
    weights = np.zeros((resized, source))
    for k in range(resized):
        s = k * source // resized
        reach = max(0, (k + 1) - (s + 1) * resized / source)
        weights[k, s] += 1 - reach % 1
        weights[k, min(s + 1, source - 1)] += reach % 1
    return weights
