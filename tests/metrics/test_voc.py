"""VOC's average precision: by hand, by its definition in fractions, and by integrating."""

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.data import DetectionDataset, Sample
from edgecv.errors import InputError
from edgecv.metrics.matching import RankedDetections
from edgecv.metrics.voc import all_point_precision, eleven_point_precision, voc_metrics
from edgecv.results import Detections


def ranked(hits: str, num_objects: int) -> RankedDetections:
    """Return a ranking from text such as "HMH": hit, miss, hit."""
    is_hit = np.array([letter == "H" for letter in hits], bool)
    return RankedDetections(np.linspace(1, 0.1, len(hits)), is_hit, num_objects)


def points(hits: str, num_objects: int) -> list[tuple[Fraction, Fraction]]:
    """Return (recall, precision) after each detection."""
    return [
        (Fraction(hits[:end].count("H"), num_objects), Fraction(hits[:end].count("H"), end))
        for end in range(1, len(hits) + 1)
    ]


def interpolated(hits: str, num_objects: int, recall: Fraction) -> Fraction:
    """Return the highest precision at `recall` or beyond, as the paper's formula has it."""
    reached = [precision for at, precision in points(hits, num_objects) if at >= recall]
    return max(reached, default=Fraction(0))


@pytest.mark.parametrize(
    ("hits", "num_objects", "eleven", "everywhere"),
    [
        ("H", 1, 1, 1),
        ("", 3, 0, 0),
        ("MMM", 2, 0, 0),
        ("MH", 1, 1 / 2, 1 / 2),
        ("H", 2, 6 / 11, 1 / 2),  # recalls 0 to 0.5 are reached
        ("HMH", 2, (6 + 5 * 2 / 3) / 11, (1 + 2 / 3) / 2),
        ("HHH" + "M" * 7, 10, 4 / 11, 3 / 10),  # 3 of 10 reach a recall of 0.3
        # Manning, Raghavan and Schütze, "Introduction to Information Retrieval", 2008, section
        # 8.4: interpolation lifts the dip of the second rank to the precision of the third.
        ("HMHHM", 4, (3 * 1 + 5 * 3 / 4) / 11, (1 + 3 / 4 + 3 / 4) / 4),
    ],
)
def test_by_hand(hits: str, num_objects: int, eleven: float, everywhere: float) -> None:
    assert eleven_point_precision(ranked(hits, num_objects)) == pytest.approx(eleven)
    assert all_point_precision(ranked(hits, num_objects)) == pytest.approx(everywhere)


def test_without_objects_there_is_no_figure() -> None:
    assert math.isnan(eleven_point_precision(ranked("MM", 0)))
    assert math.isnan(all_point_precision(ranked("MM", 0)))


rankings = st.text("HM", max_size=40).flatmap(
    lambda hits: st.tuples(st.just(hits), st.integers(max(hits.count("H"), 1), 50))
)


@given(rankings)
def test_by_the_definition_in_fractions(case: tuple[str, int]) -> None:
    hits, num_objects = case
    eleven = sum(interpolated(hits, num_objects, Fraction(k, 10)) for k in range(11)) / 11
    assert eleven_point_precision(ranked(*case)) == pytest.approx(float(eleven))
    # Midpoints of a grid on which the interpolated precision is constant between the nodes.
    middles = [Fraction(2 * k + 1, 2 * num_objects) for k in range(num_objects)]
    area = sum(interpolated(hits, num_objects, middle) for middle in middles) / num_objects
    assert all_point_precision(ranked(*case)) == pytest.approx(float(area))


@given(rankings)
def test_a_miss_at_the_end_changes_nothing_and_one_in_front_never_helps(
    case: tuple[str, int],
) -> None:
    hits, num_objects = case
    for figure in (eleven_point_precision, all_point_precision):
        value = figure(ranked(hits, num_objects))
        assert figure(ranked(hits + "M", num_objects)) == value
        assert figure(ranked("M" + hits, num_objects)) <= value
        assert 0 <= value <= 1


