"""The decoders in NumPy against their definitions, written as loops over anchors and classes."""

import math
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.placement import Placement
from edgecv.results import Detections
from edgecv.runtime.decode import (
    decode_detr,
    decode_objects,
    decode_rows,
    decode_yolo_objectness,
)

FRAME_HW, SIZE_HW = (30, 80), (64, 64)
STRETCHED = Placement.of(FRAME_HW, SIZE_HW, "stretch")
ULP = np.finfo(np.float32).eps

Objects = list[tuple[float, int, tuple[float, ...]]]  # score, class id, xyxy in frame pixels


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def in_frame(placement: Placement, box: tuple[float, ...]) -> tuple[float, ...]:
    offset, scale = placement.offset_xy, placement.scale_xy
    return tuple((side - offset[k % 2]) / scale[k % 2] for k, side in enumerate(box))


def corners(cx: float, cy: float, width: float, height: float) -> tuple[float, ...]:
    return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


def assert_are(found: Detections, expected: Objects) -> None:
    assert found.class_ids.tolist() == [class_id for _, class_id, _ in expected]
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )
    np.testing.assert_allclose(found.scores, [score for score, _, _ in expected], rtol=8 * ULP)
    boxes = np.array([box for _, _, box in expected]).reshape(-1, 4)
    # Coordinates up to 128, a handful of roundings each.
    np.testing.assert_allclose(found.boxes_xyxy, boxes, atol=128 * 8 * ULP)


def naive_objectness(
    rows: np.ndarray, score: float, iou_threshold: float, *, multi_label: bool
) -> Objects:
    candidates: Objects = []
    for row in rows:
        scores = [float(np.float32(row[4]) * np.float32(p)) for p in row[5:]]
        chosen = range(len(scores)) if multi_label else [scores.index(max(scores))]
        for class_id in chosen:
            if scores[class_id] > np.float32(score):
                candidates.append((scores[class_id], class_id, corners(*map(float, row[:4]))))
    kept: Objects = []
    for candidate in sorted(candidates, key=lambda entry: -entry[0]):
        if all(
            other[1] != candidate[1] or iou(other[2], candidate[2]) <= iou_threshold
            for other in kept
        ):
            kept.append(candidate)
    return [(score, class_id, in_frame(STRETCHED, box)) for score, class_id, box in kept]


@pytest.mark.parametrize("layout", ["nc", "cn"])
@pytest.mark.parametrize("multi_label", [False, True])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_score_is_objectness_times_probability(
    layout: Literal["nc", "cn"], seed: int, *, multi_label: bool
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.uniform(8, 56, (40, 4)), rng.random((40, 4))], axis=1)
    rows = rows.astype(np.float32)
    found = decode_yolo_objectness(
        np.ascontiguousarray(rows.T) if layout == "cn" else rows,
        layout=layout,
        score_threshold=0.3,
        iou_threshold=0.5,
        max_detections=300,
        multi_label=multi_label,
        placement=STRETCHED,
    )
    assert_are(found, naive_objectness(rows, 0.3, 0.5, multi_label=multi_label))


def test_a_score_at_the_threshold_is_none() -> None:
    rows = np.array([[8, 8, 4, 4, 0.5, 0.5], [40, 40, 4, 4, 0.5, 0.5000001]], np.float32)
    options: dict[str, Any] = {"iou_threshold": 0.5, "max_detections": 9}
    assert len(decode_yolo_objectness(rows, score_threshold=0.25, **options)) == 1
    assert len(decode_yolo_objectness(rows, score_threshold=0.6, **options)) == 0
    rows[:, 4] = np.nan
    assert len(decode_yolo_objectness(rows, score_threshold=0.0, **options)) == 0
    with pytest.raises(ValueError, match=r"5 \+ C numbers an anchor, got \(2, 5\)"):
        decode_yolo_objectness(rows[:, :5], score_threshold=0.2, **options)


