"""Which detection found which object: the two rules of the field, and the ranking they lead to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.data.samples import DetectionDataset
from edgecv.metrics.class_order import class_ids_of_model
from edgecv.results import Detections

MISS = -1  # the detection found no object
IGNORED = -2  # it lies on a crowd or a difficult object and counts neither way

Boxes = NDArray[np.floating[Any]]
Assign = Callable[[Boxes, Boxes, NDArray[np.bool_]], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class RankedDetections:
    """The detections of one class in a whole data set, without the ignored ones.

    Args:
        scores: (K,) float64, descending.
        is_hit: (K,) bool, whether the detection found an object that no better one had found.
        num_objects: objects that could be found: crowds and difficult ones are not among them.

    """

    scores: NDArray[np.float64]
    is_hit: NDArray[np.bool_]
    num_objects: int


def assign_as_coco(
    boxes_xyxy: Boxes, objects_xyxy: Boxes, is_crowd: NDArray[np.bool_], iou_threshold: float
) -> NDArray[np.int64]:
    """Assign the detections of an image to its objects, each to the best one that is left.

    The best-scored detection chooses first. It takes the object of the highest IoU among those
    that nobody has, if that IoU is at least the threshold; of equal ones the first. Otherwise it
    is ignored where a crowd covers at least that fraction of its own area, else it is a miss.

    Args:
        boxes_xyxy: (N, 4) pixels, best score first.
        objects_xyxy: (M, 4) pixels.
        is_crowd: (M,).
        iou_threshold: in (0, 1].

    Returns:
        (N,) int64, the row of the object, `MISS` or `IGNORED`.

    Source:
        Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the matching that
        https://cocodataset.org/#detection-eval describes, crowds included.

    """
    assigned = np.full(len(boxes_xyxy), MISS, np.int64)
    if not len(boxes_xyxy) or not len(objects_xyxy):
        return assigned
    intersections, areas, object_areas = _intersections(boxes_xyxy, objects_xyxy)
    free = intersections / (areas[:, None] + object_areas - intersections)
    free[:, is_crowd] = 0.0
    with np.errstate(invalid="ignore"):  # a box without area is covered by nothing
        coverage = np.nan_to_num(intersections / areas[:, None])
    is_covered = np.any(coverage[:, is_crowd] >= iou_threshold, axis=1, keepdims=True)
    for row in range(len(boxes_xyxy)):
        best = int(free[row].argmax())
        if free[row, best] >= iou_threshold:
            assigned[row] = best
            free[:, best] = 0.0
        elif is_covered[row, 0]:
            assigned[row] = IGNORED
    return assigned


def assign_as_voc(
    boxes_xyxy: Boxes, objects_xyxy: Boxes, is_difficult: NDArray[np.bool_], iou_threshold: float
) -> NDArray[np.int64]:
    """Assign the detections of an image to its objects, each to the one it overlaps most.

    The best-scored detection chooses first. Its object is the one of the highest IoU, whether
    somebody has it or not; the IoU must exceed the threshold. A second detection of an object is
    a miss, one of a difficult object is ignored.

    Args:
        boxes_xyxy: (N, 4) pixels, best score first.
        objects_xyxy: (M, 4) pixels.
        is_difficult: (M,).
        iou_threshold: in [0, 1).

    Returns:
        (N,) int64, the row of the object, `MISS` or `IGNORED`.

    Source:
        Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 88, 2010,
        section 4.2. VOC's own boxes count whole pixels; these are in continuous coordinates, so
        that no pixel is added to widths and heights.

    """
    assigned = np.full(len(boxes_xyxy), MISS, np.int64)
    if not len(boxes_xyxy) or not len(objects_xyxy):
        return assigned
    intersections, areas, object_areas = _intersections(boxes_xyxy, objects_xyxy)
    ious = intersections / (areas[:, None] + object_areas - intersections)
    best = ious.argmax(axis=1)
    taken: set[int] = set()
    for row, column in enumerate(best.tolist()):
        if ious[row, column] <= iou_threshold:
            continue
        if is_difficult[column]:
            assigned[row] = IGNORED
        elif column not in taken:
            assigned[row] = column
            taken.add(column)
    return assigned


def rank_by_class(
    dataset: DetectionDataset,
    classes: Sequence[str],
    detections: Sequence[Detections],
    assign: Assign,
    *,
    max_detections: int | None = None,
) -> list[RankedDetections]:
    """Assign the detections of every image, class by class, and rank them over the data set.

    Args:
        dataset: the ground truth.
        classes: the model's class names.
        detections: one per sample of the data set, in its order.
        assign: takes boxes, objects and which of these to ignore, as the two functions above.
        max_detections: of a class in an image, the best; None for all.

    Returns:
        One ranking per class of the model. Equal scores keep the order of the images.

    Raises:
        InputError: if the classes differ.

    """
    scores: list[list[NDArray[np.float32]]] = [[] for _ in classes]
    hits: list[list[NDArray[np.bool_]]] = [[] for _ in classes]
    num_objects = np.zeros(len(classes), np.int64)
    object_classes = class_ids_of_model(dataset, classes)
    for sample, found, object_ids in zip(dataset.samples, detections, object_classes, strict=True):
        num_objects += np.bincount(object_ids[~sample.is_crowd], minlength=len(classes))
        for class_id in np.unique(found.class_ids).tolist():
            rows = np.flatnonzero(found.class_ids == class_id)[:max_detections]
            columns = object_ids == class_id
            assigned = assign(
                found.boxes_xyxy[rows], sample.boxes_xyxy[columns], sample.is_crowd[columns]
            )
            counts = assigned != IGNORED
            scores[class_id].append(found.scores[rows][counts])
            hits[class_id].append(assigned[counts] != MISS)
    per_class = zip(scores, hits, num_objects.tolist(), strict=True)
    return [_ranked(parts, is_hit, number) for parts, is_hit, number in per_class]


def _ranked(
    scores: list[NDArray[np.float32]], hits: list[NDArray[np.bool_]], num_objects: int
) -> RankedDetections:
    joined = np.concatenate([np.zeros(0), *scores])
    order = np.argsort(-joined, kind="stable")
    is_hit = np.concatenate([np.zeros(0, bool), *hits])
    return RankedDetections(joined[order], is_hit[order], num_objects)


def _intersections(
    a_xyxy: Boxes, b_xyxy: Boxes
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the common areas (N, M) and those of the boxes themselves, (N,) and (M,).

    float64, unlike `edgecv.kernels.box_iou`: a rounded IoU may fall on the other side of the
    threshold than in the evaluation beside it.
    """
    a, b = a_xyxy.astype(np.float64), b_xyxy.astype(np.float64)
    corner = np.maximum(a[:, None, :2], b[:, :2])
    opposite = np.minimum(a[:, None, 2:], b[:, 2:])
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1) for boxes in (a, b)]
    return (opposite - corner).clip(0).prod(axis=2), areas[0], areas[1]