def random_pets(seed: int) -> tuple[DetectionDataset, list[Detections]]:
    """Return images with difficult objects and detections around and beside them."""
    rng = np.random.default_rng(seed)
    samples, detections = [], []
    for image_id in range(1, 9):
        number = int(rng.integers(0, 7))
        corner = rng.uniform(0, 60, (number, 2))
        truth = np.hstack([corner, corner + rng.uniform(10, 60, (number, 2))]).astype(np.float32)
        class_ids = rng.integers(0, 3, number).astype(np.int32)
        samples.append(
            Sample(
                image_path=Path(f"{image_id}.png"),
                image_id=image_id,
                size_hw=(150, 150),
                boxes_xyxy=truth,
                class_ids=class_ids,
                areas=np.ones(number, np.float32),
                is_crowd=rng.random(number) < 0.2,
            )
        )
        near = np.vstack([truth + rng.normal(0, 4, truth.shape), truth[::-1]]).astype(np.float32)
        scores = -np.sort(-rng.permutation(1000)[: len(near)] / 1000 - image_id * 1e-5)
        found = Detections(near, scores.astype(np.float32), rng.permutation(np.tile(class_ids, 2)))
        detections.append(found)
    return DetectionDataset(
        "pets", "val", ("a", "b", "c"), (1, 2, 3), tuple(samples), ()
    ), detections


def overlap(p: list[float], q: list[float]) -> float:
    width = min(p[2], q[2]) - max(p[0], q[0])
    height = min(p[3], q[3]) - max(p[1], q[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (p, q)]
    return width * height / (sum(areas) - width * height)


def ranking_by_loops(
    dataset: DetectionDataset, detections: list[Detections], class_id: int, iou_threshold: float
) -> tuple[str, int]:
    """Return hits and misses of a class in the order of their scores over the whole data set."""
    pool = sorted(
        (
            (-score, image, box)
            for image, found in enumerate(detections)
            for box, score, found_class in zip(
                found.boxes_xyxy.tolist(), found.scores.tolist(), found.class_ids, strict=True
            )
            if found_class == class_id
        ),
    )
    letters, taken = "", set()
    for _, image, box in pool:
        sample = dataset.samples[image]
        objects = [
            (overlap(box, truth), -index)
            for index, truth in enumerate(sample.boxes_xyxy.tolist())
            if sample.class_ids[index] == class_id
        ]
        value, index = max(objects, default=(0.0, 0))
        if value <= iou_threshold:
            letters += "M"
        elif not sample.is_crowd[-index]:
            letters += "M" if (image, index) in taken else "H"
            taken.add((image, index))
    count = sum(int((s.class_ids[~s.is_crowd] == class_id).sum()) for s in dataset.samples)
    return letters, count


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.75])
def test_a_data_set_against_loops(seed: int, iou_threshold: float) -> None:
    dataset, detections = random_pets(seed)
    metrics = voc_metrics(dataset, ("a", "b", "c"), detections, iou_threshold=iou_threshold)
    elevens, areas = [], []
    for class_id, name in enumerate(dataset.classes):
        case = ranking_by_loops(dataset, detections, class_id, iou_threshold)
        elevens.append(float(sum(interpolated(*case, Fraction(k, 10)) for k in range(11)) / 11))
        recalls = [Fraction(0), *(recall for recall, _ in points(*case))]
        steps = pairwise(recalls)
        areas.append(float(sum((to - at) * interpolated(*case, to) for at, to in steps)))
        assert metrics.eleven_point[name] == pytest.approx(elevens[-1])
        assert metrics.all_point[name] == pytest.approx(areas[-1])
    assert metrics.mean_eleven_point == pytest.approx(np.mean(elevens))
    assert metrics.mean_all_point == pytest.approx(np.mean(areas))
    assert metrics.iou_threshold == iou_threshold


def test_the_mean_leaves_out_classes_that_the_data_lack() -> None:
    dataset, detections = random_pets(0)
    wider = DetectionDataset(
        "pets", "val", (*dataset.classes, "unicorn"), (1, 2, 3, 4), dataset.samples, ()
    )
    plain = voc_metrics(dataset, dataset.classes, detections)
    metrics = voc_metrics(wider, wider.classes, detections)
    assert math.isnan(metrics.all_point["unicorn"])
    assert metrics.mean_all_point == plain.mean_all_point
    assert metrics.mean_eleven_point == plain.mean_eleven_point


@pytest.mark.parametrize("threshold", [-0.1, 1.0, math.nan])
def test_refuses_a_threshold_that_is_none(threshold: float) -> None:
    dataset, detections = random_pets(0)
    with pytest.raises(InputError, match=r"`iou_threshold` must be in \[0, 1\), got"):
        voc_metrics(dataset, dataset.classes, detections, iou_threshold=threshold)
