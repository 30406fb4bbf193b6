"""Figures of masks: by hand, and against pycocotools on the same records."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.data import DetectionDataset, Sample
from edgecv.data.coco import read_coco
from edgecv.data.segments import Polygons, RunLengths, Segment
from edgecv.metrics.detection import detection_metrics, with_shapes_of
from edgecv.results import Detections, Instances

pytest.importorskip("faster_coco_eval")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE_HW = (240, 320)
COCO = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"),
)  # in pycocotools' order


def rectangle(x1: float, y1: float, x2: float, y2: float) -> Polygons:
    corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64)
    return Polygons(corners, np.array([4], np.int32))


def runs(box: NDArray[np.float32]) -> RunLengths:
    """The pixels of a box, as a crowd is annotated."""
    mask = np.zeros(SIZE_HW, bool)
    x1, y1, x2, y2 = box.astype(int)
    mask[y1:y2, x1:x2] = True
    flat = mask.ravel(order="F")
    ends = [*(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    return RunLengths(np.diff([0, *ends]), SIZE_HW)


def sample(
    image_id: int,
    boxes: NDArray[np.float32],
    class_ids: NDArray[np.int32],
    segments: tuple[Segment | None, ...] | None,
    *,
    crowd: int | None = None,
) -> Sample:
    is_crowd = np.arange(len(boxes)) == crowd
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    path = Path(f"{image_id}.png")
    return Sample(path, image_id, SIZE_HW, boxes, class_ids, areas, is_crowd, segments)


def pets(*samples: Sample) -> DetectionDataset:
    return DetectionDataset("pets", "val", ("cat", "dog"), (7, 3), samples, ())


def instances(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
    masks: NDArray[np.float32],
) -> Instances:
    return Instances(boxes, scores, class_ids, masks, SIZE_HW)


def right_box_half_a_mask() -> tuple[DetectionDataset, list[Instances]]:
    """One object, found with the box it has and a mask of its left half."""
    box = np.array([[100, 80, 200, 180]], np.float32)
    whole = pets(sample(1, box, np.array([0], np.int32), (rectangle(100, 80, 200, 180),)))
    mask = np.ones((1, 28, 28), np.float32)
    mask[:, :, 17:] = 0  # IoU about 0.6
    return whole, [instances(box, np.ones(1, np.float32), np.zeros(1, np.int32), mask)]


def test_masks_and_boxes_are_measured_apart() -> None:
    dataset, found = right_box_half_a_mask()
    metrics = detection_metrics(dataset, ("cat", "dog"), found)
    for figures in (metrics.summary, metrics.per_class["cat"]):
        assert (figures["AP"], figures["AP50"]) == pytest.approx((1.0, 1.0))
        assert figures["mask_AP50"] == pytest.approx(1.0)
        assert figures["mask_AP75"] == 0.0
        assert figures["mask_AP"] == pytest.approx(0.3)  # of 0.50, 0.55 and 0.60
        assert figures["mask_AP_large"] == pytest.approx(0.3)
        assert math.isnan(figures["mask_AP_small"])
    assert math.isnan(metrics.per_class["dog"]["mask_AP"])
    assert metrics.to_plain()["per_class"]["dog"]["mask_AP"] is None


def test_nothing_found_is_measured_too() -> None:
    dataset, found = right_box_half_a_mask()
    nothing = replace(
        found[0],
        boxes_xyxy=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        class_ids=np.zeros(0, np.int32),
        masks=np.zeros((0, 28, 28), np.float32),
    )
    assert detection_metrics(dataset, ("cat", "dog"), [nothing]).summary["mask_AP"] == 0.0


def test_without_masks_on_either_side_there_are_boxes_only() -> None:
    dataset, found = right_box_half_a_mask()
    boxes_only = Detections(found[0].boxes_xyxy, found[0].scores, found[0].class_ids)
    bare = pets(replace(dataset.samples[0], segments=None))
    for metrics in (
        detection_metrics(dataset, ("cat", "dog"), [boxes_only]),
        detection_metrics(bare, ("cat", "dog"), found),
    ):
        assert metrics.summary["AP"] == pytest.approx(1.0)
        assert not any("mask" in key for key in (*metrics.summary, *metrics.per_class["cat"]))


def test_figures_of_masks_join_those_of_boxes() -> None:
    dataset, found = right_box_half_a_mask()
    both = detection_metrics(dataset, ("cat", "dog"), found)
    boxes_only = Detections(found[0].boxes_xyxy, found[0].scores, found[0].class_ids)
    metrics = detection_metrics(dataset, ("cat", "dog"), [boxes_only])
    assert with_shapes_of(metrics, both.to_plain()).to_plain(curves=True) == both.to_plain(
        curves=True
    )
    assert with_shapes_of(metrics, metrics.to_plain()).to_plain() == metrics.to_plain()


def ellipses(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Masks (count, 14, 14): ellipses with a soft edge, not quite centred."""
    rows, columns = np.mgrid[:14, :14]
    centre, radius = rng.normal(6.5, 0.6, (2, count, 1, 1)), rng.uniform(5, 8, (2, count, 1, 1))
    distance = np.hypot((rows - centre[0]) / radius[0], (columns - centre[1]) / radius[1])
    return (1 / (1 + np.exp(8 * (distance - 1)))).astype(np.float32)


