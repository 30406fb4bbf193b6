"""What a training run needs to know of its task, and nothing else does."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

from edgecv.data import Problem
from edgecv.data.batches import Batches
from edgecv.runtime.model import Model
from edgecv.spec import InputSpec, ModelSpec, PostprocessSpec, ProposalMethod
from edgecv.train.checkpoint import Progress
from edgecv.train.config import TrainConfig
from edgecv.train.distributed import Ranks


class Metrics(Protocol):
    """What a validation measured."""

    @property
    def summary(self) -> dict[str, float]:
        """The figures over all classes, NaN where there is nothing to measure."""

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers, with `per_class`."""


class TrainingTask(ABC):
    """The data of a run and what is measured on them.

    Attributes:
        figures: names of the metrics that are shown, as fractions; the first chooses the best
            epoch.
        classes: the class names, in the order of the class ids.
        num_images: of the training split.
        problems: what `on_bad="skip"` left out of training and validation.
        keypoints: the names of the points of each object, empty where the task has none.
        skeleton: pairs of them, rows of `keypoints`, that a limb joins.
        notes: lines on how the data were made up.
        proposal_method: what the regions were made with that come with the images, None where
            there are none or it is unknown.

    """

    figures: tuple[str, ...]
    classes: tuple[str, ...]
    num_images: int
    problems: tuple[Problem, ...]
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()
    proposal_method: ProposalMethod | None = None

    @abstractmethod
    def __init__(self, config: TrainConfig) -> None:
        """Open the data of a run.

        Raises:
            DatasetError: if they cannot be used.
            InputError: if the settings do not suit the task.

        """

    @abstractmethod
    def batches(self, wanted: InputSpec, config: TrainConfig, ranks: Ranks) -> Batches:
        """Return the batches of the training split for one of the processes."""

    @abstractmethod
    def postprocess(self) -> PostprocessSpec:
        """Return what a model that was trained here starts with."""

    @abstractmethod
    def validate(self, model: Model, ranks: Ranks) -> list[Any]:
        """Return what a model finds in each validation image, in the first process."""

    @abstractmethod
    def measure(self, found: list[Any]) -> Metrics:
        """Return the metrics of what `validate` returned."""

    @abstractmethod
    def keep(self, folder: Path, found: list[Any]) -> None:
        """Write what `validate` returned, that of the best epoch, into a run's folder.

        A run that is resumed, maybe after its best epoch, can then report that epoch without
        validating anew.

        Raises:
            OutputError: if the folder cannot be written.

        """

    @abstractmethod
    def write_report(self, folder: Path, spec: ModelSpec, progress: Progress) -> Path:
        """Write the report of the best epoch into a run's folder; return its page."""
