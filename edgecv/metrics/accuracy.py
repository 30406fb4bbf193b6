"""The one figure that a model of each task is judged by."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgecv.records import require
from edgecv.spec import Task

# Higher is better in all of them. An instance or keypoint model has boxes too.
HEADLINES: Mapping[Task, str] = {
    "detect": "AP",
    "instance": "mask_AP",
    "keypoints": "keypoint_AP",
    "classify": "top1",
    "segment": "mIoU",
}


@dataclass(frozen=True)
class Accuracy:
    """How right a model was on held-out images.

    Args:
        metric: the figure that counts, a key of `figures`; higher is better.
        figures: what was measured, by the names of `edgecv eval`.
        data: the data set.
        split: the part of it.

    """

    metric: str
    figures: Mapping[str, float]
    data: str
    split: str

    def __post_init__(self) -> None:
        """Refuse a metric without its figure."""
        rule = f"be one of {', '.join(self.figures)}"
        require(self.metric in self.figures, "accuracy.metric", rule, self.metric)

    @property
    def value(self) -> float:
        """The figure that counts."""
        return self.figures[self.metric]
