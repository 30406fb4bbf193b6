"""mAP through the pipeline that `run` uses: decoder, fit, network and suppression."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgecv.data import DetectionDataset
from edgecv.metrics.class_order import class_order
from edgecv.metrics.confusion import ConfusionMatrix, confusion_matrix
from edgecv.metrics.detection import MAX_DETECTIONS, DetectionMetrics, detection_metrics
from edgecv.runtime.model import Model
from edgecv.stream import stream
from edgecv.stream.sources import ImageSource

SCORE_THRESHOLD = 0.001  # the whole precision-recall curve, as the field evaluates


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on what, with which thresholds.

    The metrics are of every detection, the confusion matrix of those above the score threshold
    that the model itself asks for: of what `run` shows.
    """

    data: str
    split: str
    score_threshold: float
    iou_threshold: float
    max_detections: int
    metrics: DetectionMetrics
    confusion: ConfusionMatrix

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers, without curves and confusion matrix."""
        return {
            "data": self.data,
            "split": self.split,
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            **self.metrics.to_plain(),
        }


def evaluate(
    model: Model,
    dataset: DetectionDataset,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Run a model over every image of a data set and score it as COCO does.

    Args:
        model: the model; its own thresholds are replaced by the two below.
        dataset: the ground truth, with the model's classes in any order.
        score_threshold: in [0, 1]; a higher one cuts the curve and lowers AP.
        iou_threshold: of the suppression, in [0, 1]; None for the model's own.
        on_image: called after each image.

    Raises:
        InputError: if the classes differ or an image cannot be read.
        MissingDependencyError: if faster-coco-eval is not installed.

    """
    class_order(dataset, model.spec.classes)  # before the work, not after
    measured = model.with_thresholds(
        score=score_threshold, iou=iou_threshold, max_detections=MAX_DETECTIONS
    )
    found = []
    source = ImageSource([sample.image_path for sample in dataset.samples])
    for result in stream(source, measured):
        found.append(result.detections)
        on_image()
    postprocess = measured.spec.postprocess
    return Evaluation(
        data=dataset.name,
        split=dataset.split,
        score_threshold=postprocess.score_threshold,
        iou_threshold=postprocess.iou_threshold,
        max_detections=postprocess.max_detections,
        metrics=detection_metrics(dataset, model.spec.classes, found),
        confusion=confusion_matrix(
            dataset,
            model.spec.classes,
            found,
            score_threshold=max(score_threshold, model.spec.postprocess.score_threshold),
        ),
    )
