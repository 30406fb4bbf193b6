"""The definition of non-maximum suppression and of the overlap of two boxes."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
        if all(box_iou(boxes[i], boxes[j]) <= iou_threshold for j in rivals):
            kept.append(int(i))
    return np.array(kept[:max_detections], np.int64)


def box_iou(p: Array, q: Array) -> float:
    """Return |P ∩ Q| / |P ∪ Q|; 0 if either is empty, inverted or not a number."""
    area_p, area_q = _area(*p), _area(*q)
    if not (area_p > 0 and area_q > 0):
        return 0.0
    intersection = _area(max(p[0], q[0]), max(p[1], q[1]), min(p[2], q[2]), min(p[3], q[3]))
    return intersection / (area_p + area_q - intersection)


def _area(x1: float, y1: float, x2: float, y2: float) -> float:
    """Return the area of a box in pixels², 0 when it is empty, inverted or not a number."""
    return float((x2 - x1) * (y2 - y1)) if x2 > x1 and y2 > y1 else 0.0
