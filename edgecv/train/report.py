"""The report in a run's folder, and the detections of the best epoch that it is made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecv.errors import InputError
from edgecv.files import replacing
from edgecv.results import Detections
from edgecv.spec import ModelSpec
from edgecv.train.checkpoint import Progress

if TYPE_CHECKING:
    from edgecv.train.task import TrainingTask

_KEPT = "best_detections.npz"


def keep_detections(folder: Path, detections: Sequence[Detections]) -> None:
    """Write the boxes that the validation found beside the weights that they come from.

    A run that is resumed, maybe after its best epoch, can then report that epoch without
    detecting anew. Masks are not kept, which would take gigabytes for a large split: the report
    takes their figures from the history, and shows nothing else of them.

    Args:
        folder: of the run; `best_detections.npz` in it is replaced. Its arrays are those of all
            images one after the other, `counts` says how many belong to each.
        detections: one per image, in the data set's order.

    Raises:
        OutputError: if the folder cannot be written.

    """
    empty = Detections.empty()
    with replacing(folder / _KEPT) as partial:
        np.savez_compressed(
            partial,
            counts=np.array([len(found) for found in detections], np.int64),
            boxes_xyxy=np.concatenate([empty.boxes_xyxy, *(d.boxes_xyxy for d in detections)]),
            scores=np.concatenate([empty.scores, *(d.scores for d in detections)]),
            class_ids=np.concatenate([empty.class_ids, *(d.class_ids for d in detections)]),
        )


def kept_detections(folder: Path) -> list[Detections]:
    """Return what `keep_detections` wrote.

    Raises:
        InputError: if the file is missing or damaged.

    """
    path = folder / _KEPT
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            ends = np.cumsum(arrays["counts"])[:-1]
            parts = [np.split(arrays[key], ends) for key in ("boxes_xyxy", "scores", "class_ids")]
    except Exception as error:  # NumPy raises whatever the damaged bytes lead it to
        raise InputError(f"`{path}` cannot be read: {error}. Validate an epoch anew.") from error
    return [Detections(*arrays) for arrays in zip(*parts, strict=True)]


def report_training(task: "TrainingTask", folder: Path, spec: ModelSpec, progress: Progress) -> str:
    """Write `report.html` and its pictures into a run's folder; never fail.

    Args:
        task: of the run.
        folder: of the run, with what `TrainingTask.keep` wrote of its best epoch.
        spec: of the model, with its provenance.
        progress: history and best epoch.

    Returns:
        One line for people: where the report lies, or why there is none.

    """
    if progress.best_epoch == 0:
        return "No report: no epoch has been validated yet."
    try:
        return f"Report: {task.write_report(folder, spec, progress)}"
    except Exception as error:  # noqa: BLE001  # nothing may cost the training that it reports
        reason = str(error) or type(error).__name__
        return f"No report: {' '.join(reason.split())}"
