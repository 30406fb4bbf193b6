"""COCO metrics on cases small enough to compute by hand, and against pycocotools."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from edgecv.data import DetectionDataset, Sample
from edgecv.errors import InputError
from edgecv.metrics.class_order import class_ids_of_model, class_order
from edgecv.metrics.detection import RECALLS, detection_metrics
from edgecv.metrics.matching import assign_as_coco, rank_by_class
from edgecv.results import Detections

pytest.importorskip("faster_coco_eval")

# Small, medium and large by COCO's areas: below 32², below 96², above.
SMALL, MEDIUM, LARGE = [10, 10, 30, 30], [40, 40, 90, 90], [100, 100, 200, 200]
COCO_FIGURES = [
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR100", "AR_small", "AR_medium", "AR_large", "AR1", "AR10"),
]
FIGURES = [*COCO_FIGURES, "VOC2007_AP50", "VOC2010_AP50"]


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
    for name, absent in (("cat", {"medium", "large"}), ("dog", {"small"})):
        for key, value in metrics.per_class[name].items():
            if key.rpartition("_")[2] in absent:
                assert math.isnan(value), (name, key)
            elif key != "best_F1_score":
                assert value == pytest.approx(1.0), (name, key)
        assert metrics.precision_curves[name] == (1.0,) * 101
    assert metrics.num_images == 2


def test_no_detections() -> None:
    metrics = detection_metrics(TWO_IMAGES, ("cat", "dog"), [Detections.empty()] * 2)
    assert metrics.summary == dict.fromkeys(FIGURES, 0.0)
    for values in metrics.per_class.values():
        assert {value for value in values.values() if not math.isnan(value)} == {0.0}
        assert values["AP"] == values["AP50"] == values["VOC2010_AP50"] == values["best_F1"] == 0.0


@pytest.mark.parametrize("detections", [Detections.empty(), found([MEDIUM], [0.5], [1])])
def test_what_the_data_lack_is_no_number(detections: Detections) -> None:
    dataset = pets(sample(1, [MEDIUM], [1]))
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    absent = [key for key, value in metrics.summary.items() if math.isnan(value)]
    assert absent == ["AP_small", "AP_large", "AR_small", "AR_large"]
    assert all(math.isnan(value) for value in metrics.per_class["cat"].values())
    assert all(math.isnan(value) for value in metrics.precision_curves["cat"])
    plain = metrics.to_plain(curves=True)
    assert plain["AP_small"] is None
    assert set(plain["per_class"]["cat"].values()) == {None}
    assert plain["per_class"]["dog"]["AP"] == float(len(detections))
    assert plain["precision_curves"]["cat"] == [None] * len(RECALLS)
    json.dumps(plain, allow_nan=False)
    assert "precision_curves" not in metrics.to_plain()


def test_a_miss_between_two_hits() -> None:
    dataset = pets(sample(1, [SMALL, LARGE], [0, 0]))
    detections = found([SMALL, [300, 200, 390, 290], LARGE], [0.9, 0.8, 0.7], [0, 0, 0])
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    # Precision is 1 up to recall 0.5 (51 of COCO's 101 points), 2 / 3 beyond.
    assert metrics.summary["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert metrics.precision_curves["cat"] == pytest.approx([1.0] * 51 + [2 / 3] * 50)
    assert metrics.summary["VOC2007_AP50"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert metrics.summary["VOC2010_AP50"] == pytest.approx((1 + 2 / 3) / 2)
    cat = metrics.per_class["cat"]
    assert cat["best_F1"] == pytest.approx(4 / 5)  # of all three: 2 * 2 hits / (3 + 2)
    assert cat["best_F1_precision"] == pytest.approx(2 / 3)
    assert cat["best_F1_recall"] == 1.0
    assert 0.69 < cat["best_F1_score"] < 0.7


@pytest.mark.parametrize(("height", "num_thresholds"), [(52, 1), (72, 5)])
def test_a_box_counts_at_the_thresholds_below_its_iou(height: int, num_thresholds: int) -> None:
    dataset = pets(sample(1, [LARGE], [0]))
    detections = found([[100, 100, 200, 100 + height]], [0.5], [0])  # IoU: height / 100
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    values = [metrics.summary[key] for key in ("AP", "AP50", "AP75", "AR100")]
    assert values == pytest.approx([num_thresholds / 10, 1.0, 0.0, num_thresholds / 10])
    cat = metrics.per_class["cat"]
    by_size = [cat[key] for key in ("AP", "AP50", "AP75", "AP_large", "AR_large")]
    fraction = num_thresholds / 10
    assert by_size == pytest.approx([fraction, 1.0, 0.0, fraction, fraction])


@pytest.mark.parametrize("num_misses", [0, 1, 9, 10, 99, 100])
def test_the_best_detections_of_an_image_count(num_misses: int) -> None:
    dataset = pets(sample(1, [LARGE], [0]))
    boxes = [SMALL] * num_misses + [LARGE]
    detections = found(boxes, np.linspace(0.9, 0.1, len(boxes)), [0] * len(boxes))
    metrics = detection_metrics(dataset, ("cat", "dog"), [detections])
    for limit in (1, 10, 100):
        assert metrics.summary[f"AR{limit}"] == pytest.approx(float(num_misses < limit))
    assert metrics.per_class["cat"]["best_F1_recall"] == float(num_misses < 100)
    assert metrics.summary["VOC2010_AP50"] == pytest.approx(1 / len(boxes))  # VOC has no limit


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


def crowded_pets() -> tuple[DetectionDataset, list[Detections]]:
    """Return twenty images with crowds, and detections good and bad."""
    rng = np.random.default_rng(0)
    samples, detections = [], []
    for image_id in range(1, 21):
        corner = rng.uniform(0, 200, (6, 2))
        boxes = np.hstack([corner, corner + rng.uniform(10, 150, (6, 2))])
        class_ids = rng.integers(0, 2, 6)
        samples.append(sample(image_id, boxes, class_ids, crowd=[5]))
        near = np.vstack([boxes + rng.normal(0, 6, (6, 4)), boxes[::-1]])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        scores = np.sort(rng.random(12))[::-1]
        detections.append(found(near, scores, rng.permutation(np.tile(class_ids, 2))))
    return pets(*samples), detections


def test_agrees_with_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    dataset, detections = crowded_pets()
    metrics = detection_metrics(dataset, ("cat", "dog"), detections)
    assert 0.01 < metrics.summary["AP"] < 0.9

    truth = coco.COCO()
    truth.dataset = dataset.to_coco()
    truth.createIndex()
    records = [
        record
        for one, image in zip(detections, dataset.samples, strict=True)
        for record in one.to_coco(image.image_id, dataset.category_ids)
    ]
    peer = cocoeval.COCOeval(truth, truth.loadRes(records), "bbox")
    peer.evaluate()
    peer.accumulate()
    peer.summarize()
    expected = [*peer.stats[:6], *peer.stats[8:], *peer.stats[6:8]]
    assert list(metrics.summary) == FIGURES
    ours = [metrics.summary[key] for key in COCO_FIGURES]
    assert ours == pytest.approx(expected, abs=1e-9)
    for index, name in ((1, "cat"), (0, "dog")):  # pycocotools sorts the ids, 3 is the dog's
        precision = peer.eval["precision"][:, :, index, :, -1]
        recall = peer.eval["recall"][:, index, :, -1]
        assert metrics.precision_curves[name] == pytest.approx(precision[0, :, 0], abs=1e-9)
        figures = metrics.per_class[name]
        assert figures["AP75"] == pytest.approx(precision[5, :, 0].mean())
        for area, size in enumerate(("small", "medium", "large"), 1):
            assert figures[f"AP_{size}"] == pytest.approx(precision[..., area].mean())
            assert figures[f"AR_{size}"] == pytest.approx(recall[:, area].mean())


def test_our_matching_leads_to_the_curve_of_the_evaluation() -> None:
    """The best F1 comes from our own matching, the curve from faster-coco-eval: they agree."""
    dataset, detections = crowded_pets()
    metrics = detection_metrics(dataset, ("cat", "dog"), detections)
    assign = partial(assign_as_coco, iou_threshold=0.5)
    rankings = rank_by_class(dataset, ("cat", "dog"), detections, assign)
    for name, ranked in zip(("cat", "dog"), rankings, strict=True):
        num_hits = np.cumsum(ranked.is_hit)
        precision = num_hits / np.arange(1, len(num_hits) + 1)
        curve = [
            max(precision[num_hits >= recall * ranked.num_objects - 1e-9], default=0.0)
            for recall in RECALLS
        ]
        assert metrics.precision_curves[name] == pytest.approx(curve)
        # The curve falls short of the best F1 by what its steps of 0.01 in recall leave out.
        on_curve = max(
            2 * p * r / (p + r)
            for p, r in zip(metrics.precision_curves[name], RECALLS, strict=True)
            if p + r
        )
        assert on_curve <= metrics.per_class[name]["best_F1"] <= on_curve + 0.01


def test_objects_take_the_numbers_of_the_models_classes() -> None:
    (first, second) = class_ids_of_model(TWO_IMAGES, ("dog", "cat"))
    assert first.tolist() == [1, 0]
    assert second.tolist() == [0]
