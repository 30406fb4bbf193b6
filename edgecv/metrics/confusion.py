"""Which class is taken for which: the confusion matrix of a detector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgecv.data.samples import DetectionDataset
from edgecv.errors import InputError
from edgecv.metrics.class_order import class_ids_of_model
from edgecv.metrics.matching import MISS, assign_as_coco
from edgecv.results import Detections

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """How often an object of one class was detected as another.

    Args:
        classes: the model's class names.
        counts: (C + 1, C + 1) int64. Rows are the true classes, columns the predicted ones; the
            last of each is the background: its row counts detections where no object is, its
            column objects that were not detected. The corner of both stays 0.
        score_threshold: the detections whose score exceeds it took part.
        iou_threshold: a detection and its object overlap at least so much.

    """

    HAS_BACKGROUND: ClassVar[bool] = True
    SHOWS_COUNTS: ClassVar[bool] = True
    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    score_threshold: float
    iou_threshold: float

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of rows and columns."""
        return (*self.classes, BACKGROUND)

    @property
    def note(self) -> str:
        """How the matrix was made, for people."""
        return f"score above {self.score_threshold:.3g}, IoU at least {self.iou_threshold:.3g}"

    def shares(self) -> NDArray[np.float64]:
        """Return the counts as fractions of their rows, 0 where a row is empty."""
        totals = self.counts.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = self.counts / np.maximum(totals, 1)
        return shares

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and numbers."""
        return {
            "labels": list(self.labels),
            "counts": self.counts.tolist(),
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
        }


def confusion_matrix(
    dataset: DetectionDataset,
    classes: Sequence[str],
    detections: Sequence[Detections],
    *,
    score_threshold: float,
    iou_threshold: float = 0.5,
) -> ConfusionMatrix:
    """Count the pairs of true and predicted class over a data set.

    Within an image the best-scored detection chooses first, among the objects of all classes: it
    takes the one it overlaps most of those that are left. Crowds are no objects, and what lies on
    one without having found an object counts nowhere.

    Args:
        dataset: the ground truth.
        classes: the model's class names.
        detections: one per sample of the data set, in its order.
        score_threshold: detections count whose score exceeds it, in [0, 1].
        iou_threshold: in (0, 1].

    Raises:
        InputError: if the classes differ or a threshold is none.

    """
    if not 0 <= score_threshold <= 1:
        raise InputError(
            f"confusion_matrix: `score_threshold` must be in [0, 1], got {score_threshold}. "
            "Take the one that the model runs with."
        )
    if not 0 < iou_threshold <= 1:
        raise InputError(
            f"confusion_matrix: `iou_threshold` must be in (0, 1], got {iou_threshold}. "
            "0.5 is customary."
        )
    counts = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
    object_classes = class_ids_of_model(dataset, classes)
    for sample, found, object_ids in zip(dataset.samples, detections, object_classes, strict=True):
        is_counted = found.scores > score_threshold
        predicted = found.class_ids[is_counted]
        assigned = assign_as_coco(
            found.boxes_xyxy[is_counted], sample.boxes_xyxy, sample.is_crowd, iou_threshold
        )
        is_hit = assigned >= 0
        np.add.at(counts, (object_ids[assigned[is_hit]], predicted[is_hit]), 1)
        is_left = ~sample.is_crowd
        is_left[assigned[is_hit]] = False
        counts[-1, :-1] += np.bincount(predicted[assigned == MISS], minlength=len(classes))
        counts[:-1, -1] += np.bincount(object_ids[is_left], minlength=len(classes))
    return ConfusionMatrix(tuple(classes), counts, score_threshold, iou_threshold)
