"""COCO's detection metrics, computed by faster-coco-eval."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv.data.samples import DetectionDataset
from edgecv.errors import InputError, MissingDependencyError
from edgecv.results import Detections

MAX_DETECTIONS = 100  # COCO's limit an image

_SUMMARY = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


@dataclass(frozen=True)
class DetectionMetrics:
    """COCO metrics as fractions; NaN where the data set has no object of that kind.

    Args:
        summary: AP, AP50, AP75, AP_small, AP_medium, AP_large, AR100.
        per_class: for each class name its AP and AP50.
        num_images: images that were counted.

    """

    summary: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_images: int

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers, None for NaN."""
        return {
            "num_images": self.num_images,
            **{key: _number(value) for key, value in self.summary.items()},
            "per_class": {
                name: {key: _number(value) for key, value in values.items()}
                for name, values in self.per_class.items()
            },
        }


def class_order(dataset: DetectionDataset, classes: Sequence[str]) -> list[int]:
    """Return the data set's category id of each of the model's classes.

    Raises:
        InputError: if the two do not know the same classes; the message names the difference.

    """
    ids = dict(zip(dataset.classes, dataset.category_ids, strict=True))
    missing = [name for name in classes if name not in ids]
    unknown = [name for name in dataset.classes if name not in classes]
    if missing or unknown:
        raise InputError(
            f"the classes of the model and of `{dataset.name}` differ: only the model has "
            f"{missing or 'none'}, only the data set has {unknown or 'none'}. "
            "Measure on data with the model's classes."
        )
    return [ids[name] for name in classes]


def detection_metrics(
    dataset: DetectionDataset, classes: Sequence[str], detections: Sequence[Detections]
) -> DetectionMetrics:
    """Score the detections of every image of a data set.

    Args:
        dataset: the ground truth.
        classes: the model's class names.
        detections: one per sample of the data set, in its order; 100 an image count.

    Raises:
        InputError: if the classes differ.
        MissingDependencyError: if faster-coco-eval is not installed.

    Source:
        Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the twelve figures of
        the COCO detection challenge.

    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingDependencyError(
            "COCO metrics need the package faster-coco-eval. "
            "Install it with `pip install 'edgecv[eval]'`."
        ) from error
    category_ids = class_order(dataset, classes)
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
        evaluation.summarize()
    values = dict(zip(_SUMMARY, np.asarray(evaluation.stats, float), strict=False))
    values["AR100"] = float(evaluation.stats[8])
    # precision: [IoU thresholds 0.50..0.95, recall, category, area, max detections]
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    column = {id_: index for index, id_ in enumerate(evaluation.params.catIds)}
    per_class = {
        name: {
            "AP": _mean_precision(precision[:, :, column[id_]]),
            "AP50": _mean_precision(precision[0, :, column[id_]]),
        }
        for name, id_ in zip(classes, category_ids, strict=True)
    }
    return DetectionMetrics(
        {key: float(value) if value >= 0 else float("nan") for key, value in values.items()},
        per_class,
        len(dataset.samples),
    )


def _mean_precision(precision: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    valid = precision[precision > -1]  # -1 marks a category without objects
    return float(valid.mean()) if valid.size else float("nan")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)
