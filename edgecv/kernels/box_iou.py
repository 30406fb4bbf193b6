"""Pairwise overlap of two sets of boxes."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import box_iou_cpu
from edgecv.kernels.arguments import check_array, check_choice

OverlapKind = Literal["iou", "giou", "diou", "ciou"]

_KINDS = get_args(OverlapKind)  # in the order of the native module


def box_iou(
    a_xyxy: NDArray[np.float32],
    b_xyxy: NDArray[np.float32],
    *,
    kind: OverlapKind = "iou",
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
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
        a_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels, x right and y down.
        b_xyxy: (M, 4) float32, as `a_xyxy`.
        kind: "iou", "giou", "diou" or "ciou".
        out: (N, M) float32, C-contiguous, filled and returned; if None, a new array is. It must
            not share memory with the boxes.

    Returns:
        (N, M) float32, never NaN: in [0, 1] for "iou", at most 1 and more than -1.5 for the others.

    Raises:
        ValueError: if a shape or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, algorithm 1; Zheng et
        al., "Distance-IoU Loss", AAAI 2020, equations 7, 10 and 11.

    """
    check_array("box_iou", "a_xyxy", a_xyxy, np.float32, ("N", 4))
    check_array("box_iou", "b_xyxy", b_xyxy, np.float32, ("M", 4))
    check_choice("box_iou", "kind", kind, _KINDS)
    shape = (len(a_xyxy), len(b_xyxy))
    if out is None:
        out = np.empty(shape, np.float32)
    else:
        check_array("box_iou", "out", out, np.float32, shape)
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError(
                "box_iou: `out` must be C-contiguous and writeable, got a view that is not. "
                "Allocate it with `np.empty((N, M), np.float32)`."
            )
    box_iou_cpu(np.ascontiguousarray(a_xyxy), np.ascontiguousarray(b_xyxy), _KINDS.index(kind), out)
    return out
