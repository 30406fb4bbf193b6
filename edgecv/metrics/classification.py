"""The metrics of classification: top-1, top-5, per class, and which class is taken for which."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgecv.data.labelled import ClassificationDataset
from edgecv.metrics.class_order import known_class_ids
from edgecv.results import Classification

_K = 5


@dataclass(frozen=True, eq=False)
class ClassConfusion:
    """How often an image of one class was taken for another.

    Args:
        classes: the model's class names.
        counts: (C, C) int64; rows are the true classes, columns the predicted ones.

    """

    HAS_BACKGROUND: ClassVar[bool] = False
    SHOWS_COUNTS: ClassVar[bool] = True
    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of rows and columns."""
        return self.classes

    @property
    def note(self) -> str:
        """How the matrix was made, for people."""
        return "the most probable class of each image"

    def shares(self) -> NDArray[np.float64]:
        """Return the counts as fractions of their rows, 0 where a row is empty."""
        totals = self.counts.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = self.counts / np.maximum(totals, 1)
        return shares

    def to_plain(self) -> dict[str, Any]:
        """Return lists, strings and numbers."""
        return {"labels": list(self.classes), "counts": self.counts.tolist()}


@dataclass(frozen=True)
class ClassificationMetrics:
    """How often the true class is the most probable one, or among the five most probable.

    Args:
        summary: `top1` and `top5`, fractions of all images; `mean_top1`, the mean of the classes'
            `top1`, in which a rare class counts as much as a common one.
        per_class: for each class name `top1` and `top5`, fractions of its images (the first is
            its recall), `precision`, the share of its images among those that are taken for it,
            and `num_images`. NaN where there is nothing to divide by.
        num_images: images that were counted.
        confusion: which class is taken for which.

    """

    summary: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_images: int
    confusion: ClassConfusion

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers, None for NaN, without the confusion matrix."""
        return {
            "num_images": self.num_images,
            **_numbers(self.summary),
            "per_class": {name: _numbers(values) for name, values in self.per_class.items()},
        }


def classification_metrics(
    dataset: ClassificationDataset, classes: Sequence[str], found: Sequence[Classification]
) -> ClassificationMetrics:
    """Score the probabilities of every image of a data set.

    With five classes or fewer `top5` is 1 and says nothing. Of classes with the same probability
    the first counts as the more probable.

    Args:
        dataset: the ground truth, with the model's classes in any order.
        classes: the model's class names.
        found: one per sample of the data set, in its order.

    Raises:
        InputError: if the data set has a class that the model does not know.

    """
    true = class_ids_of_model(dataset, classes)
    count = len(classes)
    best = np.array([[class_id for class_id, _ in result.top(_K)] for result in found], np.int64)
    is_hit = best == true[:, None]
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (true, best[:, 0]), 1)
    totals, taken = counts.sum(axis=1), counts.sum(axis=0)
    hits = {"top1": is_hit[:, 0], "top5": is_hit.any(axis=1)}
    per_class: dict[str, dict[str, float]] = {}
    for index, name in enumerate(classes):
        is_own = true == index
        values = {
            key: _share(int(hit[is_own].sum()), int(totals[index])) for key, hit in hits.items()
        }
        values["precision"] = _share(int(counts[index, index]), int(taken[index]))
        per_class[name] = values | {"num_images": int(totals[index])}
    recalls = [values["top1"] for values in per_class.values() if not math.isnan(values["top1"])]
    summary = {key: float(hit.mean()) for key, hit in hits.items()}
    return ClassificationMetrics(
        summary=summary | {"mean_top1": float(np.mean(recalls))},
        per_class=per_class,
        num_images=len(true),
        confusion=ClassConfusion(tuple(classes), counts),
    )


def class_ids_of_model(dataset: ClassificationDataset, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the class of each sample as an index into the model's `classes`.

    The data set may lack some of them: a part of ImageNet measures a model of all of it.

    Raises:
        InputError: if the data set has a class that the model does not know.

    """
    table = known_class_ids(dataset.name, dataset.classes, classes)
    return table[[sample.class_id for sample in dataset.samples]]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _numbers(values: dict[str, float]) -> dict[str, float | None]:
    return {
        key: value if isinstance(value, int) else None if math.isnan(value) else round(value, 5)
        for key, value in values.items()
    }
