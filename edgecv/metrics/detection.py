"""The metrics of detection: COCO's of boxes, masks and keypoints, VOC's and the best F1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from edgecv.data.samples import DetectionDataset
from edgecv.errors import InputError
from edgecv.metrics.class_order import class_order
from edgecv.metrics.coco import coco_figures
from edgecv.metrics.matching import assign_as_coco, rank_by_class
from edgecv.metrics.operating_point import best_f1
from edgecv.metrics.voc import voc_metrics
from edgecv.results import Detections, Instances, Poses

MAX_DETECTIONS = 100  # COCO's limit an image
RECALLS = tuple(round(index / 100, 2) for index in range(101))  # COCO's recall points

MASK_PREFIX = "mask_"  # of the names of the masks' figures
KEYPOINT_PREFIX = "keypoint_"  # likewise


@dataclass(frozen=True)
class DetectionMetrics:
    """Detection metrics as fractions; NaN where the data set has no object of that kind.

    AP is COCO's mean over the IoU thresholds 0.50, 0.55 .. 0.95, AR100 the recall averaged over
    them with 100 detections an image and class. Small, medium and large objects are those below
    32², below 96² and above in pixels² of the image. VOC2007_AP50 is VOC's average precision at
    11 recalls, VOC2010_AP50 at all of them. These are the boxes' figures, as COCO's users expect;
    where masks were measured, COCO's figures of the masks stand beside them as mask_AP, mask_AP50
    and so on, and where keypoints were, theirs as keypoint_AP, keypoint_AP50 and so on.

    Args:
        summary: AP, AP50, AP75, AP_small, AP_medium, AP_large, AR100, AR_small, AR_medium,
            AR_large, AR1, AR10, VOC2007_AP50 and VOC2010_AP50, means over the classes; then those
            of the masks or keypoints.
        per_class: for each class name the same without AR1 and AR10, and the highest F1 at IoU
            0.50: best_F1, its best_F1_precision and best_F1_recall, and best_F1_score, the score
            threshold that leads there.
        precision_curves: for each class name its precision at IoU 0.50 at the recalls `RECALLS`.
        num_images: images that were counted.

    """

    summary: dict[str, float]
    per_class: dict[str, dict[str, float]]
    precision_curves: dict[str, tuple[float, ...]]
    num_images: int

    def to_plain(self, *, curves: bool = False) -> dict[str, Any]:
        """Return dictionaries and numbers, None for NaN.

        Args:
            curves: with `precision_curves`, 101 numbers a class.

        """
        plain: dict[str, Any] = {
            "num_images": self.num_images,
            **_numbers(self.summary),
            "per_class": {name: _numbers(values) for name, values in self.per_class.items()},
        }
        if curves:
            plain["precision_curves"] = {
                name: [_number(value) for value in values]
                for name, values in self.precision_curves.items()
            }
        return plain


def detection_metrics(
    dataset: DetectionDataset, classes: Sequence[str], detections: Sequence[Detections]
) -> DetectionMetrics:
    """Score the detections of every image of a data set.

    Args:
        dataset: the ground truth.
        classes: the model's class names.
        detections: one per sample of the data set, in its order; 100 of a class in an image
            count for COCO's figures and F1, all for VOC's. Of `Instances` the masks are measured
            too, if every object of the data set but its crowds has an outline; of `Poses` the
            keypoints, if the data set has some.

    Raises:
        InputError: if the classes or the keypoints differ.
        MissingDependencyError: if faster-coco-eval is not installed.

    Source:
        See `coco_figures`, `voc_metrics` and `best_f1`.

    """
    category_ids = class_order(dataset, classes)
    truth = dataset.to_coco()
    records = [
        record
        for sample, objects in zip(dataset.samples, detections, strict=True)
        for record in objects.to_coco(sample.image_id, category_ids)
    ]
    boxes = coco_figures(truth, records, category_ids, shape="box")
    voc = voc_metrics(dataset, classes, detections)
    assign = partial(assign_as_coco, iou_threshold=0.5)
    rankings = rank_by_class(dataset, classes, detections, assign, max_detections=MAX_DETECTIONS)
    per_class = {}
    for name, figures, ranked in zip(classes, boxes.per_category, rankings, strict=True):
        point = best_f1(ranked)
        per_class[name] = {
            **figures,
            "VOC2007_AP50": voc.eleven_point[name],
            "VOC2010_AP50": voc.all_point[name],
            "best_F1": point.f1,
            "best_F1_precision": point.precision,
            "best_F1_recall": point.recall,
            "best_F1_score": point.score_threshold,
        }
    summary = {
        **boxes.summary,
        "VOC2007_AP50": voc.mean_eleven_point,
        "VOC2010_AP50": voc.mean_all_point,
    }
    if dataset.has_outlines and all(isinstance(found, Instances) for found in detections):
        masks = coco_figures(truth, records, category_ids, shape="mask")
        summary |= _prefixed(MASK_PREFIX, masks.summary)
        for name, figures in zip(classes, masks.per_category, strict=True):
            per_class[name] |= _prefixed(MASK_PREFIX, figures)
    poses = [found for found in detections if isinstance(found, Poses)]
    if dataset.has_keypoints and len(poses) == len(detections):
        check_keypoints(dataset, poses[0].names)
        points = coco_figures(truth, records, category_ids, shape="keypoints")
        summary |= _prefixed(KEYPOINT_PREFIX, points.summary)
        for name, figures in zip(classes, points.per_category, strict=True):
            per_class[name] |= _prefixed(KEYPOINT_PREFIX, figures)
    curves = dict(zip(classes, boxes.precision_curves, strict=True))
    return DetectionMetrics(summary, per_class, curves, len(dataset.samples))


def check_keypoints(dataset: DetectionDataset, names: Sequence[str]) -> None:
    """Refuse a data set whose objects have other keypoints than those that a model finds.

    Args:
        dataset: the ground truth; without keypoints, nothing is refused.
        names: of the model's keypoints.

    Raises:
        InputError: if they differ, also in their order.

    """
    if dataset.keypoint_names and dataset.keypoint_names != tuple(names):
        raise InputError(
            f"the model finds the keypoints {', '.join(names)}, and {dataset.name} "
            f"{dataset.split} has {', '.join(dataset.keypoint_names)}. Measure it on data with the "
            "same keypoints in the same order."
        )


def with_shapes_of(metrics: DetectionMetrics, plain: Mapping[str, Any]) -> DetectionMetrics:
    """Return metrics of boxes with the other figures of another measurement of the same model.

    Args:
        metrics: of boxes.
        plain: what `DetectionMetrics.to_plain` returned; without masks or keypoints, nothing is
            added.

    """

    def joined(figures: dict[str, float], more: Mapping[str, Any]) -> dict[str, float]:
        prefixes = MASK_PREFIX, KEYPOINT_PREFIX
        shapes = {key: value for key, value in more.items() if key.startswith(prefixes)}
        return figures | {key: _figure(value) for key, value in shapes.items()}

    return replace(
        metrics,
        summary=joined(metrics.summary, plain),
        per_class={
            name: joined(figures, plain["per_class"][name])
            for name, figures in metrics.per_class.items()
        },
    )


def _prefixed(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}{key}": value for key, value in figures.items()}


def _numbers(figures: dict[str, float]) -> dict[str, float | None]:
    return {key: _number(value) for key, value in figures.items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)


def _figure(value: float | None) -> float:
    return float("nan") if value is None else value
