"""Frames to a network's input on a GPU, see `edgecv.kernels.letterbox`."""

from collections.abc import Sequence

from edgecv.kernels.cuda.arrays import AnyDeviceArray, DeviceView, check_view, empty_like, stream_of
from edgecv.kernels.cuda.frames import planes_on_device
from edgecv.kernels.cuda.native import cuda
from edgecv.kernels.letterbox_options import Options, Prepared, prepared
from edgecv.placement import Placement

Frame = AnyDeviceArray | tuple[AnyDeviceArray, ...]


def letterbox(
    frame: Frame, options: Options, *, out: AnyDeviceArray | None, stream: object
) -> tuple[AnyDeviceArray, Placement]:
    """Return the input, (C, height, width) or (height, width, C), and where the frame lies."""
    on = stream_of(stream, _first_array(frame))
    planes = planes_on_device("letterbox", frame, options.format, stream=on)
    fitted = prepared("letterbox", options, _size_hw(planes))
    made = _fit(
        "letterbox", _first_array(frame), [planes], [fitted], options, fitted.shape, out, on
    )
    return made, fitted.placement


def letterbox_batch(
    frames: Sequence[Frame], options: Options, *, out: AnyDeviceArray | None, stream: object
) -> tuple[AnyDeviceArray, list[Placement]]:
    """Return the inputs of all frames, in one array, and where each frame lies."""
    like = _first_array(frames[0])
    on = stream_of(stream, like)
    batch = [
        planes_on_device(f"letterbox_batch: frames[{i}]", frame, options.format, stream=on)
        for i, frame in enumerate(frames)
    ]
    for i, planes in enumerate(batch):
        if planes[0].device != batch[0][0].device:
            raise ValueError(
                f"letterbox_batch: frames[{i}] must be on GPU {batch[0][0].device} as frames[0] "
                f"is, got GPU {planes[0].device}. Copy it there first."
            )
    fits = [prepared("letterbox_batch", options, _size_hw(planes)) for planes in batch]
    shape = (len(batch), *fits[0].shape)
    made = _fit("letterbox_batch", like, batch, fits, options, shape, out, on)
    return made, [fitted.placement for fitted in fits]


def _first_array(frame: Frame) -> AnyDeviceArray:
    return frame[0] if isinstance(frame, tuple) else frame


def _size_hw(planes: tuple[DeviceView, ...]) -> tuple[int, int]:
    height, width = planes[0].shape[:2]
    return height, width


def _fit(  # what the kernel takes
    function: str,
    like: AnyDeviceArray,
    batch: list[tuple[DeviceView, ...]],
    fits: list[Prepared],
    options: Options,
    shape: tuple[int, ...],
    out: AnyDeviceArray | None,
    on: int,
) -> AnyDeviceArray:
    """Launch the kernel on images that follow each other in `out`, new and like `like` if None."""
    device = batch[0][0].device
    if out is None:
        out = empty_like(like, shape, options.dtype, stream=on)
    view = check_view(
        function, "out", out, options.dtype, shape, device=device, is_output=True, stream=on
    )
    cuda().letterbox(
        [
            (
                [(plane.pointer, plane.strides[0]) for plane in planes],
                fitted.placement.frame_hw,
                fitted.placement.resized_hw,
                fitted.placement.offset_xy,
            )
            for planes, fitted in zip(batch, fits, strict=True)
        ],
        pixel_format=options.format,
        matrix=options.matrix,
        colour_range=options.range,
        interpolation=options.interpolation,
        colour=options.colour,
        gain=fits[0].gain,
        bias=fits[0].bias,
        pad=options.pad,
        dtype=options.dtype,
        layout=options.layout,
        size_hw=options.size_hw,
        out=view.pointer,
        device=device,
        stream=on,
    )
    return out
