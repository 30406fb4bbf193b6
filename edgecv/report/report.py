"""Writing a report: the pictures as files, the figures for machines, and the page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv.files import replacing, write_text
from edgecv.metrics.confusion import ConfusionMatrix
from edgecv.metrics.detection import DetectionMetrics
from edgecv.report.charts import confusion_chart, png, precision_recall_chart, training_chart
from edgecv.report.page import render_page

PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Args:
        title: of the page: which model on which data.
        facts: sentences on how the figures were come by: split, images, thresholds, backend.
        metrics: of the detections.
        confusion: of the same detections.
        history: one record per epoch with `epoch`, `loss`, `learning_rate`, `AP`, `AP50` and
            `AP75`, and those of the masks where there are any, where a training is reported.
        best_epoch: the epoch (1-based) that the metrics are of, 0 without a history.

    """

    title: str
    facts: Sequence[str]
    metrics: DetectionMetrics
    confusion: ConfusionMatrix
    history: Sequence[dict[str, Any]] = ()
    best_epoch: int = 0


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.html`, its pictures as PNG files and `metrics.json`; return the page's path.

    The page holds the pictures itself and loads nothing. The files are `precision_recall.png`,
    `confusion_matrix.png` and, of a training, `training.png`; older ones are replaced.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
        OutputError: if `folder` cannot be written.

    """
    figures = {
        "precision_recall": precision_recall_chart(report.metrics),
        "confusion_matrix": confusion_chart(report.confusion),
    }
    if report.history:
        figures["training"] = training_chart(report.history, report.best_epoch)
    pictures = {name: png(figure) for name, figure in figures.items()}
    for name, picture in pictures.items():
        with replacing(folder / f"{name}.png") as partial:
            partial.write_bytes(picture)
    plain = {
        "title": report.title,
        **report.metrics.to_plain(curves=True),
        "confusion": report.confusion.to_plain(),
    }
    write_text(folder / "metrics.json", json.dumps(plain, indent=1, allow_nan=False) + "\n")
    page = render_page(report.title, report.facts, report.metrics, pictures)
    write_text(folder / PAGE, page)
    return folder / PAGE
