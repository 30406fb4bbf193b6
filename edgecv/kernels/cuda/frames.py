"""Frames in a GPU's memory: the planes of `edgecv.frame_formats`, read in place."""

from dataclasses import replace

import numpy as np

from edgecv.frame_formats import (
    FRAME_FORMATS,
    FrameFormat,
    check_frame_format,
    check_plane_shapes,
    height_of_array,
)
from edgecv.kernels.cuda.arrays import AnyDeviceArray, DeviceView, strides_of, view_of

GPU_FORMATS: tuple[FrameFormat, ...] = tuple(
    name for name in FRAME_FORMATS if not name.startswith("bayer")
)


def planes_on_device(
    function: str,
    frame: AnyDeviceArray | tuple[AnyDeviceArray, ...],
    format: FrameFormat,  # noqa: A002
    *,
    stream: int,
) -> tuple[DeviceView, ...]:
    """Return where the planes of `frame` lie, checked; no pixel is copied.

    Args:
        function: in whose name to complain.
        frame: one array on a GPU or a tuple of planes, see `edgecv.frame_formats`; rows may have
            any stride.
        format: one of GPU_FORMATS.
        stream: the handle of the stream that will read it.

    Returns:
        The planes that `edgecv.frame_formats.planes_of` would return, all on one GPU.

    Raises:
        ValueError: if the format is another, a shape does not fit it, the pixels of a row are not
            dense, or planes are on different GPUs.
        TypeError: if a plane is not a uint8 array on a GPU.

    """
    check_frame_format(function, format)
    if format not in GPU_FORMATS:
        raise ValueError(
            f"{function}: `format` must be one of {', '.join(GPU_FORMATS)} for a frame on a GPU, "
            f"got {format!r}. Fit it on the processor and copy the result."
        )
    arrays = frame if isinstance(frame, tuple) else (frame,)
    planes = tuple(view_of(function, "frame", array, stream=stream) for array in arrays)
    for plane in planes:
        if plane.dtype != np.uint8:
            raise TypeError(f"{function}: `frame` must be uint8, got {plane.dtype}.")
        if plane.device != planes[0].device:
            raise ValueError(
                f"{function}: the planes of `frame` must be on one GPU, got GPU "
                f"{planes[0].device} and GPU {plane.device}. Copy them to one of them first."
            )
    if format in ("yuv420p", "nv12") and len(planes) == 1:
        planes = _planes_of_array(function, planes[0], format)
    check_plane_shapes(function, tuple(plane.shape for plane in planes), format)
    for plane in planes:
        if not _has_dense_rows(plane):
            raise ValueError(
                f"{function}: `frame` must hold the pixels of each row densely, got strides of "
                f"{plane.strides} bytes. Make it so with `frame.contiguous()` or "
                "`cupy.ascontiguousarray(frame)`."
            )
    return planes


def _planes_of_array(
    function: str,
    frame: DeviceView,
    format: FrameFormat,  # noqa: A002
) -> tuple[DeviceView, ...]:
    """Return the planes of a frame that is one array of 3 / 2 of its height."""
    height = height_of_array(frame.shape)
    if height is None or not _has_dense_rows(frame):
        return (frame,)
    width, row = frame.shape[1], frame.strides[0]
    half = height // 2, width // 2
    luma = replace(frame, shape=(height, width))
    chroma = frame.pointer + height * row
    if format == "nv12":
        return luma, replace(frame, pointer=chroma, shape=(*half, 2), strides=(row, 2, 1))
    if row != width and height:
        raise ValueError(
            f"{function}: `frame` must be C-contiguous for format yuv420p in one array, got "
            f"strides of {frame.strides} bytes. Pass its planes as a tuple, Y, U and V."
        )
    u = replace(frame, pointer=chroma, shape=half, strides=(half[1], 1))
    return luma, u, replace(u, pointer=chroma + half[0] * half[1])


def _has_dense_rows(plane: DeviceView) -> bool:
    row = plane.shape[1:]
    return all(
        stride == step or side == 1
        for side, stride, step in zip(
            row, plane.strides[1:], strides_of(row, np.uint8), strict=True
        )
    )
