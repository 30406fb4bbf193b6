"""Writing a report: the pictures as files, the figures for machines, and the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv.files import replacing, write_text
from edgecv.metrics.classification import ClassificationMetrics
from edgecv.metrics.confusion import ConfusionMatrix
from edgecv.metrics.detection import DetectionMetrics
from edgecv.metrics.segmentation import SegmentationMetrics
from edgecv.report.charts import confusion_chart, png, precision_recall_chart, training_chart
from edgecv.report.examples import Example, examples_chart
from edgecv.report.page import (
    render_classification_page,
    render_page,
    render_segmentation_page,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """What the report of a detector tells.

    Args:
        title: of the page: which model on which data.
        facts: sentences on how the figures were come by: split, images, thresholds, backend.
        metrics: of the detections.
        confusion: of the same detections.
        history: one record per epoch with `epoch`, `loss`, `learning_rate`, `AP`, `AP50` and
            `AP75`, and those of the masks or keypoints where there are any, where a training is
            reported.
        best_epoch: the epoch (1-based) that the metrics are of, 0 without a history.

    """

    title: str
    facts: Sequence[str]
    metrics: DetectionMetrics
    confusion: ConfusionMatrix
    history: Sequence[dict[str, Any]] = ()
    best_epoch: int = 0

    def charts(self) -> dict[str, "Figure"]:
        """Return the pictures by name."""
        figures = {
            "precision_recall": precision_recall_chart(self.metrics),
            "confusion_matrix": confusion_chart(self.confusion),
        }
        if self.history:
            # Where masks or keypoints are measured, theirs is the figure that chooses the epoch.
            shapes = (name for name in ("mask", "keypoint") if f"{name}_AP" in self.history[0])
            shape = next(shapes, "")
            prefix = f"{shape}_" if shape else ""
            figures["training"] = training_chart(
                self.history,
                self.best_epoch,
                figures=[f"{prefix}{name}" for name in ("AP", "AP50", "AP75")],
                title=f"Validation {shape} AP" if shape else "Validation AP",
                note="by COCO's definition",
            )
        return figures

    def to_plain(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return {**self.metrics.to_plain(curves=True), "confusion": self.confusion.to_plain()}

    def page(self, pictures: Mapping[str, bytes]) -> str:
        """Return the page with the pictures as PNG files."""
        return render_page(self.title, self.facts, self.metrics, pictures)


@dataclass(frozen=True)
class ClassificationReport:
    """What the report of a classifier tells.

    Args:
        title: of the page: which model on which data.
        facts: sentences on how the figures were come by: split, images, backend.
        metrics: of the images.
        history: one record per epoch with `epoch`, `loss`, `learning_rate`, `top1` and `top5`,
            where a training is reported.
        best_epoch: the epoch (1-based) that the metrics are of, 0 without a history.

    """

    title: str
    facts: Sequence[str]
    metrics: ClassificationMetrics
    history: Sequence[dict[str, Any]] = ()
    best_epoch: int = 0

    def charts(self) -> dict[str, "Figure"]:
        """Return the pictures by name."""
        figures = {"confusion_matrix": confusion_chart(self.metrics.confusion)}
        if self.history:
            figures["training"] = training_chart(
                self.history,
                self.best_epoch,
                figures=("top1", "top5"),
                title="Validation accuracy",
                note="shares of the images",
            )
        return figures

    def to_plain(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return {**self.metrics.to_plain(), "confusion": self.metrics.confusion.to_plain()}

    def page(self, pictures: Mapping[str, bytes]) -> str:
        """Return the page with the pictures as PNG files."""
        return render_classification_page(self.title, self.facts, self.metrics, pictures)


@dataclass(frozen=True)
class SegmentationReport:
    """What the report of a segmentation model tells.

    Args:
        title: of the page: which model on which data.
        facts: sentences on how the figures were come by: split, images, backend.
        metrics: of the pixels.
        examples: images to look at.

    """

    title: str
    facts: Sequence[str]
    metrics: SegmentationMetrics
    examples: Sequence[Example] = ()

    def charts(self) -> dict[str, "Figure"]:
        """Return the pictures by name."""
        confusion = self.metrics.confusion
        figures = {"confusion_matrix": confusion_chart(confusion)}
        if self.examples:
            figures["examples"] = examples_chart(self.examples, confusion.classes)
        return figures

    def to_plain(self) -> dict[str, Any]:
        """Return the figures for machines."""
        return {**self.metrics.to_plain(), "confusion": self.metrics.confusion.to_plain()}

    def page(self, pictures: Mapping[str, bytes]) -> str:
        """Return the page with the pictures as PNG files."""
        return render_segmentation_page(self.title, self.facts, self.metrics, pictures)


def write_report(report: Report | ClassificationReport | SegmentationReport, folder: Path) -> Path:
    """Write `report.html`, its pictures as PNG files and `metrics.json`; return the page's path.

    The page holds the pictures itself and loads nothing. The files are `confusion_matrix.png`, of
    a detector `precision_recall.png`, of a segmentation model `examples.png`, and of a training
    `training.png`; older ones are replaced.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
        OutputError: if `folder` cannot be written.

    """
    pictures = {name: png(figure) for name, figure in report.charts().items()}
    for name, picture in pictures.items():
        with replacing(folder / f"{name}.png") as partial:
            partial.write_bytes(picture)
    plain = {"title": report.title, **report.to_plain()}
    write_text(folder / "metrics.json", json.dumps(plain, indent=1, allow_nan=False) + "\n")
    write_text(folder / PAGE, report.page(pictures))
    return folder / PAGE
