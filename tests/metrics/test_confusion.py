"""The confusion matrix of detections, counted by hand and by its sums."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from edgecv.data import DetectionDataset, Sample
from edgecv.errors import InputError
from edgecv.metrics.confusion import confusion_matrix
from edgecv.results import Detections

A, B, C = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]


def sample(boxes: ArrayLike, class_ids: ArrayLike, crowd: ArrayLike = ()) -> Sample:
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    is_crowd = np.zeros(len(boxes_xyxy), bool)
    is_crowd[list(np.asarray(crowd, int))] = True
    return Sample(
        image_path=Path("1.png"),
        image_id=1,
        size_hw=(100, 100),
        boxes_xyxy=boxes_xyxy,
        class_ids=np.array(class_ids, np.int32),
        areas=np.ones(len(boxes_xyxy), np.float32),
        is_crowd=is_crowd,
    )


def pets(*samples: Sample) -> DetectionDataset:
    return DetectionDataset("pets", "val", ("cat", "dog"), (7, 3), samples, ())


def found(boxes: ArrayLike, scores: ArrayLike, class_ids: ArrayLike) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(class_ids, np.int32),
    )


def counts(dataset: DetectionDataset, *detections: Detections, **thresholds: float) -> ArrayLike:
    wanted = {"score_threshold": 0.25, **thresholds}
    return confusion_matrix(dataset, ("cat", "dog"), detections, **wanted).counts.tolist()


def test_every_kind_of_cell() -> None:
    dataset = pets(sample([A, B], [0, 1]), sample([A, B, C], [0, 0, 1]))
    first = found([A, B], [0.9, 0.8], [0, 0])  # a hit, and a dog taken for a cat
    second = found([A, [60, 0, 70, 10]], [0.7, 0.6], [0, 1])  # a hit, a ghost, two overlooked
    assert counts(dataset, first, second) == [[2, 0, 1], [1, 0, 1], [0, 1, 0]]


def test_the_best_score_chooses_first_whatever_its_class() -> None:
    dataset = pets(sample([A], [0]))
    assert counts(dataset, found([A, A], [0.9, 0.8], [1, 0])) == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_a_score_at_the_threshold_does_not_count() -> None:
    dataset = pets(sample([A], [0]))
    assert counts(dataset, found([A], [0.25], [0])) == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert counts(dataset, found([A], [0.26], [0])) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_the_overlap_decides() -> None:
    dataset, half = pets(sample([A], [0])), found([[0, 0, 10, 5]], [0.9], [0])
    assert counts(dataset, half) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert counts(dataset, half, iou_threshold=0.51) == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_crowds_are_no_objects_and_hide_what_lies_on_them() -> None:
    dataset = pets(sample([[0, 0, 30, 10], C], [0, 1], crowd=[0]))
    assert counts(dataset, found([A, C], [0.9, 0.8], [1, 1])) == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_rows_and_columns_follow_the_model() -> None:
    dataset = pets(sample([A, B], [0, 1]))
    detections = [found([A, B], [0.9, 0.8], [1, 1])]  # the model's 1 is the data set's 0
    matrix = confusion_matrix(dataset, ("dog", "cat"), detections, score_threshold=0.25)
    assert matrix.labels == ("dog", "cat", "background")
    assert matrix.counts.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert matrix.shares().tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert matrix.to_plain() == {
        "labels": ["dog", "cat", "background"],
        "counts": matrix.counts.tolist(),
        "score_threshold": 0.25,
        "iou_threshold": 0.5,
    }


coordinates = st.integers(0, 9)
box = st.tuples(coordinates, coordinates, st.integers(1, 6), st.integers(1, 6)).map(
    lambda xywh: [xywh[0], xywh[1], xywh[0] + xywh[2], xywh[1] + xywh[3]]
)
objects = st.lists(st.tuples(box, st.integers(0, 1)), max_size=8)


@given(objects, objects)
def test_every_object_and_every_detection_is_counted_once(
    truth: list[tuple[list[int], int]], detected: list[tuple[list[int], int]]
) -> None:
    dataset = pets(sample([b for b, _ in truth], [c for _, c in truth]))
    scores = np.linspace(0.9, 0.5, len(detected))
    found_here = found([b for b, _ in detected], scores, [c for _, c in detected])
    matrix = np.array(counts(dataset, found_here))
    for class_id in (0, 1):
        assert matrix[class_id].sum() == sum(c == class_id for _, c in truth)
        assert matrix[:, class_id].sum() == sum(c == class_id for _, c in detected)
    assert matrix[2, 2] == 0


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"score_threshold": 1.5}, r"`score_threshold` must be in \[0, 1\], got 1.5"),
        ({"score_threshold": math.nan}, "`score_threshold` must be in"),
        ({"iou_threshold": 0.0}, r"`iou_threshold` must be in \(0, 1\], got 0"),
        ({"iou_threshold": 1.1}, "`iou_threshold` must be in"),
    ],
)
def test_refuses_thresholds_that_are_none(thresholds: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        counts(pets(sample([A], [0])), Detections.empty(), **thresholds)


def test_refuses_other_classes() -> None:
    with pytest.raises(InputError, match=r"only the model has \['bird'\]"):
        confusion_matrix(
            pets(sample([A], [0])), ("cat", "bird"), [Detections.empty()], score_threshold=0.25
        )
