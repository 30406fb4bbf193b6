"""Says which thread of a stream hangs, and where."""

import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecv.stream.notices import Notices

if TYPE_CHECKING:
    from edgecv.stream.job import Job

STALL_S = 5.0

_SILENCE = 3  # bounds that a source may be silent: its own watchdog comes first


class Worker:
    """What a thread does at the moment; it writes, the watchdog reads.

    Args:
        name: of the thread.
        origin: what notices about it are of.

    """

    __slots__ = ("activity", "ident", "jobs", "name", "origin", "since_s")

    def __init__(self, name: str, origin: str | None = None) -> None:
        """Begin idle."""
        self.name, self.origin = name, origin or name
        self.ident: int | None = None
        self.activity = ""
        self.jobs: Sequence[Job] = ()
        self.since_s: float | None = None

    def begin(self, activity: str, jobs: "Sequence[Job]", now_s: float) -> None:
        """Enter what may hang: a stage's name, `read` of a source, `deliver` of the last stage."""
        self.activity, self.jobs = activity, jobs
        self.since_s = now_s  # last: the watchdog looks at it first

    def end(self) -> None:
        """Enter that it went on."""
        self.since_s = None
        self.jobs = ()


class Watchdog:
    """Looks at workers now and then, and says what hangs and when it went on."""

    def __init__(
        self, workers: Sequence[Worker], notices: Notices, *, stall_s: float = STALL_S
    ) -> None:
        """Watch nothing yet.

        Args:
            workers: of a stream.
            notices: where it is said.
            stall_s: what a stage may work on one frame, or a consumer leave a result; a source may
                be silent for three times as long.

        """
        self._workers, self._notices, self._stall_s = list(workers), notices, stall_s
        self._told: dict[Worker, float] = {}  # since when each has hung that was spoken of
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look until `stop`: the body of a thread."""
        while not self._stopped.wait(self._stall_s / 4):
            self.check(time.perf_counter())

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    def hung(self) -> list[str]:
        """Return which stages hung at the last look; a silent source is its own affair."""
        return [worker.name for worker in list(self._told) if worker.activity != "read"]

    def check(self, now_s: float) -> None:
        """Look once."""
        for worker in self._workers:
            since_s = worker.since_s
            told_s = self._told.get(worker)
            if told_s is not None and told_s != since_s:
                del self._told[worker]
                text = f"{worker.name} went on after at most {now_s - told_s:.1f} s."
                self._notices.say(worker.origin, "stall", text)
            bound_s = self._stall_s * (_SILENCE if worker.activity == "read" else 1)
            if since_s is None or since_s in (told_s, None) or now_s - since_s < bound_s:
                continue
            self._told[worker] = since_s
            self._notices.say(worker.origin, "stall", description(worker, now_s - since_s))


def description(worker: Worker, hung_s: float) -> str:
    """Return what a worker has done for so long, and where it is."""
    if worker.activity == "deliver":
        return f"nobody has taken a result for {hung_s:.1f} s: the stream waits for its consumer."
    if worker.activity == "read":
        return f"no frame for {hung_s:.1f} s; reading waits in {_place(worker)}."
    first = next(iter(worker.jobs), None)
    of = "" if first is None else f" on frame {first.frame.index} of {first.inlet.name}"
    return f"`{worker.activity}` has worked{of} for {hung_s:.1f} s; it is in {_place(worker)}."


def _place(worker: Worker) -> str:
    """Return the line of Python that a worker's thread is at."""
    frame = None if worker.ident is None else sys._current_frames().get(worker.ident)  # noqa: SLF001
    if frame is None:
        return "a thread that has ended"
    code = frame.f_code
    return f"{code.co_name} ({code.co_filename}:{frame.f_lineno})"
