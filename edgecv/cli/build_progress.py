"""How far a build is, for people or for the program that started it."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from edgecv.export.engine.progress import BuildState, Watch

_MINUTE_S = 60
_HEARTBEAT_S = 1.0
_PATIENCE_S = 30.0  # longer than TensorRT takes for a step


@contextmanager
def progress_bar(screen: Console) -> Iterator["Watch"]:
    """Yield what shows a bar until the block ends."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("reading", total=1.0, left="")

        def show(state: "BuildState") -> None:
            description = state.phase or "building"
            bar.update(task, completed=state.fraction, description=description, left=_left(state))

        yield show


def _left(state: "BuildState") -> str:
    if state.remaining_s is None:
        return ""
    minutes, seconds = divmod(round(state.remaining_s), _MINUTE_S)
    return f"about {minutes} min left" if minutes else f"about {seconds} s left"


@dataclass
class ProgressLines:
    """Writes each change as a line of JSON to standard output, and the same again every second.

    So it learns that nobody reads any more, which is how a build ends whose user was killed: it is
    called off as by CTRL-C, and where that takes too long the process ends at once.
    """

    _last: str = ""
    _written_s: float = 0.0
    _abandoned_s: float | None = None

    def __call__(self, state: "BuildState") -> None:
        """Write a state, or see to it that an abandoned build ends."""
        now_s = time.monotonic()
        if self._abandoned_s is not None:
            if now_s > self._abandoned_s + _PATIENCE_S:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.raise_signal(signal.SIGINT)
            return
        step = f"{state.phase} {state.fraction:.3f}"
        if step == self._last and now_s < self._written_s + _HEARTBEAT_S:
            return
        self._last, self._written_s = step, now_s
        try:
            sys.stdout.write(json.dumps(asdict(state)) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self._abandoned_s = now_s
            # What is left in the buffer goes nowhere, or Python complains about it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if state.fraction < 1:  # else the engine is there, and is written
                signal.raise_signal(signal.SIGINT)
