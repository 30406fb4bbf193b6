"""Decoding of heads that leave little to do: no grid to walk, and few rows or no suppression.

What is expensive lies in `edgecv.kernels`; here NumPy takes a fraction of a millisecond. As there,
a candidate has score > score_threshold, both rounded to float32, a NaN score is none, and equal
scores keep the order of the graph.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.kernels import decode_yolo
from edgecv.placement import Placement
from edgecv.results import Detections

_COLUMNS = 6  # of a row: x1, y1, x2, y2, score, class id
_BEFORE_CLASSES = 5  # columns of a head with objectness: cx, cy, w, h, objectness


def decode_yolo_objectness(
    head: NDArray[np.float32],
    *,
    layout: Literal["cn", "nc"] = "nc",
    score_threshold: float,
    **suppression: Any,  # noqa: ANN401  # passed on
) -> Detections:
    """Return the detections of a decoded head whose score is objectness * probability.

    Args:
        head: (N, 5 + C) float32 for layout "nc", transposed for "cn": cx, cy, w, h in input
            pixels, objectness and C class probabilities, all of these in [0, 1].
        layout: order of the axes.
        score_threshold: in [0, 1].
        suppression: the other options of `edgecv.kernels.decode_yolo`.

    Returns:
        Detections, best first.

    Raises:
        ValueError: if there is no class, or an option is not as described.

    Source:
        Redmon and Farhadi, "YOLOv3: An Incremental Improvement", 2018, section 2; the product is
        that of Redmon et al., "You Only Look Once", CVPR 2016, equation 1.

    """
    rows = head.T if layout == "cn" else head
    if rows.ndim != 2 or rows.shape[1] <= _BEFORE_CLASSES:  # noqa: PLR2004  # rows and columns
        raise ValueError(
            f"decode_yolo_objectness: `head` must hold 5 + C numbers an anchor, got {head.shape}."
        )
    # A probability is at most 1: no anchor is lost here, and nearly all of the work is.
    likely = rows[rows[:, 4] > np.float32(score_threshold)]
    plain = np.empty((len(likely), likely.shape[1] - 1), np.float32)
    plain[:, :4] = likely[:, :4]
    np.multiply(likely[:, _BEFORE_CLASSES:], likely[:, 4:_BEFORE_CLASSES], out=plain[:, 4:])
    if len(plain) == 0:
        plain = np.zeros((1, plain.shape[1]), np.float32)  # an anchor that scores nothing
    found: Detections = decode_yolo(
        plain, layout="nc", score_threshold=score_threshold, **suppression
    )
    return found


def decode_detr(
    logits: NDArray[np.float32],
    boxes: NDArray[np.float32],
    *,
    activation: Literal["softmax", "sigmoid", "none"] = "softmax",
    multi_label: bool = False,
    score_threshold: float,
    max_detections: int,
    placement: Placement,
) -> Detections:
    """Return the best of a DETR's queries; nothing is suppressed.

    Args:
        logits: (Q, C + 1) float32, no-object last (`softmax`), or (Q, C).
        boxes: (Q, 4) float32, cx, cy, w, h as fractions of the input.
        activation: how logits become scores; `none` where they are probabilities.
        multi_label: whether every class of a query above the threshold is an object, as RT-DETR
            and RF-DETR evaluate, or only the best, the lowest of equal ones.
        score_threshold: in [0, 1].
        max_detections: at least 1.
        placement: how the frame was fitted.

    Returns:
        Detections, best first; equal scores by query, then by class.

    Raises:
        ValueError: if the shapes do not belong together.

    Source:
        Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020, section 3;
        sigmoids and several classes a query: Zhu et al., "Deformable DETR", ICLR 2021, A.4.

    """
    if logits.ndim != 2 or boxes.shape != (len(logits), 4):  # noqa: PLR2004  # queries, classes
        raise ValueError(
            "decode_detr: `logits` must be (Q, C) and `boxes` (Q, 4), "
            f"got {logits.shape} and {boxes.shape}."
        )
    scores = _probabilities(logits, activation)
    if multi_label:
        queries, class_ids = np.nonzero(scores > np.float32(score_threshold))
        chosen = scores[queries, class_ids]
    else:
        with np.errstate(invalid="ignore"):
            class_ids = np.where(np.isnan(scores), -1, scores).argmax(axis=1)
        queries = np.arange(len(scores))
        chosen = scores[queries, class_ids]
        is_object = chosen > np.float32(score_threshold)
        queries, class_ids, chosen = queries[is_object], class_ids[is_object], chosen[is_object]
    best = np.argsort(-chosen, kind="stable")[:max_detections]
    height, width = placement.size_hw
    cxcywh = boxes[queries[best]] * np.array([width, height, width, height], np.float32)
    half = cxcywh[:, 2:] / 2
    boxes_xyxy = np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)
    return Detections(
        placement.to_frame(boxes_xyxy), chosen[best], class_ids[best].astype(np.int32)
    )


def decode_objects(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[Any],
    *,
    num_classes: int,
    score_threshold: float,
    max_detections: int,
    placement: Placement,
) -> Detections:
    """Return the best of the objects that a graph has selected itself.

    Args:
        boxes_xyxy: (N, 4) float32 in input pixels.
        scores: (N,) float32, in any order.
        class_ids: (N,) of whole numbers, as integers or as float32.
        num_classes: that the model is described with.
        score_threshold: in [0, 1].
        max_detections: at least 1.
        placement: how the frame was fitted.

    Returns:
        Detections, best first; equal scores in the order of the graph.

    Raises:
        InputError: if an object above the threshold has a class that the description lacks.

    """
    kept = np.flatnonzero(scores > np.float32(score_threshold))
    kept = kept[np.argsort(-scores[kept], kind="stable")][:max_detections]
    chosen = class_ids[kept].astype(np.int32)
    unknown = chosen[(chosen < 0) | (chosen >= num_classes)]
    if len(unknown):
        raise InputError(
            f"the graph found an object of class {unknown[0]}, but its description names classes "
            f"0 to {num_classes - 1}. Adopt it again with the names of all its classes."
        )
    return Detections(placement.to_frame(boxes_xyxy[kept]), scores[kept], chosen)


def decode_rows(rows: NDArray[np.float32], **options: Any) -> Detections:  # noqa: ANN401
    """Return the best of the rows x1, y1, x2, y2, score, class id.

    Args:
        rows: (K, 6) float32, boxes in input pixels; rows past the last object have score 0.
        options: see `decode_objects`.

    Raises:
        ValueError: if the rows have another width.

    """
    if rows.ndim != 2 or rows.shape[1] != _COLUMNS:  # noqa: PLR2004
        raise ValueError(f"decode_rows: `rows` must be (K, {_COLUMNS}), got {rows.shape}.")
    return decode_objects(rows[:, :4], rows[:, 4], rows[:, 5], **options)


def _probabilities(
    logits: NDArray[np.float32], activation: Literal["softmax", "sigmoid", "none"]
) -> NDArray[np.float32]:
    """Return (Q, C) scores of the classes, no-object left out."""
    if activation == "none":
        return logits
    if activation == "sigmoid":
        with np.errstate(over="ignore"):  # exp(-x) is infinite below -88: the score is 0
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)[:, :-1]
