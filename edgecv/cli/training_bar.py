"""A training run on the screen: a bar with ETA, and a line per epoch."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgecv.train.checkpoint import Progress as RunProgress


class TrainingBar:
    """Shows the run that it observes, see `edgecv.train.observer.Observer`."""

    def __init__(self, screen: Console) -> None:
        """Show it on `screen`."""
        self._screen = screen
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=screen,
            transient=True,
        )
        self._task = self._bar.add_task("preparing", total=None)
        self._num_epochs = self._num_batches = 0
        self._figures: tuple[str, ...] = ()

    def __enter__(self) -> "Self":
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar; the lines stay."""
        self._bar.stop()

    def started(
        self,
        *,
        num_epochs: int,
        num_batches: int,
        progress: "RunProgress",
        notes: tuple[str, ...],
        figures: tuple[str, ...],
    ) -> None:
        """Print how the run was set up, and set the bar to where it begins."""
        for note in notes:
            self._screen.print(note, style="dim", markup=False)
        self._num_epochs = num_epochs
        self._num_batches = num_batches
        self._figures = figures
        self._bar.update(self._task, total=num_epochs * num_batches, completed=progress.step)

    def stepped(self, *, epoch: int, loss: float, waiting: float) -> None:
        """Move the bar."""
        text = f"epoch {epoch + 1}/{self._num_epochs}  loss {loss:6.3f}  waiting {waiting:3.0%}"
        self._bar.update(self._task, advance=1, description=text)

    def finished_epoch(self, record: dict[str, Any]) -> None:
        """Print the epoch's line, and follow a changed plan."""
        self._num_epochs = record["planned_epochs"]
        self._bar.update(self._task, total=self._num_epochs * self._num_batches)
        figures = "  ".join(
            f"{name.replace('_', ' ')} {_figure(record[name])}" for name in self._figures
        )
        self._screen.print(
            f"epoch {record['epoch']:3}/{self._num_epochs}  loss {record['loss']:.4f}  "
            f"val {figures}  {record['seconds']:.0f} s, "
            f"{record['waiting']:.0%} of them waiting for data"
        )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
