"""The metrics of semantic segmentation, counted pixel by pixel: IoU, Dice, accuracy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgecv.data.pixel_labels import SegmentationDataset
from edgecv.errors import InputError
from edgecv.metrics.class_order import known_class_ids
from edgecv.metrics.classification import ClassConfusion


@dataclass(frozen=True, eq=False)
class PixelConfusion(ClassConfusion):
    """How many pixels of one class were labelled as another.

    Args:
        classes: the model's class names.
        counts: (C, C) int64; rows are the true classes, columns the predicted ones.

    """

    SHOWS_COUNTS: ClassVar[bool] = False  # millions of pixels: their shares are read

    @property
    def note(self) -> str:
        """How the matrix was made, for people."""
        return "the label of each pixel that is of a class"


@dataclass(frozen=True)
class SegmentationMetrics:
    """How well the labels of pixels agree with the truth; pixels that are void count nowhere.

    Args:
        summary: `mIoU`, `mDice` and `mean_accuracy`, means over the classes of the data set that
            are seen in truth or result (of the last: in truth); `pixel_accuracy`, the share of
            pixels that are right; `fwIoU`, the mean IoU weighted by the classes' true pixels.
        per_class: for each class of the data set `IoU`, `Dice`, `accuracy` (the share of its pixels
            that are found, its recall), `precision` and `num_pixels`, its true ones. NaN where
            there is nothing to divide by.
        num_images: images that were counted.
        num_pixels: pixels that were counted, those that are of a class.
        image_accuracy: `pixel_accuracy` of each image, NaN of one that is void altogether.
        confusion: which class is taken for which.

    Source:
        Long et al., "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 5,
        for accuracies, mean and frequency weighted IoU; Everingham et al., "The PASCAL Visual
        Object Classes Challenge: A Retrospective", IJCV 2015, section 4.5, for counting over the
        whole data set and for void.

    """

    summary: dict[str, float]
    per_class: dict[str, dict[str, float]]
    num_images: int
    num_pixels: int
    image_accuracy: tuple[float, ...]
    confusion: PixelConfusion

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers, None for NaN, without the confusion matrix."""
        return {
            "num_images": self.num_images,
            "num_pixels": self.num_pixels,
            **_numbers(self.summary),
            "per_class": {name: _numbers(values) for name, values in self.per_class.items()},
        }


class PixelCounter:
    """Counts the pixels of one image after the other; only the counts are kept.

    Args:
        dataset: the ground truth, with the model's classes or some of them, in any order.
        classes: the model's class names.

    Raises:
        InputError: if the data set has a class that the model does not know.

    """

    def __init__(self, dataset: SegmentationDataset, classes: Sequence[str]) -> None:
        """Bring the classes together; nothing is counted yet."""
        self._classes = tuple(classes)
        self._ids = known_class_ids(dataset.name, dataset.classes, classes)
        self._counts = np.zeros((len(classes), len(classes)), np.int64)
        self._accuracy: list[float] = []

    def add(self, truth: NDArray[np.uint8], found: NDArray[np.uint8]) -> None:
        """Count one image.

        Args:
            truth: (H, W) uint8, indices into the data set's classes, or `VOID`.
            found: (H, W) uint8, indices into the model's classes.

        Raises:
            InputError: if the two differ in size.

        """
        if truth.shape != found.shape:
            raise InputError(
                f"the labels of an image must be as large as the result, {found.shape}, got "
                f"{truth.shape}. Keep the files as they are while they are measured."
            )
        num_classes = len(self._classes)
        # A row more, for void: one pass over the pixels, and no copy of those that count.
        rows = np.full(256, num_classes * num_classes, np.intp)
        rows[: len(self._ids)] = self._ids * num_classes
        codes = rows[truth]
        codes += found
        counts = np.bincount(codes.ravel(), minlength=num_classes * (num_classes + 1))
        image = counts[: num_classes * num_classes].reshape(num_classes, num_classes)
        self._accuracy.append(_share(int(np.trace(image)), int(image.sum())))
        self._counts += image

    def metrics(self) -> SegmentationMetrics:
        """Return the metrics of what was counted so far."""
        counts = self._counts
        right, true, taken = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        per_class = {}
        for index in self._ids.tolist():
            hits, total, found = int(right[index]), int(true[index]), int(taken[index])
            per_class[self._classes[index]] = {
                "IoU": _share(hits, total + found - hits),
                "Dice": _share(2 * hits, total + found),
                "accuracy": _share(hits, total),
                "precision": _share(hits, found),
                "num_pixels": total,
            }
        num_pixels = int(true.sum())
        weighted = [
            values["IoU"] * values["num_pixels"]
            for values in per_class.values()
            if values["num_pixels"]
        ]
        return SegmentationMetrics(
            summary={
                "mIoU": _mean(per_class, "IoU"),
                "pixel_accuracy": _share(int(right.sum()), num_pixels),
                "mean_accuracy": _mean(per_class, "accuracy"),
                "fwIoU": sum(weighted) / num_pixels if num_pixels else math.nan,
                "mDice": _mean(per_class, "Dice"),
            },
            per_class=per_class,
            num_images=len(self._accuracy),
            num_pixels=num_pixels,
            image_accuracy=tuple(self._accuracy),
            confusion=PixelConfusion(self._classes, counts.copy()),
        )


def _mean(per_class: Mapping[str, Mapping[str, float]], key: str) -> float:
    values = [value[key] for value in per_class.values() if not math.isnan(value[key])]
    return math.fsum(values) / len(values) if values else math.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {
        key: value if isinstance(value, int) else None if math.isnan(value) else round(value, 5)
        for key, value in values.items()
    }
