"""The definition of non-maximum suppression."""

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.reference.overlap import iou


def nms(
    boxes_xyxy: NDArray[np.floating],
    scores: NDArray[np.floating],
    class_ids: NDArray[np.integer] | None = None,
    *,
    iou_threshold: float,
    max_detections: int | None = None,
) -> NDArray[np.int64]:
    """Keep a box unless a better one of its class, kept itself, overlaps it too much."""
    boxes = boxes_xyxy.astype(np.float64)
    classes = np.zeros(len(boxes), int) if class_ids is None else class_ids
    order = sorted(np.flatnonzero(~np.isnan(scores)), key=lambda i: (-scores[i], i))
    kept: list[int] = []
    for i in order:
        rivals = (j for j in kept if classes[j] == classes[i])
        if all(iou(boxes[i], boxes[j]) <= iou_threshold for j in rivals):
            kept.append(int(i))
    return np.array(kept[:max_detections], np.int64)
