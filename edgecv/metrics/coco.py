"""COCO's average precision and recall, of boxes or of masks, by faster-coco-eval."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import MissingDependencyError

_SIZES = ("small", "medium", "large")
_IOU_75 = 5  # of COCO's thresholds 0.50, 0.55 .. 0.95


@dataclass(frozen=True)
class CocoFigures:
    """Fractions; NaN where the data set has no object of that kind.

    Args:
        summary: AP, AP50, AP75, AP_small, AP_medium, AP_large, AR100, AR_small, AR_medium,
            AR_large, AR1 and AR10, means over the categories.
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
    shape: Literal["box", "mask"],
) -> CocoFigures:
    """Score COCO result records.

    Args:
        truth: COCO's JSON structure, as `DetectionDataset.to_coco` returns it. For masks every
            object has a `segmentation` but the crowds, of which one without stands for its box.
        records: as `Detections.to_coco` returns them; for masks each has a `segmentation`, and
            the object's size is that of its mask, not of its box.
        category_ids: what the per-category figures are of, in their order.
        shape: what of the objects is compared.

    Raises:
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
    # The evaluation writes into what it is given.
    objects, found = ([dict(entry) for entry in list_] for list_ in (truth["annotations"], records))
    if shape == "mask":
        for annotation in objects:
            annotation.setdefault("segmentation", [_corners(annotation["bbox"])])
        for record in found:
            del record["bbox"]  # beside it, the box's area would count as the object's
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = COCO({**truth, "annotations": objects})
        # `loadRes` refuses an empty list.
        given = wanted.loadRes(found) if found else COCO({**truth, "annotations": []})
        evaluation = COCOeval_faster(wanted, given, {"box": "bbox", "mask": "segm"}[shape])
        evaluation.evaluate()
        evaluation.accumulate()
    # precision: [IoU thresholds, recalls, categories, areas, detections], recall: no recalls.
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])
    column = {id_: index for index, id_ in enumerate(evaluation.params.catIds)}
    columns = [column[id_] for id_ in category_ids]
    curves = np.where(precision > -1, precision, np.nan)[0, :, :, 0]
    return CocoFigures(
        summary={
            **_figures(precision, recall[..., -1]),
            "AR1": _mean(recall[:, :, 0, 0]),
            "AR10": _mean(recall[:, :, 0, 1]),
        },
        per_category=tuple(_figures(precision[:, :, k], recall[:, k, :, -1]) for k in columns),
        precision_curves=tuple(tuple(curves[:, k].tolist()) for k in columns),
    )


def _figures(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, float]:
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


def _corners(box_xywh: Sequence[float]) -> list[float]:
    x, y, width, height = box_xywh
    return [x, y, x + width, y, x + width, y + height, x, y + height]
