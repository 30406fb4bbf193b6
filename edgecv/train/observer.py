"""Who follows a run, and what they learn when it ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgecv.data import Problem
from edgecv.train.checkpoint import Progress


class Observer(Protocol):
    """Whoever wants to follow a run, such as the progress bar."""

    def started(
        self,
        *,
        num_epochs: int,
        num_batches: int,
        progress: Progress,
        notes: tuple[str, ...],
        figures: tuple[str, ...],
    ) -> None:
        """The first batch comes next.

        Args:
            num_epochs: of the run, as planned so far.
            num_batches: of an epoch.
            progress: where the run begins.
            notes: lines on how the run was set up.
            figures: keys of an epoch's record that its validation is judged by, the first above
                all.

        """

    def stepped(self, *, epoch: int, loss: float, waiting: float) -> None:
        """A batch is done; `waiting` is the share of the epoch's time spent on waiting for data."""

    def finished_epoch(self, record: dict[str, Any]) -> None:
        """An epoch and its validation are done."""


class Nobody:
    """Follows a run in the processes that do not report."""

    def started(self, **_: object) -> None:
        """Nothing."""

    def stepped(self, **_: object) -> None:
        """Nothing."""

    def finished_epoch(self, record: dict[str, Any]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Args:
        folder: where `best.pt`, `last.pt`, `config.toml`, `history.json` and TensorBoard's files
            lie.
        history: one record per finished epoch.
        figures: keys of a record, and of its classes, that the validation is judged by.
        best_epoch: the epoch (1-based) whose weights are in `best.pt`, 0 if there is none yet.
        was_interrupted: the run was stopped and can be resumed.
        ending: why it ended, one line; empty if all epochs are done.
        problems: what `on_bad="skip"` left out of training and validation.
        report: one line that says where the report lies, or why there is none; empty in processes
            that do not report.
        seconds: of this process.

    """

    folder: Path
    history: list[dict[str, Any]]
    figures: tuple[str, ...]
    best_epoch: int
    was_interrupted: bool
    ending: str
    problems: tuple[Problem, ...]
    report: str
    seconds: float
