"""From a camera's frame to a network's input, in one pass over the pixels."""

from collections.abc import Sequence
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from edgecv.frame_formats import (
    ColourMatrix,
    ColourRange,
    FrameFormat,
    Pixels,
    Plane,
    frame_size_hw,
    planes_of,
)
from edgecv.kernels._native import letterbox_cpu
from edgecv.kernels.arguments import check_output
from edgecv.kernels.cuda import letterbox as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device
from edgecv.kernels.implementations import Implementation, check_implementation, in_triton
from edgecv.kernels.letterbox_options import (
    DTYPES,
    Colour,
    ElementType,
    Interpolation,
    Layout,
    Options,
    Prepared,
    prepared,
)
from edgecv.placement import Fit, Placement

__all__ = ["Colour", "ElementType", "Interpolation", "Layout", "letterbox", "letterbox_batch"]

InputArray: TypeAlias = NDArray[Any]  # float32, float16 or uint8, as `dtype` says

_MIN_BAYER_SIDE = 3  # a pixel needs neighbours on both sides


@overload
def letterbox(
    frame: Pixels,
    size_hw: tuple[int, int],
    *,
    format: FrameFormat = "bgr24",
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
    range: ColourRange = "limited",
    out: InputArray | None = None,
) -> tuple[InputArray, Placement]: ...
@overload
def letterbox(
    frame: AnyDeviceArray | tuple[AnyDeviceArray, ...],
    size_hw: tuple[int, int],
    *,
    format: FrameFormat = "bgr24",
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
    range: ColourRange = "limited",
    out: AnyDeviceArray | None = None,
    stream: object = None,
) -> tuple[AnyDeviceArray, Placement]: ...
def letterbox(
    frame: AnyDeviceArray | tuple[AnyDeviceArray, ...],
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
    out: AnyDeviceArray | None = None,
    stream: object = None,
) -> tuple[AnyDeviceArray, Placement]:
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
            least 3 rows and 3 columns. On a GPU, one array or a tuple of planes there
            (`edgecv.kernels.cuda.arrays`) of any format but Bayer's, whose rows are dense.
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
            `batch[i]` of a batch; where the frame is.
        stream: of a GPU: what to work on, see `edgecv.kernels.cuda.arrays.stream_of`.

    Returns:
        (C, height, width) or (height, width, C) of `dtype`, C-contiguous, `out` itself if given;
        and where the frame lies in it. C is 1 for `gray`, otherwise 3.

    Raises:
        ValueError: if a shape, a size, a factor or an option is not as described.
        TypeError: if `frame` is not uint8, `out` not of `dtype`, or one of them on a GPU and the
            other not; nothing is converted or moved silently.
        DeviceError: if the GPU cannot do it.

    Source:
        Bilinear and area interpolation: `cv2.resize`, OpenCV 4 documentation, "Geometric Image
        Transformations". YUV: Rec. ITU-R BT.601-7, section 2.5, and BT.709-6, section 3.

    """
    options = Options(
        tuple(size_hw),
        format,
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
    if _are_on_device(frame, out):
        return on_device.letterbox(frame, options, out=out, stream=stream)
    planes = _planes_of("letterbox", frame, format)
    fitted = prepared("letterbox", options, frame_size_hw(planes))
    if out is None:
        out = np.empty(fitted.shape, DTYPES[dtype])
    check_output("letterbox", "out", out, DTYPES[dtype], fitted.shape)
    _fit(planes, options, fitted, out)
    return out, fitted.placement


@overload
def letterbox_batch(
    frames: Sequence[Pixels],
    size_hw: tuple[int, int],
    *,
    format: FrameFormat = "bgr24",
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
    range: ColourRange = "limited",
    out: InputArray | None = None,
) -> tuple[InputArray, list[Placement]]: ...
@overload
def letterbox_batch(
    frames: Sequence[AnyDeviceArray | tuple[AnyDeviceArray, ...]],
    size_hw: tuple[int, int],
    *,
    format: FrameFormat = "bgr24",
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
    range: ColourRange = "limited",
    out: AnyDeviceArray | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> tuple[AnyDeviceArray, list[Placement]]: ...
def letterbox_batch(
    frames: Sequence[AnyDeviceArray | tuple[AnyDeviceArray, ...]],
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
    out: AnyDeviceArray | None = None,
    stream: object = None,
    implementation: Implementation = "auto",
) -> tuple[AnyDeviceArray, list[Placement]]:
    """Do what `letterbox` does to frames of any sizes, each into an image of one batch.

    On a GPU one launch serves up to 32 frames, whatever their sizes and strides. The call copies
    nothing to or from the GPU: with `out` it may be captured into a CUDA graph, which then reads
    the same addresses again.

    Args:
        frames: at least one frame, each as in `letterbox`; all of one `format` and on one GPU, or
            none on a GPU.
        size_hw: height and width of the input in pixels, at least 1 each.
        format: as in `letterbox`, as are the others up to `range`.
        fit: see `letterbox`.
        colour: see `letterbox`.
        scale: see `letterbox`.
        mean: see `letterbox`.
        std: see `letterbox`.
        pad: see `letterbox`.
        dtype: see `letterbox`.
        layout: see `letterbox`.
        interpolation: see `letterbox`.
        matrix: see `letterbox`.
        range: see `letterbox`.
        out: C-contiguous, where to write the batch instead of allocating it; where the frames are.
        stream: of a GPU: what to work on, see `edgecv.kernels.cuda.arrays.stream_of`.
        implementation: "auto": that of the place where the frames are; "cuda"; or "triton", for
            tensors of PyTorch, bilinear, on its current stream.

    Returns:
        (B, C, height, width) or (B, height, width, C) of `dtype`, C-contiguous, `out` itself if
        given; and where each frame lies in its image.

    Raises:
        ValueError: if there is no frame, or something is not as described.
        TypeError: as `letterbox` does.
        DeviceError: if the GPU cannot do it.
        MissingDependencyError: if the implementation is not installed.

    """
    check_implementation("letterbox_batch", implementation)
    if len(frames) == 0:
        raise ValueError("letterbox_batch: `frames` must hold at least 1 frame, got 0.")
    options = Options(
        tuple(size_hw),
        format,
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
    if implementation == "triton":
        triton = in_triton(
            "letterbox_batch", "letterbox", "letterbox",
            interpolation=(interpolation, "bilinear"), stream=(stream, None),
        )  # fmt: skip
        inputs, placements = triton(frames, options, out=out)
        return inputs, placements
    if implementation == "cuda" or any(_are_on_device(frame, out) for frame in frames):
        return on_device.letterbox_batch(frames, options, out=out, stream=stream)
    batch = [
        _planes_of(f"letterbox_batch: frames[{i}]", frame, format) for i, frame in enumerate(frames)
    ]
    fits = [prepared("letterbox_batch", options, frame_size_hw(planes)) for planes in batch]
    shape = (len(batch), *fits[0].shape)
    if out is None:
        out = np.empty(shape, DTYPES[dtype])
    check_output("letterbox_batch", "out", out, DTYPES[dtype], shape)
    for planes, fitted, image in zip(batch, fits, out, strict=True):
        _fit(planes, options, fitted, image)
    return out, [fitted.placement for fitted in fits]


def _are_on_device(frame: AnyDeviceArray, out: AnyDeviceArray) -> bool:
    """Return whether the frame or the output is on a GPU: then both must be."""
    return is_on_device(frame[0] if isinstance(frame, tuple) and frame else frame) or is_on_device(
        out
    )


def _planes_of(function: str, frame: Pixels, format: FrameFormat) -> tuple[Plane, ...]:  # noqa: A002
    planes = planes_of(function, frame, format)
    frame_hw = frame_size_hw(planes)
    if format.startswith("bayer") and min(frame_hw) < _MIN_BAYER_SIDE:
        raise ValueError(
            f"{function}: `frame` must have at least 3 rows and columns for format {format}, "
            f"got {frame_hw}."
        )
    return planes


def _fit(planes: tuple[Plane, ...], options: Options, fitted: Prepared, out: InputArray) -> None:
    letterbox_cpu(
        planes,
        pixel_format=options.format,
        matrix=options.matrix,
        colour_range=options.range,
        frame_hw=fitted.placement.frame_hw,
        resized_hw=fitted.placement.resized_hw,
        offset_xy=fitted.placement.offset_xy,
        interpolation=options.interpolation,
        colour=options.colour,
        gain=fitted.gain,
        bias=fitted.bias,
        pad=options.pad,
        layout=options.layout,
        out=out,
    )
