"""The metrics of detection: COCO's by faster-coco-eval, VOC's and the best F1 beside them."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.data.samples import DetectionDataset
from edgecv.errors import MissingDependencyError
from edgecv.metrics.class_order import class_order
from edgecv.metrics.matching import assign_as_coco, rank_by_class
from edgecv.metrics.operating_point import best_f1
from edgecv.metrics.voc import voc_metrics
from edgecv.results import Detections

MAX_DETECTIONS = 100  # COCO's limit an image
RECALLS = tuple(round(index / 100, 2) for index in range(101))  # COCO's recall points

_SIZES = ("small", "medium", "large")
_IOU_75 = 5  # of COCO's thresholds 0.50, 0.55 .. 0.95


@dataclass(frozen=True)
class DetectionMetrics:
    """Detection metrics as fractions; NaN where the data set has no object of that kind.

    AP is COCO's mean over the IoU thresholds 0.50, 0.55 .. 0.95, AR100 the recall averaged over
    them with 100 detections an image and class. Small, medium and large objects are those below
    32², below 96² and above in pixels² of the image. VOC2007_AP50 is VOC's average precision at
    11 recalls, VOC2010_AP50 at all of them.

    Args:
        summary: AP, AP50, AP75, AP_small, AP_medium, AP_large, AR100, AR_small, AR_medium,
            AR_large, AR1, AR10, VOC2007_AP50 and VOC2010_AP50, means over the classes.
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
            count for COCO's figures and F1, all for VOC's.

    Raises:
        InputError: if the classes differ.
        MissingDependencyError: if faster-coco-eval is not installed.

    Source:
        Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the twelve figures of
        the COCO detection challenge. For the others see `voc_metrics` and `best_f1`.

    """
    category_ids = class_order(dataset, classes)
    evaluation = _evaluate_as_coco(dataset, category_ids, detections)
    voc = voc_metrics(dataset, classes, detections)
    assign = partial(assign_as_coco, iou_threshold=0.5)
    rankings = rank_by_class(dataset, classes, detections, assign, max_detections=MAX_DETECTIONS)
    # precision: [IoU thresholds, recalls, categories, areas, detections], recall: no recalls.
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])
    column = {id_: index for index, id_ in enumerate(evaluation.params.catIds)}
    per_class, curves = {}, {}
    for name, id_, ranked in zip(classes, category_ids, rankings, strict=True):
        point = best_f1(ranked)
        per_class[name] = {
            **_coco_figures(precision[:, :, column[id_]], recall[:, column[id_], :, -1]),
            "VOC2007_AP50": voc.eleven_point[name],
            "VOC2010_AP50": voc.all_point[name],
            "best_F1": point.f1,
            "best_F1_precision": point.precision,
            "best_F1_recall": point.recall,
            "best_F1_score": point.score_threshold,
        }
        curve = precision[0, :, column[id_], 0]
        curves[name] = tuple(np.where(curve > -1, curve, np.nan).tolist())
    summary = {
        **_coco_figures(precision, recall[..., -1]),
        "AR1": _mean(recall[:, :, 0, 0]),
        "AR10": _mean(recall[:, :, 0, 1]),
        "VOC2007_AP50": voc.mean_eleven_point,
        "VOC2010_AP50": voc.mean_all_point,
    }
    return DetectionMetrics(summary, per_class, curves, len(dataset.samples))


def _evaluate_as_coco(
    dataset: DetectionDataset, category_ids: Sequence[int], detections: Sequence[Detections]
) -> Any:  # noqa: ANN401  # faster-coco-eval has no types
    """Return the evaluation with its arrays of precision and recall."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingDependencyError(
            "COCO metrics need the package faster-coco-eval. "
            "Install it with `pip install 'edgecv[eval]'`."
        ) from error
    records = [
        record
        for sample, objects in zip(dataset.samples, detections, strict=True)
        for record in objects.to_coco(sample.image_id, category_ids)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = dataset.to_coco()
        truth = COCO(annotations)
        # `loadRes` refuses an empty list.
        found = truth.loadRes(records) if records else COCO({**annotations, "annotations": []})
        evaluation = COCOeval_faster(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _coco_figures(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, float]:
    """Return AP and AR, by IoU and size, of arrays whose last axis is the area."""
    return {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, ..., 0]),
        "AP75": _mean(precision[_IOU_75, ..., 0]),
        **{f"AP_{size}": _mean(precision[..., area]) for area, size in enumerate(_SIZES, 1)},
        "AR100": _mean(recall[..., 0]),
        **{f"AR_{size}": _mean(recall[..., area]) for area, size in enumerate(_SIZES, 1)},
    }


def _mean(values: NDArray[np.float64]) -> float:
    valid = values[values > -1]  # -1 marks a category without objects
    return float(valid.mean()) if valid.size else float("nan")


def _numbers(figures: dict[str, float]) -> dict[str, float | None]:
    return {key: _number(value) for key, value in figures.items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)
