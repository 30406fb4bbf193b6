"""Accuracy through the pipeline: the figures of a detector that nobody here trained."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("faster_coco_eval")
pytest.importorskip("onnx")

from edgecv.classes import parse_classes
from edgecv.data import open_dataset
from edgecv.errors import InputError
from edgecv.evaluation import evaluate
from edgecv.export.adoption.adopt import Preprocessing, adopt
from edgecv.images import read_image
from edgecv.metrics.confusion import confusion_matrix
from edgecv.metrics.detection import detection_metrics
from edgecv.runtime.model import load
from edgecv.stream import Tiled
from edgecv.stream.sources import Frame


def test_adopted_yolox_has_its_known_accuracy(shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "yolox.onnx"
    adopt(
        shared_data / "weights" / "yolox_nano_416.onnx",
        path,
        "yolox",
        parse_classes("coco"),
        preprocessing=Preprocessing(),
    )
    dataset = open_dataset(f"coco:{shared_data / 'coco'}", "val")
    with load(path) as model:
        summary = evaluate(model, dataset, iou_threshold=0.65).metrics.summary
    # What is known of this file on these images with pycocotools: 29.8 and 47.2.
    assert summary["AP"] == pytest.approx(0.298, abs=0.003)
    assert summary["AP50"] == pytest.approx(0.472, abs=0.003)


def test_the_stream_changes_no_result(exported: Path, scenes: Path) -> None:
    dataset = open_dataset(f"coco:{scenes}", "test")
    seen = []
    with load(exported / "fused.onnx") as model:
        result = evaluate(model, dataset, on_image=lambda: seen.append(1))
        one_by_one = model.with_thresholds(score=0.001, max_detections=100)
        found = [one_by_one(sample.image_path) for sample in dataset.samples]
        expected = detection_metrics(dataset, model.spec.classes, found)
        shown = [model(sample.image_path) for sample in dataset.samples]
        confusion = confusion_matrix(dataset, model.spec.classes, shown, score_threshold=0.25)
    assert len(seen) == len(dataset.samples)
    assert result.metrics.to_plain() == expected.to_plain()  # NaN is not equal to itself, None is
    assert (result.score_threshold, result.max_detections) == (0.001, 100)
    assert result.confusion.to_plain() == confusion.to_plain()  # of what the model itself shows


def test_tiles_are_measured_as_they_run(exported: Path, scenes: Path) -> None:
    dataset = open_dataset(f"coco:{scenes}", "test")
    with load(exported / "fused.onnx") as model:
        tiled = Tiled(model, tile_hw=(32, 32))
        result = evaluate(tiled, dataset, iou_threshold=0.5)
        wanted = tiled.with_thresholds(score=0.001, iou=0.5, max_detections=100)
        found = [
            wanted(Frame(index, read_image(sample.image_path), "rgb24"))
            for index, sample in enumerate(dataset.samples)
        ]
        whole = evaluate(model, dataset, iou_threshold=0.5)
    expected = detection_metrics(dataset, model.spec.classes, found)
    assert result.metrics.to_plain() == expected.to_plain()
    assert result.iou_threshold == 0.5
    assert result.metrics.to_plain() != whole.metrics.to_plain()


def test_other_classes_are_refused_before_the_work(exported: Path, scenes: Path) -> None:
    dataset = replace(open_dataset(f"coco:{scenes}", "test"), classes=("disc", "square", "star"))
    seen = []
    with load(exported / "fused.onnx") as model, pytest.raises(InputError, match="triangle"):
        evaluate(model, dataset, on_image=lambda: seen.append(1))
    assert not seen
