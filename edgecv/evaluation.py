"""Accuracy through the pipeline that `run` uses: decoder, fit, network and what follows it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgecv.data import (
    VOID,
    AnyDataset,
    ClassificationDataset,
    DetectionDataset,
    SegmentationDataset,
)
from edgecv.errors import InputError
from edgecv.images import read_image
from edgecv.metrics.accuracy import HEADLINES, Accuracy
from edgecv.metrics.class_order import class_order, known_class_ids
from edgecv.metrics.classification import (
    ClassificationMetrics,
    class_ids_of_model,
    classification_metrics,
)
from edgecv.metrics.confusion import ConfusionMatrix, confusion_matrix
from edgecv.metrics.detection import (
    MAX_DETECTIONS,
    DetectionMetrics,
    check_keypoints,
    detection_metrics,
)
from edgecv.metrics.segmentation import PixelCounter, SegmentationMetrics
from edgecv.report.examples import Example
from edgecv.results import Classification, Detections, Result, Segmentation
from edgecv.runtime.model import Model
from edgecv.stream import stream
from edgecv.stream.runner import Runner
from edgecv.stream.sources import ImageSource

SCORE_THRESHOLD = 0.001  # the whole precision-recall curve, as the field evaluates


@dataclass(frozen=True)
class ClassificationEvaluation:
    """What was measured of a classifier, on what."""

    data: str
    split: str
    metrics: ClassificationMetrics

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and numbers."""
        return {
            "data": self.data,
            "split": self.split,
            **self.metrics.to_plain(),
            "confusion": self.metrics.confusion.to_plain(),
        }


@dataclass(frozen=True)
class SegmentationEvaluation:
    """What was measured of a segmentation model, on what."""

    data: str
    split: str
    metrics: SegmentationMetrics

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and numbers."""
        return {
            "data": self.data,
            "split": self.split,
            **self.metrics.to_plain(),
            "confusion": self.metrics.confusion.to_plain(),
        }


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a detector, on what, with which thresholds.

    The metrics are of every detection, the confusion matrix of those above the score threshold
    that the model itself asks for: of what `run` shows.
    """

    data: str
    split: str
    score_threshold: float
    iou_threshold: float
    max_detections: int
    metrics: DetectionMetrics
    confusion: ConfusionMatrix

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers, without curves and confusion matrix."""
        return {
            "data": self.data,
            "split": self.split,
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            **self.metrics.to_plain(),
        }


def evaluate(
    model: Model | Runner,
    dataset: DetectionDataset,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Run a model over every image of a data set and score it as COCO does.

    Args:
        model: a model, or how to look with one, such as `edgecv.stream.Tiled`; its own thresholds
            are replaced by the two below.
        dataset: the ground truth, with the model's classes in any order.
        score_threshold: in [0, 1]; a higher one cuts the curve and lowers AP.
        iou_threshold: of the suppression, in [0, 1]; None for the model's own.
        on_image: called after each image.

    Raises:
        InputError: if the model is no detector, the classes or the keypoints differ, or an image
            cannot be read.
        MissingDependencyError: if faster-coco-eval is not installed.

    """
    _require_task(model, "detect", "instance", "keypoints")
    class_order(dataset, model.spec.classes)  # before the work, not after
    if model.spec.task == "keypoints":
        check_keypoints(dataset, model.spec.keypoints)
    measured = model.with_thresholds(
        score=score_threshold, iou=iou_threshold, max_detections=MAX_DETECTIONS
    )
    paths = [sample.image_path for sample in dataset.samples]
    found = cast("list[Detections]", list(_results(measured, paths, on_image)))
    postprocess = measured.spec.postprocess
    return Evaluation(
        data=dataset.name,
        split=dataset.split,
        score_threshold=postprocess.score_threshold,
        iou_threshold=postprocess.iou_threshold,
        max_detections=postprocess.max_detections,
        metrics=detection_metrics(dataset, model.spec.classes, found),
        confusion=confusion_matrix(
            dataset,
            model.spec.classes,
            found,
            score_threshold=max(score_threshold, model.spec.postprocess.score_threshold),
        ),
    )


