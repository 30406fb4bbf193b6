"""Greedy non-maximum suppression."""

from typing import overload

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import nms_cpu
from edgecv.kernels.arguments import check_at_least, check_fraction, check_scored_boxes
from edgecv.kernels.cuda import nms as on_device
from edgecv.kernels.cuda.arrays import AnyDeviceArray, is_on_device


@overload
def nms(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32] | None = None,
    *,
    iou_threshold: float,
    max_detections: int | None = None,
) -> NDArray[np.int64]: ...
@overload
def nms(
    boxes_xyxy: AnyDeviceArray,
    scores: AnyDeviceArray,
    class_ids: AnyDeviceArray | None = None,
    *,
    iou_threshold: float,
    max_detections: int | None = None,
    stream: object = None,
) -> AnyDeviceArray: ...
def nms(
    boxes_xyxy: AnyDeviceArray,
    scores: AnyDeviceArray,
    class_ids: AnyDeviceArray | None = None,
    *,
    iou_threshold: float,
    max_detections: int | None = None,
    stream: object = None,
) -> AnyDeviceArray:
    """Return the rows of the boxes that no better box of their class overlaps too much.

    Boxes are visited best score first, equal scores by row. A box is kept unless a box kept before
    it has the same class and an IoU greater than `iou_threshold`. Classes are compared as they
    are, without shifting boxes apart, so that large coordinates keep their precision.

    On a GPU the call waits for its stream, to know how many rows to return; `edge_nms` does not.

    Args:
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels; of NumPy or, then all arrays, on a GPU
            (`edgecv.kernels.cuda.arrays`). An empty or inverted box and one with a coordinate that
            is NaN or infinite have IoU 0 with everything: they are kept and suppress nothing. N is
            below 2**32.
        scores: (N,) float32. A box whose score is NaN is never kept; infinite ones are.
        class_ids: (N,) int32, any values; if None, all boxes are of one class.
        iou_threshold: in [0, 1].
        max_detections: stop after that many kept boxes, at least 1; if None, do not stop.
        stream: of a GPU: what to work on, see `edgecv.kernels.cuda.arrays.stream_of`.

    Returns:
        (K,) int64, rows of `boxes_xyxy`, best score first.

    Raises:
        ValueError: if a shape or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.
        DeviceError: if the GPU cannot do it.

    Source:
        Felzenszwalb et al., "Object Detection with Discriminatively Trained Part-Based Models",
        PAMI 2010, section 7.2.

    """
    check_fraction("nms", "iou_threshold", iou_threshold)
    if max_detections is not None:
        check_at_least("nms", "max_detections", max_detections, 1)
    if is_on_device(boxes_xyxy):
        return on_device.nms(
            boxes_xyxy,
            scores,
            class_ids,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            stream=stream,
        )
    count = check_scored_boxes("nms", boxes_xyxy, scores, class_ids)
    limit = count if max_detections is None else min(count, max_detections)
    kept = np.empty(limit, np.int64)
    num_kept = nms_cpu(
        np.ascontiguousarray(boxes_xyxy),
        np.ascontiguousarray(scores),
        None if class_ids is None else np.ascontiguousarray(class_ids),
        iou_threshold=iou_threshold,
        max_detections=limit,
        kept=kept,
    )
    return kept[:num_kept]
