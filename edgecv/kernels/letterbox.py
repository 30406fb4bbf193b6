"""From a camera's frame to a network's input, in one pass over the pixels."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import letterbox_cpu
from edgecv.kernels.arguments import check_array, check_at_least, check_choice
from edgecv.placement import FITS, Fit, Placement

FrameFormat = Literal["bgr24", "rgb24"]
Colour = Literal["rgb", "bgr"]

_CHANNELS = 3
_MAX_PIXEL = 255


def letterbox(
    frame: NDArray[np.uint8],
    size_hw: tuple[int, int],
    *,
    format: FrameFormat = "bgr24",  # noqa: A002  # the word that every video library uses
    fit: Fit = "letterbox",
    colour: Colour = "rgb",
    scale: float = 1 / 255,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pad: float = 114,
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], Placement]:
    """Resize and place a frame in a network's input, normalised and split into colour planes.

    Every value is (pixel * scale - mean[c]) / std[c]. Resizing is bilinear with half-pixel
    centres, as in OpenCV's INTER_LINEAR, without antialiasing; beyond the outermost pixel centres
    the edge pixels are repeated.

    Args:
        frame: (H, W, 3) uint8, pixels 0..255. Rows may have any stride: a cropped or flipped view
            is read in place. Another order of the pixels in memory is copied first.
        size_hw: height and width of the input in pixels, at least 1 each.
        format: order of the channels in `frame`.
        fit: how the frame is placed, see `edgecv.placement.Placement.of`.
        colour: order of the channels in the input.
        scale: factor on the pixel value, positive.
        mean: per channel in the order of `colour`, in units of `pixel * scale`; 0 if None.
        std: per channel in the order of `colour`, positive; 1 if None.
        pad: pixel value 0..255 of what the frame does not cover, before normalisation.
        out: (3, height, width) float32, C-contiguous: where to write the input instead of
            allocating it.

    Returns:
        (3, height, width) float32, C-contiguous, `out` itself if given; and where the frame lies
        in it.

    Raises:
        ValueError: if a shape, a size, a factor or an option is not as described.
        TypeError: if `frame` is not uint8 or `out` not float32; nothing is converted silently.

    Source:
        Bilinear interpolation; the half-pixel convention is that of `cv2.resize`, OpenCV 4
        documentation, "Geometric Image Transformations".

    """
    check_array("letterbox", "frame", frame, np.uint8, ("H", "W", _CHANNELS))
    check_choice("letterbox", "format", format, get_args(FrameFormat))
    check_choice("letterbox", "fit", fit, FITS)
    check_choice("letterbox", "colour", colour, get_args(Colour))
    height, width = size_hw
    check_at_least("letterbox", "size_hw", min(height, width), 1)
    if frame.size == 0:
        raise ValueError(f"letterbox: `frame` must hold at least 1 pixel, got {frame.shape}.")
    if not 0 <= pad <= _MAX_PIXEL:
        raise ValueError(f"letterbox: `pad` must be in [0, 255], got {pad}.")
    gain, bias = _affine(scale, mean, std)

    if out is None:
        out = np.empty((_CHANNELS, height, width), np.float32)
    else:
        check_array("letterbox", "out", out, np.float32, (_CHANNELS, height, width))
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError(
                "letterbox: `out` must be C-contiguous and writeable, got a view that is not. "
                "Allocate it with `np.empty((3, height, width), np.float32)`."
            )
    if frame.strides[1:] != (_CHANNELS, 1):
        frame = np.ascontiguousarray(frame)
    placement = Placement.of(frame.shape[:2], (height, width), fit)
    letterbox_cpu(
        frame,
        resized_hw=placement.resized_hw,
        offset_xy=placement.offset_xy,
        reverse_channels=not format.startswith(colour),
        gain=gain,
        bias=bias,
        pad=pad,
        out=out,
    )
    return out, placement


def _affine(
    scale: float, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[list[float], list[float]]:
    """Return the normalisation as one factor and one addend per channel."""
    mean = (0.0,) * _CHANNELS if mean is None else mean
    std = (1.0,) * _CHANNELS if std is None else std
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != _CHANNELS or not np.isfinite(values).all():
            raise ValueError(f"letterbox: `{name}` must hold 3 finite numbers, got {values}.")
    if min(std) <= 0:
        raise ValueError(f"letterbox: `std` must be positive, got {std}.")
    if not 0 < scale < np.inf:
        raise ValueError(f"letterbox: `scale` must be positive and finite, got {scale}.")
    gain = [scale / float(deviation) for deviation in std]
    bias = [-float(centre) / float(deviation) for centre, deviation in zip(mean, std, strict=True)]
    return gain, bias
