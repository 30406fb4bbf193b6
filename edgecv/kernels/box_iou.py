"""Pairwise overlap of two sets of boxes."""

from typing import Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import box_iou_cpu
from edgecv.kernels.arguments import check_array, check_choice, check_output
from edgecv.kernels.cuda import box_iou as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device

OverlapKind = Literal["iou", "giou", "diou", "ciou"]

_KINDS = get_args(OverlapKind)  # in the order of the native module


@overload
def box_iou(
    a_xyxy: NDArray[np.float32],
    b_xyxy: NDArray[np.float32],
    *,
    kind: OverlapKind = "iou",
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]: ...
@overload
def box_iou(
    a_xyxy: AnyDeviceArray,
    b_xyxy: AnyDeviceArray,
    *,
    kind: OverlapKind = "iou",
    out: AnyDeviceArray | None = None,
    stream: object = None,
) -> AnyDeviceArray: ...
def box_iou(
    a_xyxy: AnyDeviceArray,
    b_xyxy: AnyDeviceArray,
    *,
    kind: OverlapKind = "iou",
    out: AnyDeviceArray | None = None,
    stream: object = None,
) -> AnyDeviceArray:
    """Return the overlap of every box of `a_xyxy` with every box of `b_xyxy`.

    With C the hull of A and B, d the distance of their centres, c the diagonal of C and
    v = 4 / π² (atan(w/h of A) - atan(w/h of B))²:

    - "iou": |A ∩ B| / |A ∪ B|;
    - "giou": IoU - (|C| - |A ∪ B|) / |C|;
    - "diou": IoU - d² / c²;
    - "ciou": DIoU - v² / (1 - IoU + v).

    A box that is empty or inverted or has a coordinate that is not finite has an IoU of 0 with
    every box and a value of -1 in the other kinds, that of boxes infinitely far apart.

    Args:
        a_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels, x right and y down; of NumPy or, then all
            arrays, on a GPU (`edgecv.kernels.cuda.arrays`).
        b_xyxy: (M, 4) float32, as `a_xyxy`.
        kind: "iou", "giou", "diou" or "ciou".
        out: (N, M) float32, C-contiguous, filled and returned; if None, a new array is. It must
            not share memory with the boxes.
        stream: of a GPU: what to work on, see `edgecv.kernels.cuda.arrays.stream_of`.

    Returns:
        (N, M) float32, never NaN: in [0, 1] for "iou", at most 1 and more than -1.5 for the others.

    Raises:
        ValueError: if a shape or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.
        DeviceError: if the GPU cannot do it.

    Source:
        Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, algorithm 1; Zheng et
        al., "Distance-IoU Loss", AAAI 2020, equations 7, 10 and 11.

    """
    check_choice("box_iou", "kind", kind, _KINDS)
    number = _KINDS.index(kind)
    if is_on_device(a_xyxy):
        return on_device.box_iou(a_xyxy, b_xyxy, kind=number, out=out, stream=stream)
    check_array("box_iou", "a_xyxy", a_xyxy, np.float32, ("N", 4))
    check_array("box_iou", "b_xyxy", b_xyxy, np.float32, ("M", 4))
    shape = (len(a_xyxy), len(b_xyxy))
    if out is None:
        out = np.empty(shape, np.float32)
    check_output("box_iou", "out", out, np.float32, shape)
    box_iou_cpu(np.ascontiguousarray(a_xyxy), np.ascontiguousarray(b_xyxy), number, out)
    return out
