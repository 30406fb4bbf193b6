"""Triton implementation of `edgecv.kernels.letterbox`, see there for the contract.

A program fills a tile of one input. For each output pixel it converts the four frame pixels around
its sample point, blends them and normalises: a frame is read once, nothing is stored in between.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgecv.frame_formats import FrameFormat, check_plane_shapes, height_of_array
from edgecv.kernels.arguments import check_choice
from edgecv.kernels.cuda.frames import GPU_FORMATS
from edgecv.kernels.letterbox_options import Colour, Options, Prepared, prepared
from edgecv.kernels.triton.arguments import check_device, dtype_name, output
from edgecv.kernels.triton.colour import rgb_gray, yuv_factors, yuv_gray, yuv_pixel
from edgecv.kernels.triton.tuples import element_at
from edgecv.placement import Placement

Frame: TypeAlias = Tensor | tuple[Tensor, ...]

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "uint8": torch.uint8}
# Pixels of a program: two for each thread of 4 warps, of which nv12 reads 24 bytes.
_BLOCK_HW = (4, 64)
_NUM_WARPS = 4
# Frames of one launch. Their addresses are arguments, since a table on the device would have to be
# copied there first; all programs compare their way to the one that they need.
_FRAMES_AT_ONCE = 8
_MAX_INT32 = 2**31 - 1
# Of red, green and blue, in the order of the input.
_CHANNELS: dict[Colour, tuple[int, ...]] = {"rgb": (0, 1, 2), "bgr": (2, 1, 0), "gray": (0,)}


def letterbox(
    frames: Sequence[Frame] | Tensor, options: Options, *, out: Tensor | None = None
) -> tuple[Tensor, list[Placement]]:
    """Convert, resize and place each frame in a network's input, normalised and laid out for it.

    Frames that follow each other and are alike in size and pitch share launches, up to eight each.

    Args:
        frames: uint8 tensors or tuples of planes on one device, of any sizes, shaped as
            `edgecv.frame_formats` describes; or one tensor with a batch of frames. Rows may have
            any pitch; a frame whose rows are not dense themselves is copied first.
        options: bilinear, of one of the GPU_FORMATS.
        out: of the shape and dtype of what is returned, contiguous, where to write the inputs.

    Returns:
        (B, C, height, width) or (B, height, width, C), `out` itself if given, and where each frame
        lies in it; nothing waits for the device. C is 1 for `gray`, otherwise 3.

    Raises:
        ValueError: if a shape, a device, a size, a factor or an option is not as described.
        TypeError: if a frame is not uint8 or `out` not of the dtype; nothing is converted silently.

    Source:
        See `edgecv.kernels.letterbox`; interpolated bilinearly.

    """
    function, format = "letterbox_batch", options.format  # noqa: A001  # the word of video libraries
    check_choice(function, "format", format, GPU_FORMATS)
    planes = [
        _planes_of(f"{function}: frames[{i}]", frame, format) for i, frame in enumerate(frames)
    ]
    device = planes[0][0].device
    for plane in (plane for frame in planes for plane in frame):
        if plane.device != device:
            raise ValueError(
                f"{function}: `frames` must be on one device, got {device} and {plane.device}."
            )
    fits = [prepared(function, options, tuple(frame[0].shape[:2])) for frame in planes]
    shape = (len(planes), *fits[0].shape)
    out = output(function, "out", out, _DTYPES[options.dtype], shape, device)

    factors = yuv_factors(options.matrix, options.range)
    with torch.cuda.device_of(out):  # Triton launches on the current device
        for first, together in _runs(planes):
            _launch(together, fits[first], out[first:], options, factors)
    return out, [fitted.placement for fitted in fits]


def _planes_of(
    function: str,
    frame: Frame,
    format: FrameFormat,  # noqa: A002
) -> tuple[Tensor, ...]:
    """Return the planes of a frame, as `edgecv.frame_formats.planes_of` does for arrays."""
    planes = frame if isinstance(frame, tuple) else (frame,)
    for plane in planes:
        check_device(function, "frame", plane)
        if plane.dtype != torch.uint8:
            raise TypeError(
                f"{function}: `frame` must be uint8, got {dtype_name(plane.dtype)}. "
                "Scale it to 0..255 and convert it with `.to(torch.uint8)`."
            )
    if format in ("yuv420p", "nv12") and len(planes) == 1:
        planes = _split(planes[0], format)
    check_plane_shapes(function, tuple(tuple(plane.shape) for plane in planes), format)
    # One row's strides tell whether its bytes follow each other.
    return tuple(plane if plane[:1].is_contiguous() else plane.contiguous() for plane in planes)


def _split(frame: Tensor, format: FrameFormat) -> tuple[Tensor, ...]:  # noqa: A002
    """Return the planes of a frame that is one tensor of 3 / 2 of its height, if it is one."""
    height = height_of_array(tuple(frame.shape))
    if height is None:
        return (frame,)
    luma, chroma = frame[:height], frame[height:]
    width = frame.shape[1]
    if format == "nv12":
        return luma, chroma.unflatten(1, (width // 2, 2))
    # Each row of the tensor holds two rows of a chroma plane: a pitch between them needs a copy.
    return luma, *chroma.reshape(2, height // 2, width // 2).unbind()


def _runs(planes: list[tuple[Tensor, ...]]) -> list[tuple[int, list[tuple[Tensor, ...]]]]:
    """Cut the frames into those of one launch, each with the index of its first."""
    runs = []
    first = 0
    for _, alike in groupby(planes, key=lambda frame: [(p.shape, p.stride(0)) for p in frame]):
        group = list(alike)
        starts = range(0, len(group), _FRAMES_AT_ONCE)
        runs += [(first + start, group[start : start + _FRAMES_AT_ONCE]) for start in starts]
        first += len(group)
    return runs


def _launch(
    frames: list[tuple[Tensor, ...]],
    fitted: Prepared,
    out: Tensor,
    options: Options,
    factors: tuple[float, ...],
) -> None:
    """Fill the first inputs of `out` with frames that are alike."""
    placement = fitted.placement
    height, width = placement.size_hw
    block_h, block_w = _BLOCK_HW
    tiles_x = triton.cdiv(width, block_w)
    # Filled up with the last frame and plane, so that one kernel serves all numbers of frames.
    filled = [(*frame, *frame[-1:] * (3 - len(frame))) for frame in frames]
    filled += filled[-1:] * (_FRAMES_AT_ONCE - len(frames))
    products = (
        (2 * resized + 1) * side
        for resized, side in zip(placement.resized_hw, placement.frame_hw, strict=True)
    )
    _letterbox_kernel[tiles_x * triton.cdiv(height, block_h), len(frames)](
        tuple(zip(*filled, strict=True)),
        tuple(plane.stride(0) for plane in frames[0]),
        *placement.frame_hw,
        *placement.resized_hw,
        *placement.offset_xy,
        out,
        height,
        width,
        fitted.gain,
        fitted.bias,
        options.pad,
        factors,
        tiles_x,
        options.format,
        _CHANNELS[options.colour],
        options.layout,
        tl.int32 if max(products) <= _MAX_INT32 else tl.int64,
        block_h,
        block_w,
        num_warps=_NUM_WARPS,
    )


@triton.jit
def _taps(index, source, resized, POSITION: tl.constexpr):
    """Return the two frame pixels around each sample point of an axis, and the second's weight.

    The sample point, (index + 0.5) * source / resized - 0.5, is a fraction over 2 * resized. It is
    computed in whole numbers: float32 has too few digits for it, float64 is slow on small GPUs.
    """
    index = tl.minimum(tl.maximum(index, 0), resized - 1).to(POSITION)  # a bar's pixel reads, too
    numerator = tl.maximum((2 * index + 1) * source - resized, 0)
    low = tl.minimum(numerator // (2 * resized), source - 1)
    rest = numerator - low * (2 * resized)
    weight = tl.where(low < source - 1, rest.to(tl.float32) / (2.0 * resized), 0.0)
    low = low.to(tl.int32)
    return low, tl.minimum(low + 1, source - 1), weight


@triton.jit
def _pixel(planes, pitches, y, x, factors, FORMAT: tl.constexpr, GRAY: tl.constexpr):
    """Return red, green and blue of the frame's pixels at rows `y` and columns `x`, or gray."""
    # int64: a plane may have 2**31 bytes.
    row_ptr = planes[0] + y.to(tl.int64) * pitches[0]
    if FORMAT == "gray8":
        red = tl.load(row_ptr + x).to(tl.float32)
        green, blue = red, red
    elif FORMAT == "yuyv422" or len(pitches) > 1:  # YUV alone has several planes
        luma = tl.load(row_ptr + (2 * x if FORMAT == "yuyv422" else x))
        if GRAY:
            red = yuv_gray(luma, factors)
            green, blue = red, red
        else:
            chroma_y, chroma_x = (y >> 1).to(tl.int64), x >> 1
            if FORMAT == "yuyv422":
                u_ptr = row_ptr + 4 * chroma_x + 1
                v_ptr = u_ptr + 2
            elif FORMAT == "nv12":
                u_ptr = planes[1] + chroma_y * pitches[1] + 2 * chroma_x
                v_ptr = u_ptr + 1
            else:
                u_ptr = planes[1] + chroma_y * pitches[1] + chroma_x
                v_ptr = planes[2] + chroma_y * pitches[2] + chroma_x
            red, green, blue = yuv_pixel(luma, tl.load(u_ptr), tl.load(v_ptr), factors)
    else:
        first = tl.load(row_ptr + 3 * x + 0).to(tl.float32)
        green = tl.load(row_ptr + 3 * x + 1).to(tl.float32)
        third = tl.load(row_ptr + 3 * x + 2).to(tl.float32)
        if FORMAT == "bgr24":
            red, blue = third, first
        else:
            red, blue = first, third
        if GRAY:
            red = rgb_gray(red, green, blue)
            green, blue = red, red
    return red, green, blue


