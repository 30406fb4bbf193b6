"""COCO's average precision and recall, of boxes, masks or keypoints, by faster-coco-eval."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import MissingDependencyError

_SIZES = ("small", "medium", "large")
_KEYPOINT_SIZES = ("medium", "large")  # COCO labels no keypoints of small people
_IOU_75 = 5  # of COCO's thresholds 0.50, 0.55 .. 0.95
_MAX_BOXES, _MAX_POSES = 100, 20  # of a category that count in an image

# How far off people place each point of a person, as a fraction of the square root of the object's
# area, one standard deviation: measured on 5000 images that were labelled twice.
_SIGMAS_OF_PERSON = {
    "nose": 0.026,
    "left_eye": 0.025,
    "right_eye": 0.025,
    "left_ear": 0.035,
    "right_ear": 0.035,
    "left_shoulder": 0.079,
    "right_shoulder": 0.079,
    "left_elbow": 0.072,
    "right_elbow": 0.072,
    "left_wrist": 0.062,
    "right_wrist": 0.062,
    "left_hip": 0.107,
    "right_hip": 0.107,
    "left_knee": 0.087,
    "right_knee": 0.087,
    "left_ankle": 0.089,
    "right_ankle": 0.089,
}
_SIGMA = 0.05  # of any other point: between COCO's eyes and wrists


@dataclass(frozen=True)
class CocoFigures:
    """Fractions; NaN where the data set has no object of that kind.

    Args:
        summary: AP, AP50, AP75, AP_small, AP_medium, AP_large, AR100, AR_small, AR_medium,
            AR_large, AR1 and AR10, means over the categories. Of keypoints there are AR20, no
            AR100, AR1 and AR10, and no figures of small objects.
        per_category: for each category the same without AR1 and AR10.
        precision_curves: for each category its precision at IoU 0.50, at 101 recalls.

    """

    summary: dict[str, float]
    per_category: tuple[dict[str, float], ...]
    precision_curves: tuple[tuple[float, ...], ...]


def coco_figures(
    truth: dict[str, Any],
    records: Sequence[dict[str, Any]],
    category_ids: Sequence[int],
    *,
    shape: Literal["box", "mask", "keypoints"],
) -> CocoFigures:
    """Score COCO result records.

    Args:
        truth: COCO's JSON structure, as `DetectionDataset.to_coco` returns it. For masks every
            object has a `segmentation` but the crowds, of which one without stands for its box.
            For keypoints every object has `keypoints` and the categories name them; an object
            without a labelled one counts neither as hit nor as miss.
        records: as `Detections.to_coco` returns them; for masks each has a `segmentation`, and
            the object's size is that of its mask, not of its box; for keypoints each has
            `keypoints`, and the size is that of the box around them.
        category_ids: what the per-category figures are of, in their order.
        shape: what of the objects is compared. Keypoints have a similarity (OKS) in the place of
            the IoU, see `keypoint_sigmas`.

    Raises:
        MissingDependencyError: if faster-coco-eval is not installed.

    Source:
        Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the twelve figures of
        the COCO detection challenge, the ten of its keypoint challenge.

    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingDependencyError(
            "COCO metrics need the package faster-coco-eval. "
            "Install it with `pip install 'edgecv[eval]'`."
        ) from error
    # The evaluation writes into what it is given.
    objects, found = ([dict(entry) for entry in list_] for list_ in (truth["annotations"], records))
    if shape == "mask":
        for annotation in objects:
            annotation.setdefault("segmentation", [_corners(annotation["bbox"])])
    if shape != "box":
        for record in found:
            del record["bbox"]  # beside it, the box's area would count as the object's
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = COCO({**truth, "annotations": objects})
        # `loadRes` refuses an empty list.
        given = wanted.loadRes(found) if found else COCO({**truth, "annotations": []})
        sigmas = keypoint_sigmas(_keypoint_names(truth)) if shape == "keypoints" else None
        kind = {"box": "bbox", "mask": "segm"}.get(shape, shape)
        evaluation = COCOeval_faster(wanted, given, kind, kpt_oks_sigmas=sigmas)
        # Of keypoints it would leave out the categories without an object.
        evaluation.params.catIds = sorted(category_ids)
        evaluation.evaluate()
        evaluation.accumulate()
    # precision: [IoU thresholds, recalls, categories, areas, detections], recall: no recalls.
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])
    column = {id_: index for index, id_ in enumerate(evaluation.params.catIds)}
    columns = [column[id_] for id_ in category_ids]
    curves = np.where(precision > -1, precision, np.nan)[0, :, :, 0]
    few: dict[str, float] = {}
    figures = partial(_figures, sizes=_KEYPOINT_SIZES, limit=_MAX_POSES)
    if shape != "keypoints":
        figures = partial(_figures, sizes=_SIZES, limit=_MAX_BOXES)
        few = {"AR1": _mean(recall[:, :, 0, 0]), "AR10": _mean(recall[:, :, 0, 1])}
    return CocoFigures(
        summary=figures(precision, recall[..., -1]) | few,
        per_category=tuple(figures(precision[:, :, k], recall[:, k, :, -1]) for k in columns),
        precision_curves=tuple(tuple(curves[:, k].tolist()) for k in columns),
    )


def keypoint_sigmas(names: Sequence[str]) -> NDArray[np.float64]:
    """Return how far off each keypoint may be, as a fraction of the square root of the area.

    COCO's own for the points of a person, by their names; for all points of any other object 0.05,
    as nobody has measured how well people agree on them. At one such distance a point counts
    exp(-1/8) = 0.88, at two 0.61, at four 0.14.

    Args:
        names: of the keypoints.

    Source:
        COCO keypoint challenge, "Keypoint evaluation", section 1.3: the similarity is the mean of
        exp(-d² / (2 area (2 sigma)²)) over the labelled points.

    """
    is_person = set(names) == set(_SIGMAS_OF_PERSON)
    return np.array([_SIGMAS_OF_PERSON[name] if is_person else _SIGMA for name in names])


def _keypoint_names(truth: dict[str, Any]) -> list[str]:
    names: list[str] = truth["categories"][0]["keypoints"]
    return names


def _figures(
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
    *,
    sizes: Sequence[str],
    limit: int,
) -> dict[str, float]:
    """Return AP and AR, by IoU and size, of arrays whose last axis is the area."""
    return {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, ..., 0]),
        "AP75": _mean(precision[_IOU_75, ..., 0]),
        **{f"AP_{size}": _mean(precision[..., area]) for area, size in enumerate(sizes, 1)},
        f"AR{limit}": _mean(recall[..., 0]),
        **{f"AR_{size}": _mean(recall[..., area]) for area, size in enumerate(sizes, 1)},
    }


def _mean(values: NDArray[np.float64]) -> float:
    valid = values[values > -1]  # -1 marks a category without objects
    return float(valid.mean()) if valid.size else float("nan")


def _corners(box_xywh: Sequence[float]) -> list[float]:
    x, y, width, height = box_xywh
    return [x, y, x + width, y, x + width, y + height, x, y + height]
