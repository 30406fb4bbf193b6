"""Pairwise overlap of two sets of boxes on a GPU, see `edgecv.kernels.box_iou`."""

import numpy as np

from edgecv.kernels.cuda.arrays import AnyDeviceArray, check_view, empty_like, stream_of
from edgecv.kernels.cuda.native import cuda


def box_iou(
    a_xyxy: AnyDeviceArray,
    b_xyxy: AnyDeviceArray,
    *,
    kind: int,
    out: AnyDeviceArray | None,
    stream: object,
) -> AnyDeviceArray:
    """Return the (N, M) float32 overlaps; `kind` is 0 to 3, in the order of `OverlapKind`."""
    on = stream_of(stream, a_xyxy)
    a = check_view("box_iou", "a_xyxy", a_xyxy, np.float32, ("N", 4), stream=on)
    b = check_view("box_iou", "b_xyxy", b_xyxy, np.float32, ("M", 4), device=a.device, stream=on)
    shape = (a.shape[0], b.shape[0])
    if out is None:
        out = empty_like(a_xyxy, shape, np.float32, stream=on)
    result = check_view(
        "box_iou", "out", out, np.float32, shape, device=a.device, is_output=True, stream=on
    )
    cuda().box_iou(a.pointer, shape[0], b.pointer, shape[1], kind, result.pointer, a.device, on)
    return out
