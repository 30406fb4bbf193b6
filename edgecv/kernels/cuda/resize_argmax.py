"""Labels from logits on a GPU, see `edgecv.kernels.resize_argmax`."""

from typing import Literal

import numpy as np

from edgecv.kernels.cuda.arrays import (
    AnyDeviceArray,
    DeviceView,
    check_view,
    empty_like,
    stream_of,
    view_of,
)
from edgecv.kernels.cuda.native import cuda
from edgecv.kernels.logits import check_logits, logits_from_frame
from edgecv.placement import Placement

LogitsLayout = Literal["linear", "hwc8"]

_NAME = "resize_argmax"
_FLOAT, _HALF, _HALF_HWC8 = range(3)  # as in kernels/resize_argmax/resize_argmax.cuh
_PADDING = 8  # classes
_ALIGNMENT = 16  # bytes


def resize_argmax(
    logits: AnyDeviceArray,
    size_hw: tuple[int, int],
    *,
    placement: Placement | None,
    out: AnyDeviceArray | None,
    confidence: AnyDeviceArray | None,
    layout: LogitsLayout,
    num_classes: int | None,
    stream: object,
) -> AnyDeviceArray:
    """Return the (H, W) or (B, H, W) uint8 labels; the frame has been checked."""
    on = stream_of(stream, logits)
    if layout == "hwc8":
        view, shape_nchw = _hwc8(logits, num_classes, on)
        kind = _HALF_HWC8
    else:
        view, shape_nchw = _planes(logits, num_classes, on)
        kind = _FLOAT if view.dtype == np.float32 else _HALF
    check_logits(_NAME, shape_nchw[1:], view.shape)
    shape = (*view.shape[:-3], *size_hw)
    if out is None:
        out = empty_like(logits, shape, np.uint8, stream=on)
    labels = check_view(
        _NAME, "out", out, np.uint8, shape, device=view.device, is_output=True, stream=on
    )
    certainty = 0
    if confidence is not None:
        certainty = check_view(
            _NAME, "confidence", confidence, np.float32, shape,
            device=view.device, is_output=True, stream=on,
        ).pointer  # fmt: skip
    scale_yx, bias_yx = logits_from_frame(placement, size_hw, shape_nchw[2:])
    cuda().resize_argmax(
        view.pointer, kind, shape_nchw, scale_yx, bias_yx, size_hw, labels.pointer, certainty,
        view.device, on,
    )  # fmt: skip
    return out


def _planes(
    logits: AnyDeviceArray, num_classes: int | None, stream: int
) -> tuple[DeviceView, tuple[int, int, int, int]]:
    view = _view(logits, (np.float32, np.float16), ("C", "h", "w"), stream)
    batch, classes, height, width = (1, *view.shape)[-4:]
    if num_classes not in (None, classes):
        raise ValueError(
            f"{_NAME}: `num_classes` must be that of `logits`, {classes}, got {num_classes}. "
            f"Leave it out: it is for the padded classes of layout hwc8."
        )
    return view, (batch, classes, height, width)


def _hwc8(
    logits: AnyDeviceArray, num_classes: int | None, stream: int
) -> tuple[DeviceView, tuple[int, int, int, int]]:
    view = _view(logits, np.float16, ("h", "w", "P"), stream)
    batch, height, width, padded = (1, *view.shape)[-4:]
    classes = padded if num_classes is None else num_classes
    if classes < 1 or padded != -(-classes // _PADDING) * _PADDING:
        raise ValueError(
            f"{_NAME}: `logits` must hold its classes padded to whole {_PADDING} in layout hwc8, "
            f"got {view.shape} and {classes} classes. Pass `num_classes`."
        )
    if view.pointer % _ALIGNMENT:
        raise ValueError(
            f"{_NAME}: `logits` must be aligned to {_ALIGNMENT} bytes in layout hwc8, "
            f"got the address {view.pointer:#x}. Copy it."
        )
    return view, (batch, classes, height, width)


def _view(
    logits: AnyDeviceArray,
    dtypes: type | tuple[type, ...],
    shape: tuple[str, str, str],
    stream: int,
) -> DeviceView:
    """Return where the logits of an image lie, or those of a batch."""
    is_batch = len(view_of(_NAME, "logits", logits).shape) > len(shape)
    wanted = ("B", *shape) if is_batch else shape
    return check_view(_NAME, "logits", logits, dtypes, wanted, stream=stream)