def evaluate_classifier(
    model: Model, dataset: ClassificationDataset, *, on_image: Callable[[], None] = lambda: None
) -> ClassificationEvaluation:
    """Run a classifier over every image of a data set and count how often it is right.

    Args:
        model: the model.
        dataset: the ground truth, with the model's classes or some of them, in any order.
        on_image: called after each image.

    Raises:
        InputError: if the model is no classifier, does not know a class, or an image cannot be
            read.

    """
    _require_task(model, "classify")
    class_ids_of_model(dataset, model.spec.classes)  # before the work, not after
    paths = [sample.image_path for sample in dataset.samples]
    found = cast("list[Classification]", list(_results(model, paths, on_image)))
    return ClassificationEvaluation(
        data=dataset.name,
        split=dataset.split,
        metrics=classification_metrics(dataset, model.spec.classes, found),
    )


def evaluate_segmentation(
    model: Model, dataset: SegmentationDataset, *, on_image: Callable[[], None] = lambda: None
) -> SegmentationEvaluation:
    """Run a segmentation model over every image of a data set and compare each pixel.

    The labels are compared in the resolution of the images, whatever that of the network is.

    Args:
        model: the model.
        dataset: the ground truth, with the model's classes or some of them, in any order.
        on_image: called after each image.

    Raises:
        InputError: if the model is of another task, does not know a class, or an image or its
            labels cannot be read.

    """
    _require_task(model, "segment")
    counter = PixelCounter(dataset, model.spec.classes)
    paths = [sample.image_path for sample in dataset.samples]
    for sample, result in zip(dataset.samples, _results(model, paths, on_image), strict=True):
        counter.add(dataset.labels_of(sample), cast("Segmentation", result).labels)
    return SegmentationEvaluation(dataset.name, dataset.split, counter.metrics())


def examples_of(
    model: Model, dataset: SegmentationDataset, metrics: SegmentationMetrics
) -> list[Example]:
    """Return images of an evaluation to look at: the worst, one in the middle and the best.

    Args:
        model: that was evaluated; it runs on these images once more.
        dataset: that it was evaluated on.
        metrics: what was measured; `image_accuracy` orders the images.

    """
    order = np.argsort(metrics.image_accuracy, kind="stable").tolist()  # NaN comes last
    order = [index for index in order if not math.isnan(metrics.image_accuracy[index])]
    chosen = dict.fromkeys(order[place] for place in (0, len(order) // 2, -1)) if order else {}
    labels = np.full(256, VOID, np.uint8)
    labels[: len(dataset.classes)] = known_class_ids(
        dataset.name, dataset.classes, model.spec.classes
    )
    examples = []
    for index in chosen:
        sample = dataset.samples[index]
        result = cast("Segmentation", model(sample.image_path))
        examples.append(
            Example(
                name=sample.image_path.name,
                accuracy=metrics.image_accuracy[index],
                image=read_image(sample.image_path),
                truth=labels[dataset.labels_of(sample)],
                found=result.labels,
            )
        )
    return examples


def accuracy_of(
    model: Model,
    dataset: AnyDataset,
    *,
    iou_threshold: float | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> Accuracy:
    """Measure a model of any task, for the figure that it is judged by.

    Args:
        model: the model.
        dataset: the ground truth, of its task.
        iou_threshold: of the suppression, in [0, 1]; None for the model's own.
        on_image: called after each image.

    Raises:
        InputError: see `evaluate` and `evaluate_classifier`.
        MissingDependencyError: see `evaluate`.

    """
    if isinstance(dataset, ClassificationDataset):
        figures = evaluate_classifier(model, dataset, on_image=on_image).metrics.summary
    elif isinstance(dataset, SegmentationDataset):
        figures = evaluate_segmentation(model, dataset, on_image=on_image).metrics.summary
    else:
        found = evaluate(model, dataset, iou_threshold=iou_threshold, on_image=on_image)
        figures = found.metrics.summary
    return Accuracy(HEADLINES[model.spec.task], figures, dataset.name, dataset.split)


def _require_task(model: Model | Runner, *tasks: str) -> None:
    if model.spec.task not in tasks:
        raise InputError(
            f"evaluate: the model's task must be {' or '.join(tasks)} on these data, got "
            f"{model.spec.task}. Measure it on data of its own task."
        )


def _results(
    model: Model | Runner, paths: list[Path], on_image: Callable[[], None]
) -> Iterator[Result]:
    """Yield what the stream delivers of image files, in their order."""
    for delivered in stream(ImageSource(paths), model):
        yield delivered.result
        on_image()
