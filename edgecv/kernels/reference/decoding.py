"""The definition of the decoders: from a detection head to boxes, scores and classes."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.reference.suppression import nms

Array = NDArray[np.float64]
AnyFloats = NDArray[np.floating]
Decoded = tuple[Array, Array, NDArray[np.int64]]
Candidate = tuple[Array, float, int]  # box, score, class

MAX_CANDIDATES = 30_000


def decode_ssd(
    offsets: AnyFloats,
    logits: AnyFloats,
    anchors_cxcywh: AnyFloats,
    *,
    variances: tuple[float, float] = (0.1, 0.2),
    activation: str = "softmax",
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    class_agnostic: bool = False,
    layout: str = "nc",
) -> Decoded:
    """Shift and stretch each anchor, and score it by the softmax or the sigmoids of its logits."""

    def candidates() -> Iterator[Candidate]:
        for (dx, dy, dw, dh), row, (cx, cy, w, h) in zip(
            _rows(offsets, layout),
            _rows(logits, layout),
            anchors_cxcywh.astype(np.float64),
            strict=True,
        ):
            centre = cx + dx * variances[0] * w, cy + dy * variances[0] * h
            size = w * math.exp(dw * variances[1]), h * math.exp(dh * variances[1])
            scores = _softmax(row)[1:] if activation == "softmax" else 1 / (1 + np.exp(-row))
            for class_id, score in enumerate(scores):
                yield _box_around(centre, size), score, class_id

    return _best(
        candidates(),
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )


def decode_yolo(
    head: AnyFloats,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    multi_label: bool = False,
    class_agnostic: bool = False,
    layout: str = "cn",
    reg_max: int = 0,
    strides: Sequence[int] = (8, 16, 32),
    size_hw: tuple[int, int] = (0, 0),
) -> Decoded:
    """Read a decoded head, or take the expectation of each distance of a raw one."""
    rows = _rows(head, layout)

    def candidates() -> Iterator[Candidate]:
        if reg_max == 0:
            for row in rows:
                box = _box_around((row[0], row[1]), (row[2], row[3]))
                yield from _labels(box, row[4:], row[4:], multi_label=multi_label)
        else:
            for row, (x, y, stride) in zip(rows, _cells(size_hw, strides), strict=True):
                centre = (x + 0.5) * stride, (y + 0.5) * stride
                box = _box_from_distances(row[: 4 * reg_max], centre, stride)
                logits = row[4 * reg_max :]
                scores = 1 / (1 + np.exp(-logits))
                yield from _labels(box, logits, scores, multi_label=multi_label)

    return _best(
        candidates(),
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )


def decode_yolox(
    head: AnyFloats,
    *,
    size_hw: tuple[int, int],
    strides: Sequence[int] = (8, 16, 32),
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    multi_label: bool = False,
    class_agnostic: bool = False,
    layout: str = "nc",
) -> Decoded:
    """Shift each cell, stretch by the exponential, weigh the classes by objectness."""
    rows = _rows(head, layout)

    def candidates() -> Iterator[Candidate]:
        for row, (x, y, stride) in zip(rows, _cells(size_hw, strides), strict=True):
            centre = (row[0] + x) * stride, (row[1] + y) * stride
            box = _box_around(centre, (math.exp(row[2]) * stride, math.exp(row[3]) * stride))
            yield from _labels(box, row[5:], row[4] * row[5:], multi_label=multi_label)

    return _best(
        candidates(),
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )


def decode_nanodet(
    head: AnyFloats,
    *,
    size_hw: tuple[int, int],
    strides: Sequence[int] = (8, 16, 32, 64),
    reg_max: int = 7,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    multi_label: bool = False,
    class_agnostic: bool = False,
    layout: str = "nc",
) -> Decoded:
    """Take the expectation of each distance from the cell's upper left corner."""
    rows = _rows(head, layout)
    num_classes = rows.shape[1] - 4 * (reg_max + 1)

    def candidates() -> Iterator[Candidate]:
        for row, (x, y, stride) in zip(rows, _cells(size_hw, strides), strict=True):
            box = _box_from_distances(row[num_classes:], (x * stride, y * stride), stride)
            scores = row[:num_classes]
            yield from _labels(box, scores, scores, multi_label=multi_label)

    return _best(
        candidates(),
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        class_agnostic=class_agnostic,
    )


def _rows(head: AnyFloats, layout: str) -> Array:
    """Return the head with a row per anchor."""
    return (head.T if layout == "cn" else head).astype(np.float64)


def _cells(size_hw: tuple[int, int], strides: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield column, row and stride of every cell, level by level, row by row."""
    for stride in strides:
        for y in range(math.ceil(size_hw[0] / stride)):
            for x in range(math.ceil(size_hw[1] / stride)):
                yield x, y, stride


def _softmax(logits: Array) -> Array:
    masses = np.exp(logits - logits.max())
    return np.asarray(masses / masses.sum())


def _box_around(centre: tuple[float, float], size: tuple[float, float]) -> Array:
    half = np.array(size) / 2
    return np.concatenate([np.array(centre) - half, np.array(centre) + half])


def _box_from_distances(logits: Array, point: tuple[float, float], stride: int) -> Array:
    """Return the box whose sides lie at the expected distances from `point`."""
    distributions = [_softmax(side) for side in logits.reshape(4, -1)]
    left, top, right, bottom = (p @ np.arange(len(p)) * stride for p in distributions)
    x, y = point
    return np.array([x - left, y - top, x + right, y + bottom])


def _labels(box: Array, values: Array, scores: Array, *, multi_label: bool) -> Iterator[Candidate]:
    """Yield a box with all its classes, or with the first of those whose value is largest."""
    if multi_label:
        for class_id, score in enumerate(scores):
            yield box, score, class_id
    elif not np.isnan(values).all():
        best = int(np.nanargmax(values))
        yield box, scores[best], best


def _best(
    candidates: Iterable[Candidate],
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    class_agnostic: bool,
) -> Decoded:
    """Keep the candidates above the threshold, at most 30000, and suppress."""
    threshold = float(np.float32(score_threshold))
    # `sorted` is stable: equal scores stay by anchor, then by class.
    found = sorted((c for c in candidates if c[1] > threshold), key=lambda c: -c[1])
    found = found[:MAX_CANDIDATES]
    boxes = np.array([box for box, _, _ in found]).reshape(-1, 4)
    scores = np.array([score for _, score, _ in found], np.float64)
    class_ids = np.array([class_id for _, _, class_id in found], np.int64)
    kept = nms(
        boxes,
        scores,
        None if class_agnostic else class_ids,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
    )
    return boxes[kept], scores[kept], class_ids[kept]