@triton.jit
def _blend(a, b, weight):
    """Return `a` exactly where both are equal or the weight is 0."""
    return a + (b - a) * weight


# Frames of another size, pitch or alignment do not need another kernel.
@triton.jit(
    do_not_specialize=[
        "planes_of_frames", "pitches", "frame_h", "frame_w", "resized_h", "resized_w", "left",
        "top", "height", "tiles_x",
    ]
)  # fmt: skip
def _letterbox_kernel(
    planes_of_frames, pitches, frame_h, frame_w, resized_h, resized_w, left, top,
    out_ptr, height, width, gain, bias, pad, factors, tiles_x,
    FORMAT: tl.constexpr, CHANNELS: tl.constexpr, LAYOUT: tl.constexpr, POSITION: tl.constexpr,
    BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """Fill a tile of one input."""
    image = tl.program_id(1)
    planes = (
        element_at(planes_of_frames[0], image),
        element_at(planes_of_frames[1], image),
        element_at(planes_of_frames[2], image),
    )
    y = tl.program_id(0) // tiles_x * BLOCK_H + tl.arange(0, BLOCK_H)[:, None]
    x = tl.program_id(0) % tiles_x * BLOCK_W + tl.arange(0, BLOCK_W)[None, :]
    upper, lower, weight_y = _taps(y - top, frame_h, resized_h, POSITION)
    before, after, weight_x = _taps(x - left, frame_w, resized_w, POSITION)

    GRAY: tl.constexpr = len(CHANNELS) == 1
    upper_before = _pixel(planes, pitches, upper, before, factors, FORMAT, GRAY)
    upper_after = _pixel(planes, pitches, upper, after, factors, FORMAT, GRAY)
    lower_before = _pixel(planes, pitches, lower, before, factors, FORMAT, GRAY)
    lower_after = _pixel(planes, pitches, lower, after, factors, FORMAT, GRAY)

    is_frame = (y >= top) & (y < top + resized_h) & (x >= left) & (x < left + resized_w)
    exists = (y < height) & (x < width)
    area = height.to(tl.int64) * width
    place = y.to(tl.int64) * width + x
    if LAYOUT == "chw":
        pixel_stride, channel_stride = 1, area
    else:
        pixel_stride, channel_stride = len(CHANNELS), 1
    target = out_ptr + image.to(tl.int64) * len(CHANNELS) * area + place * pixel_stride
    for c in tl.static_range(len(CHANNELS)):
        above = _blend(upper_before[CHANNELS[c]], upper_after[CHANNELS[c]], weight_x)
        below = _blend(lower_before[CHANNELS[c]], lower_after[CHANNELS[c]], weight_x)
        pixel = tl.where(is_frame, _blend(above, below, weight_y), pad)
        value = pixel * gain[c] + bias[c]
        if out_ptr.dtype.element_ty == tl.uint8:
            value = tl.floor(tl.minimum(tl.maximum(value, 0.0), 255.0) + 0.5)
        tl.store(target + c * channel_stride, value.to(out_ptr.dtype.element_ty), mask=exists)