def crowded_pets(*, crowd_has_outline: bool) -> tuple[DetectionDataset, list[Instances]]:
    """Twenty images of ellipses with a crowd each, and what is found near the objects."""
    rng = np.random.default_rng(0)
    samples, found = [], []
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for image_id in range(1, 21):
        corner = rng.uniform(0, [180, 110], (6, 2))
        boxes = np.hstack([corner, corner + rng.uniform(8, 120, (6, 2))]).astype(np.float32)
        class_ids = rng.integers(0, 2, 6).astype(np.int32)
        centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        outlines: list[Segment | None] = [
            Polygons(centre[i] + half[i] * circle.astype(np.float64), np.array([24], np.int32))
            for i in range(5)
        ]
        outlines.append(runs(boxes[5]) if crowd_has_outline else None)
        samples.append(sample(image_id, boxes, class_ids, tuple(outlines), crowd=5))
        near = np.vstack([boxes + rng.normal(0, 4, (6, 4)), boxes[::-1]])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        scores = np.sort(rng.random(12).astype(np.float32))[::-1]
        ids = rng.permutation(np.tile(class_ids, 2)).astype(np.int32)
        found.append(instances(near.astype(np.float32), scores.copy(), ids, ellipses(rng, 12)))
    return pets(*samples), found


def figures_of_pycocotools(truth_json: dict[str, Any], records: list[dict[str, Any]]) -> Any:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    truth = coco.COCO()
    truth.dataset = truth_json
    truth.createIndex()
    for record in records:
        del record["bbox"]  # as Detectron2 does: else the area is the box's
    peer = cocoeval.COCOeval(truth, truth.loadRes(records), "segm")
    peer.evaluate()
    peer.accumulate()
    peer.summarize()
    return peer


@pytest.mark.parametrize("crowd_has_outline", [True, False])
def test_agrees_with_pycocotools(*, crowd_has_outline: bool) -> None:
    dataset, found = crowded_pets(crowd_has_outline=crowd_has_outline)
    metrics = detection_metrics(dataset, ("cat", "dog"), found)
    truth = dataset.to_coco()
    for annotation in truth["annotations"]:
        if "segmentation" not in annotation:
            x, y, width, height = annotation["bbox"]
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            annotation["segmentation"] = [corners]
    records = [
        record
        for one, image in zip(found, dataset.samples, strict=True)
        for record in one.to_coco(image.image_id, dataset.category_ids)
    ]
    peer = figures_of_pycocotools(truth, records)
    ours = [metrics.summary[f"mask_{name}"] for name in COCO]
    assert ours == pytest.approx(list(peer.stats), abs=1e-9)
    assert 0.05 < ours[0] < 0.9
    assert abs(ours[0] - metrics.summary["AP"]) > 0.01  # masks are not boxes
    for index, name in ((1, "cat"), (0, "dog")):  # pycocotools sorts the ids, 3 is the dog's
        precision = peer.eval["precision"][:, :, index, 0, -1]
        assert metrics.per_class[name]["mask_AP"] == pytest.approx(precision.mean())
        assert metrics.per_class[name]["mask_AP75"] == pytest.approx(precision[5].mean())


def test_agrees_with_pycocotools_on_official_annotations(shared_data: Path) -> None:
    """What is found is each official box with an ellipse in it: right and wrong, as objects go."""
    whole = read_coco(shared_data / "coco", "val")
    dataset = replace(whole, samples=whole.samples[:40])
    rng = np.random.default_rng(1)
    found, records = [], []
    for image in dataset.samples:
        count = len(image.class_ids)
        scores = np.sort(rng.random(count).astype(np.float32))[::-1].copy()
        one = Instances(
            image.boxes_xyxy, scores, image.class_ids, ellipses(rng, count), image.size_hw
        )
        found.append(one)
        records += one.to_coco(image.image_id, dataset.category_ids)
    metrics = detection_metrics(dataset, dataset.classes, found)
    peer = figures_of_pycocotools(dataset.to_coco(), records)
    ours = [metrics.summary[f"mask_{name}"] for name in COCO]
    assert ours == pytest.approx(list(peer.stats), abs=1e-9)
    assert 0.05 < ours[0] < 0.9
