"""Average precision as the PASCAL VOC challenges define it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgecv.data.samples import DetectionDataset
from edgecv.errors import InputError
from edgecv.metrics.matching import RankedDetections, assign_as_voc, rank_by_class
from edgecv.results import Detections

_NUM_POINTS = 11


@dataclass(frozen=True)
class VOCMetrics:
    """Average precision per class as a fraction; NaN where the data set has no such object.

    Args:
        eleven_point: for each class name the figure of VOC 2007.
        all_point: that of VOC 2010 and later.
        iou_threshold: the overlap that a hit exceeds.

    """

    eleven_point: dict[str, float]
    all_point: dict[str, float]
    iou_threshold: float

    @property
    def mean_eleven_point(self) -> float:
        """The mean of the classes that the data set has, NaN if it has none."""
        return _mean(self.eleven_point)

    @property
    def mean_all_point(self) -> float:
        """Likewise of `all_point`."""
        return _mean(self.all_point)


def voc_metrics(
    dataset: DetectionDataset,
    classes: Sequence[str],
    detections: Sequence[Detections],
    *,
    iou_threshold: float = 0.5,
) -> VOCMetrics:
    """Score the detections of every image of a data set; difficult objects count neither way.

    Args:
        dataset: the ground truth; its crowds are VOC's difficult objects.
        classes: the model's class names.
        detections: one per sample of the data set, in its order; all of them count.
        iou_threshold: the overlap that a hit exceeds, in [0, 1).

    Raises:
        InputError: if the classes differ or the threshold is none.

    Source:
        Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88, 2010,
        section 4.2; the development kit of VOC 2010 for the precision at all points.

    """
    if not 0 <= iou_threshold < 1:
        raise InputError(
            f"voc_metrics: `iou_threshold` must be in [0, 1), got {iou_threshold}. VOC takes 0.5."
        )
    assign = partial(assign_as_voc, iou_threshold=iou_threshold)
    rankings = dict(zip(classes, rank_by_class(dataset, classes, detections, assign), strict=True))
    return VOCMetrics(
        {name: eleven_point_precision(ranked) for name, ranked in rankings.items()},
        {name: all_point_precision(ranked) for name, ranked in rankings.items()},
        iou_threshold,
    )


def eleven_point_precision(ranked: RankedDetections) -> float:
    """Return the mean precision at the recalls 0, 0.1 ... 1, NaN if there is no object.

    The precision at a recall is the highest one at that recall or beyond it, 0 if it is not
    reached.
    """
    if ranked.num_objects == 0:
        return float("nan")
    num_hits, envelope = _curve(ranked)
    # In whole numbers: 3 of 10 reach a recall of 0.3, which binary fractions would deny.
    reached = num_hits * (_NUM_POINTS - 1)
    total = 0.0
    for point in range(_NUM_POINTS):
        first = int(np.searchsorted(reached, point * ranked.num_objects))
        total += float(envelope[first]) if first < len(envelope) else 0.0
    return total / _NUM_POINTS


def all_point_precision(ranked: RankedDetections) -> float:
    """Return the area below precision over recall, NaN if there is no object.

    The precision at a recall is the highest one at that recall or beyond it; every hit is a step
    of the recall.
    """
    if ranked.num_objects == 0:
        return float("nan")
    _, envelope = _curve(ranked)
    return float(envelope[ranked.is_hit].sum()) / ranked.num_objects


def _curve(ranked: RankedDetections) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the hits up to each detection and the highest precision from it on."""
    num_hits = np.cumsum(ranked.is_hit, dtype=np.int64)
    precision = num_hits / np.arange(1, len(num_hits) + 1)
    return num_hits, np.maximum.accumulate(precision[::-1])[::-1]


def _mean(values: dict[str, float]) -> float:
    present = [value for value in values.values() if not np.isnan(value)]
    return float(np.mean(present)) if present else float("nan")
