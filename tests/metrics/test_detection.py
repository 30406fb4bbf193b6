"""COCO metrics on cases small enough to compute by hand, and against pycocotools."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from edgecv.data import DetectionDataset, Sample
from edgecv.errors import InputError
from edgecv.metrics.detection import class_order, detection_metrics
from edgecv.results import Detections

pytest.importorskip("faster_coco_eval")

# Small, medium and large by COCO's areas: below 32², below 96², above.
SMALL, MEDIUM, LARGE = [10, 10, 30, 30], [40, 40, 90, 90], [100, 100, 200, 200]
FIGURES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR100"]


def sample(image_id: int, boxes: ArrayLike, class_ids: ArrayLike, crowd: ArrayLike = ()) -> Sample:
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    is_crowd = np.zeros(len(boxes_xyxy), bool)
    is_crowd[list(np.asarray(crowd, int))] = True
    return Sample(
        image_path=Path(f"{image_id}.png"),
        image_id=image_id,
        size_hw=(300, 400),
        boxes_xyxy=boxes_xyxy,
        class_ids=np.array(class_ids, np.int32),
        areas=(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1),
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


TWO_IMAGES = pets(sample(5, [SMALL, MEDIUM], [0, 1]), sample(2, [LARGE], [1]))


def test_perfect_detections() -> None:
    detections = [found([SMALL, MEDIUM], [0.9, 0.8], [0, 1]), found([LARGE], [0.7], [1])]
    metrics = detection_metrics(TWO_IMAGES, ("cat", "dog"), detections)
    assert metrics.summary == pytest.approx(dict.fromkeys(FIGURES, 1.0))
    assert metrics.per_class == {
        "cat": pytest.approx({"AP": 1.0, "AP50": 1.0}),
        "dog": pytest.approx({"AP": 1.0, "AP50": 1.0}),
    }
    assert metrics.num_images == 2


def test_no_detections() -> None:
    metrics = detection_metrics(TWO_IMAGES, ("cat", "dog"), [Detections.empty()] * 2)
    assert metrics.summary == dict.fromkeys(FIGURES, 0.0)
    assert metrics.per_class == {name: {"AP": 0.0, "AP50": 0.0} for name in ("cat", "dog")}


@pytest.mark.parametrize("detections", [Detections.empty(), found([MEDIUM], [0.5], [1])])
def test_what_the_data_lack_is_no_number(detections: Detections) -> None:
    dataset = pets(sample(1, [MEDIUM], [1]))
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    absent = [key for key, value in metrics.summary.items() if math.isnan(value)]
    assert absent == ["AP_small", "AP_large"]
    assert math.isnan(metrics.per_class["cat"]["AP"])
    plain = metrics.to_plain()
    assert plain["AP_small"] is None
    assert plain["per_class"]["cat"] == {"AP": None, "AP50": None}
    assert plain["per_class"]["dog"]["AP"] == float(len(detections))


def test_a_miss_between_two_hits() -> None:
    dataset = pets(sample(1, [SMALL, LARGE], [0, 0]))
    detections = found([SMALL, [300, 200, 390, 290], LARGE], [0.9, 0.8, 0.7], [0, 0, 0])
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    # Precision is 1 up to recall 0.5 (51 of COCO's 101 points), 2 / 3 beyond.
    assert metrics.summary["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


@pytest.mark.parametrize(("height", "num_thresholds"), [(52, 1), (72, 5)])
def test_a_box_counts_at_the_thresholds_below_its_iou(height: int, num_thresholds: int) -> None:
    dataset = pets(sample(1, [LARGE], [0]))
    detections = found([[100, 100, 200, 100 + height]], [0.5], [0])  # IoU: height / 100
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    values = [metrics.summary[key] for key in ("AP", "AP50", "AP75", "AR100")]
    assert values == pytest.approx([num_thresholds / 10, 1.0, 0.0, num_thresholds / 10])
    assert metrics.per_class["cat"] == pytest.approx({"AP": num_thresholds / 10, "AP50": 1.0})


@pytest.mark.parametrize(("num_misses", "recall"), [(99, 1.0), (100, 0.0)])
def test_a_hundred_detections_an_image_count(num_misses: int, recall: float) -> None:
    dataset = pets(sample(1, [LARGE], [0]))
    boxes = [SMALL] * num_misses + [LARGE]
    detections = found(boxes, np.linspace(0.9, 0.1, len(boxes)), [0] * len(boxes))
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    assert metrics.summary["AR100"] == pytest.approx(recall)


def test_a_detection_in_a_crowd_is_neither_hit_nor_miss() -> None:
    dataset = pets(sample(1, [SMALL, LARGE], [0, 0], crowd=[1]))
    detections = found([[110, 110, 150, 150], SMALL], [0.9, 0.8], [0, 0])
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    assert metrics.summary["AP"] == pytest.approx(1.0)


def test_classes_are_matched_by_name() -> None:
    assert class_order(TWO_IMAGES, ("dog", "cat")) == [3, 7]
    detections = [found([SMALL, MEDIUM], [0.9, 0.8], [1, 0]), found([MEDIUM], [0.7], [0])]
    metrics = detection_metrics(TWO_IMAGES, ("dog", "cat"), detections)
    assert metrics.per_class["cat"]["AP"] == pytest.approx(1.0)
    assert metrics.per_class["dog"]["AP"] == pytest.approx(51 / 101)  # one of two, no miss before


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat", "dog", "bird"), r"only the model has \['bird'\], only the data set has none"),
        (("cat",), r"only the model has none, only the data set has \['dog'\]"),
        (("Cat", "dog"), r"of `pets` differ: only the model has \['Cat'\], .* has \['cat'\]"),
    ],
)
def test_different_classes_are_named(classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        detection_metrics(TWO_IMAGES, classes, [Detections.empty()] * 2)


def test_refuses_fewer_detections_than_images() -> None:
    with pytest.raises(ValueError, match="shorter"):
        detection_metrics(TWO_IMAGES, ("cat", "dog"), [Detections.empty()])


def test_agrees_with_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(0)
    samples, detections = [], []
    for image_id in range(1, 21):
        corner = rng.uniform(0, 200, (6, 2))
        boxes = np.hstack([corner, corner + rng.uniform(10, 150, (6, 2))])
        class_ids = rng.integers(0, 2, 6)
        samples.append(sample(image_id, boxes, class_ids, crowd=[5]))
        near = np.vstack([boxes + rng.normal(0, 6, (6, 4)), boxes[::-1]])
        scores = np.sort(rng.random(12))[::-1]
        detections.append(found(near, scores, rng.permutation(np.tile(class_ids, 2))))
    dataset = pets(*samples)
    metrics = detection_metrics(dataset, ("cat", "dog"), detections)
    assert 0.01 < metrics.summary["AP"] < 0.9

    truth = coco.COCO()
    truth.dataset = dataset.to_coco()
    truth.createIndex()
    records = [
        record
        for one, image in zip(detections, samples, strict=True)
        for record in one.to_coco(image.image_id, dataset.category_ids)
    ]
    peer = cocoeval.COCOeval(truth, truth.loadRes(records), "bbox")
    peer.evaluate()
    peer.accumulate()
    peer.summarize()
    expected = [*peer.stats[:6], peer.stats[8]]
    assert list(metrics.summary) == FIGURES
    assert list(metrics.summary.values()) == pytest.approx(expected, abs=1e-9)
