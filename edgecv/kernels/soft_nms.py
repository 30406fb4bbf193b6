"""Suppression that lowers scores instead of dropping boxes."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import soft_nms_cpu
from edgecv.kernels.arguments import (
    check_at_least,
    check_choice,
    check_fraction,
    check_positive,
    check_scored_boxes,
)

Method = Literal["gaussian", "linear"]


def soft_nms(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32] | None = None,
    *,
    method: Method = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
    max_detections: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows of the boxes by falling score, lowered for every better box they overlap.

    Again and again the box of the best current score is kept, the lowest row among equals, and the
    current scores of the other boxes of its class are multiplied: by exp(-IoU² / `sigma`)
    ("gaussian"), or by 1 - IoU where the IoU is greater than `iou_threshold` ("linear"). It ends
    when no current score is greater than `score_threshold`. Scores are multiplied in float64.

    Args:
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels. An empty or inverted box and one with
            a coordinate that is NaN or infinite have IoU 0 with everything. N is below 2**32.
        scores: (N,) float32. A box whose score is NaN is never kept.
        class_ids: (N,) int32, any values; if None, all boxes are of one class.
        method: "gaussian" or "linear".
        sigma: of the gaussian method, positive; smaller lowers more.
        iou_threshold: of the linear method, in [0, 1].
        score_threshold: in [0, 1].
        max_detections: stop after that many kept boxes, at least 1; if None, do not stop.

    Returns:
        (K,) int64, rows of `boxes_xyxy`, and (K,) float32, their lowered scores, best first.

    Raises:
        ValueError: if a shape or an option is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        Bodla et al., "Soft-NMS -- Improving Object Detection With One Line of Code", ICCV 2017,
        section 3. An IoU that equals the threshold lowers nothing, as in the authors' code.

    """
    count = check_scored_boxes("soft_nms", boxes_xyxy, scores, class_ids)
    check_choice("soft_nms", "method", method, get_args(Method))
    check_positive("soft_nms", "sigma", sigma)
    check_fraction("soft_nms", "iou_threshold", iou_threshold)
    check_fraction("soft_nms", "score_threshold", score_threshold)
    limit = count
    if max_detections is not None:
        check_at_least("soft_nms", "max_detections", max_detections, 1)
        limit = min(count, max_detections)
    kept, kept_scores = np.empty(limit, np.int64), np.empty(limit, np.float32)
    num_kept = soft_nms_cpu(
        np.ascontiguousarray(boxes_xyxy),
        np.ascontiguousarray(scores),
        None if class_ids is None else np.ascontiguousarray(class_ids),
        gaussian=method == "gaussian",
        sigma=sigma,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        max_detections=limit,
        kept=kept,
        kept_scores=kept_scores,
    )
    return kept[:num_kept], kept_scores[:num_kept]