def naive_detr(
    logits: np.ndarray, boxes: np.ndarray, activation: str, score: float, *, multi_label: bool
) -> Objects:
    objects: Objects = []
    for row, box in zip(logits.tolist(), boxes.tolist(), strict=True):
        if activation == "softmax":
            total = sum(math.exp(value) for value in row)
            scores = [math.exp(value) / total for value in row[:-1]]
        elif activation == "sigmoid":
            scores = [1 / (1 + math.exp(-value)) for value in row]
        else:
            scores = row
        place = in_frame(STRETCHED, corners(*(side * 64 for side in box)))
        for class_id in range(len(scores)) if multi_label else [scores.index(max(scores))]:
            if scores[class_id] > score:
                objects.append((scores[class_id], class_id, place))
    return sorted(objects, key=lambda entry: -entry[0])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("multi_label", [False, True])
@given(seed=st.integers(0, 2**32 - 1))
def test_queries_are_read_one_by_one(
    activation: Literal["softmax", "sigmoid", "none"], seed: int, *, multi_label: bool
) -> None:
    rng = np.random.default_rng(seed)
    levels = np.linspace(0, 1, 48) if activation == "none" else np.linspace(-6, 6, 48)
    logits = rng.permutation(levels).reshape(12, 4)
    logits, boxes = logits.astype(np.float32), rng.random((12, 4)).astype(np.float32)
    options: dict[str, Any] = {"activation": activation, "multi_label": multi_label}
    found = decode_detr(
        logits, boxes, score_threshold=0.3, max_detections=100, placement=STRETCHED, **options
    )
    expected = naive_detr(logits, boxes, activation, 0.3, multi_label=multi_label)
    # The oracle computes in float64: only scores that differ by more than a rounding have an order.
    scores = [score for score, _, _ in expected]
    assume(all(one - other > 1e-5 for one, other in pairwise(scores)))
    assume(all(abs(score - 0.3) > 1e-5 for score in scores))
    assert_are(found, expected)
    best = decode_detr(
        logits, boxes, score_threshold=0.3, max_detections=2, placement=STRETCHED, **options
    )
    assert_are(best, expected[:2])


def test_queries_without_a_number_and_with_huge_ones() -> None:
    boxes = np.full((3, 4), 0.5, np.float32)
    logits = np.array([[np.nan, 2], [-500, -400], [500, 0]], np.float32)
    found = decode_detr(
        logits,
        boxes,
        activation="sigmoid",
        score_threshold=0.25,
        max_detections=5,
        placement=STRETCHED,
    )
    assert found.class_ids.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [1, 1 / (1 + math.exp(-2))], rtol=1e-6)
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(2, 4\)"):
        decode_detr(logits, boxes[:2], score_threshold=0, max_detections=1, placement=STRETCHED)


ROWS = np.array(
    [
        [8, 8, 24, 40, 0.5, 1],
        [0, 0, 64, 64, 0.9, 0],
        [4, 4, 6, 6, 0.25, 2],  # at the threshold: none
        [16, 16, 32, 32, 0.5, 2],  # equal score: after the first row
        [0, 0, 0, 0, 0, 99],  # padding, of no class
    ],
    np.float32,
)


def test_rows_come_sorted_and_in_frame_pixels() -> None:
    options: dict[str, Any] = {"num_classes": 3, "score_threshold": 0.25, "placement": STRETCHED}
    expected: Objects = [
        (float(ROWS[k, 4]), int(ROWS[k, 5]), in_frame(STRETCHED, tuple(ROWS[k, :4].tolist())))
        for k in (1, 0, 3)
    ]
    assert_are(decode_rows(ROWS, max_detections=100, **options), expected)
    assert_are(decode_rows(ROWS, max_detections=2, **options), expected[:2])
    assert_are(decode_rows(ROWS[:0], max_detections=2, **options), [])
    labels = ROWS[:, 5].astype(np.int64)
    assert_are(
        decode_objects(ROWS[:, :4], ROWS[:, 4], labels, max_detections=9, **options), expected
    )
    with pytest.raises(ValueError, match=r"\(K, 6\), got \(5, 5\)"):
        decode_rows(ROWS[:, :5], max_detections=2, **options)


def test_an_object_of_no_described_class_is_refused() -> None:
    with pytest.raises(InputError, match=r"class 2, but its description names classes 0 to 1"):
        decode_rows(ROWS, num_classes=2, score_threshold=0.3, max_detections=9, placement=STRETCHED)
