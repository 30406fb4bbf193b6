"""Greedy non-maximum suppression."""

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import nms_cpu
from edgecv.kernels.arguments import check_array, check_at_least, check_fraction


def nms(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32] | None = None,
    *,
    iou_threshold: float,
    max_detections: int | None = None,
) -> NDArray[np.int64]:
    """Return the rows of the boxes that no better box of their class overlaps too much.

    Boxes are visited best score first, equal scores by row. A box is kept unless a box kept before
    it has the same class and an IoU greater than `iou_threshold`. Classes are compared as they
    are, without shifting boxes apart, so that large coordinates keep their precision.

    Args:
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels. An empty or inverted box and one with
            a coordinate that is NaN or infinite have IoU 0 with everything: they are kept and
            suppress nothing. N is below 2**32.
        scores: (N,) float32. A box whose score is NaN is never kept; infinite ones are.
        class_ids: (N,) int32, any values; if None, all boxes are of one class.
        iou_threshold: in [0, 1].
        max_detections: stop after that many kept boxes, at least 1; if None, do not stop.

    Returns:
        (K,) int64, rows of `boxes_xyxy`, best score first.

    Raises:
        ValueError: if a shape or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        Felzenszwalb et al., "Object Detection with Discriminatively Trained Part-Based Models",
        PAMI 2010, section 7.2.

    """
    check_array("nms", "boxes_xyxy", boxes_xyxy, np.float32, ("N", 4))
    count = len(boxes_xyxy)
    check_array("nms", "scores", scores, np.float32, (count,))
    if class_ids is not None:
        check_array("nms", "class_ids", class_ids, np.int32, (count,))
        class_ids = np.ascontiguousarray(class_ids)
    check_fraction("nms", "iou_threshold", iou_threshold)
    limit = count
    if max_detections is not None:
        check_at_least("nms", "max_detections", max_detections, 1)
        limit = min(count, max_detections)
    kept = np.empty(limit, np.int64)
    num_kept = nms_cpu(
        np.ascontiguousarray(boxes_xyxy),
        np.ascontiguousarray(scores),
        class_ids,
        iou_threshold=iou_threshold,
        max_detections=limit,
        kept=kept,
    )
    return kept[:num_kept]
