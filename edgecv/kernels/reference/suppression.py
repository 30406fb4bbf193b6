"""The definition of non-maximum suppression."""

import math

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.reference.overlap import iou

# Of an image's candidates that `edge_nms` suppresses: the best ones.
MAX_CANDIDATES = 30000


def nms(
    boxes_xyxy: NDArray[np.floating],
    scores: NDArray[np.floating],
    class_ids: NDArray[np.integer] | None = None,
    *,
    iou_threshold: float,
    max_detections: int | None = None,
) -> NDArray[np.int64]:
    """Keep a box unless a better one of its class, kept itself, overlaps it too much."""
    boxes = boxes_xyxy.astype(np.float64).tolist()
    classes = np.zeros(len(boxes), int) if class_ids is None else class_ids
    order = sorted(np.flatnonzero(~np.isnan(scores)), key=lambda i: (-scores[i], i))
    kept: list[int] = []
    for i in order:
        rivals = (j for j in kept if classes[j] == classes[i])
        if all(iou(boxes[i], boxes[j]) <= iou_threshold for j in rivals):
            kept.append(int(i))
    return np.array(kept[:max_detections], np.int64)


def edge_nms(
    boxes_xyxy: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    class_agnostic: bool = False,
    background_class: int = -1,
    layout: str = "nc",
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Suppress each image's pairs of a box and a class, and fill rows of a fixed number."""
    rows = (len(scores), max_detections)
    counts = np.zeros(len(scores), np.int32)
    out_boxes, out_scores = np.zeros((*rows, 4), np.float32), np.zeros(rows, np.float32)
    class_ids = np.full(rows, -1, np.int32)
    for image, boxes in enumerate(boxes_xyxy):
        of_image = scores[image] if layout == "nc" else scores[image].T
        pairs = [
            (-float(score), box, class_id)
            for (box, class_id), score in np.ndenumerate(of_image)
            if score > np.float32(score_threshold) and class_id != background_class
        ]
        if class_agnostic:
            pairs = [min(p for p in pairs if p[1] == box) for box in {p[1] for p in pairs}]
        pairs = sorted(pairs)[:MAX_CANDIDATES]
        values = np.array([-negated for negated, _, _ in pairs])
        chosen = np.array([box for _, box, _ in pairs], int)
        classes = np.array([class_id for _, _, class_id in pairs], int)
        kept = nms(
            boxes[chosen],
            values,
            None if class_agnostic else classes,
            iou_threshold=float(np.float32(iou_threshold)),
            max_detections=max_detections,
        )
        count = counts[image] = len(kept)
        out_boxes[image, :count] = boxes[chosen[kept]]
        out_scores[image, :count] = values[kept]
        class_ids[image, :count] = classes[kept]
    return counts, out_boxes, out_scores, class_ids


def soft_nms(
    boxes_xyxy: NDArray[np.floating],
    scores: NDArray[np.floating],
    class_ids: NDArray[np.integer] | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
    max_detections: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Keep the best box, lower the scores of those of its class that overlap it, and go on."""
    boxes = boxes_xyxy.astype(np.float64).tolist()
    classes = np.zeros(len(boxes), int) if class_ids is None else class_ids
    left = {int(i): float(scores[i]) for i in range(len(boxes)) if scores[i] > score_threshold}
    kept: list[int] = []
    kept_scores: list[float] = []
    while left and len(kept) != max_detections:
        best = min(left, key=lambda i: (-left[i], i))
        kept.append(best)
        kept_scores.append(left.pop(best))
        for i in left:
            if classes[i] != classes[best]:
                continue
            overlap = iou(boxes[i], boxes[best])
            if method == "gaussian":
                left[i] *= math.exp(-(overlap * overlap) / sigma)
            elif overlap > iou_threshold:
                left[i] *= 1 - overlap
        left = {i: score for i, score in left.items() if score > score_threshold}
    return np.array(kept, np.int64), np.array(kept_scores, np.float32)
