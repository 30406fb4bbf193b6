"""What a stream tells of itself at one moment, for the page, for JSON and for Prometheus."""

import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgecv.live.controls import Control, controls
from edgecv.stream.accounting import SourceStatus
from edgecv.stream.ledger import StageStatistics
from edgecv.stream.notices import Notice, Notices
from edgecv.stream.runner import backend_of

if TYPE_CHECKING:
    from edgecv.stream.pipeline import Pipeline
    from edgecv.stream.sinks import SinkReport

State = Literal["waiting", "live", "lost", "ended", "failed"]
Reports = Callable[[], "Sequence[SinkReport]"]

_FPS_SAMPLES = 6  # one a second: the rate of the last 5 s
_NOTICES_SHOWN = 40


@dataclass(frozen=True)
class ProcessStatus:
    """What the process uses.

    Args:
        rss_bytes: memory that is resident, 0 where the system does not tell.
        cpu_s: time on all cores since the start.
        num_threads: of Python.
        started_at: seconds since 1970.

    """

    rss_bytes: int
    cpu_s: float
    num_threads: int
    started_at: float


@dataclass(frozen=True)
class StreamStatus:
    """Everything that is shown.

    Args:
        sources: by name.
        fps: results a second of the last seconds, by source.
        stages: by name, in the order of the pipeline.
        backend: that runs the network.
        controls: the thresholds.
        hung: what the stages do that hang.
        notices: the last ones, oldest first.
        num_notices: so far, by kind.
        sinks: a report each.
        num_clients: that watch.
        process: what it uses.

    """

    sources: Mapping[str, SourceStatus]
    fps: Mapping[str, float]
    stages: Mapping[str, StageStatistics]
    backend: str
    controls: Mapping[str, Control]
    hung: Sequence[str]
    notices: Sequence[Notice]
    num_notices: Mapping[str, int]
    sinks: "Sequence[SinkReport]"
    num_clients: int
    process: ProcessStatus

    def to_plain(self) -> dict[str, Any]:
        """Return the status for JSON; times in milliseconds."""
        return {
            "sources": [
                {
                    "name": name,
                    "state": state_of(status),
                    "fps": round(self.fps.get(name, 0.0), 2),
                    **status.to_plain(),
                }
                for name, status in self.sources.items()
            ],
            "stages": [{"name": name, **stage.to_plain()} for name, stage in self.stages.items()],
            "backend": self.backend,
            "controls": {name: control.to_plain() for name, control in self.controls.items()},
            "hung": list(self.hung),
            "notices": [
                {"origin": each.origin, "kind": each.kind, "text": each.text, "at": each.at_s}
                for each in self.notices
            ],
            "sinks": [report.to_plain() for report in self.sinks],
            "clients": self.num_clients,
            "rss_bytes": self.process.rss_bytes,
            "uptime_s": round(time.time() - self.process.started_at, 1),
        }


class Observer:
    """Watches a stream from outside: nothing here runs for a frame.

    Args:
        notices: of the stream.

    """

    def __init__(self, notices: Notices) -> None:
        """Begin without a stream: it may still be opening its sources."""
        self._notices = notices
        self._lock = threading.Lock()
        self._num_notices: Counter[str] = Counter()
        self._pipeline: Pipeline | None = None
        self._reports: Reports = list
        self._samples: deque[tuple[float, dict[str, int]]] = deque(maxlen=_FPS_SAMPLES)
        self._started_at = time.time() - _age_s()
        notices.listen(self._heard)

    @property
    def pipeline(self) -> "Pipeline | None":
        """What is watched."""
        return self._pipeline

    def attach(self, pipeline: "Pipeline", reports: Reports) -> None:
        """Watch a pipeline from now on, and its sinks."""
        self._samples.clear()
        self._reports, self._pipeline = reports, pipeline
        self.sample()

    def sample(self) -> None:
        """Note how many results there are; called once a second."""
        if self._pipeline is None:
            return
        counts = {
            name: account.counts().delivered for name, account in self._pipeline.accounts.items()
        }
        self._samples.append((time.monotonic(), counts))

    def status(self, num_clients: int = 0) -> StreamStatus:
        """Return the status of now."""
        pipeline = self._pipeline
        with self._lock:
            num_notices = dict(self._num_notices)
        return StreamStatus(
            {} if pipeline is None else pipeline.status(),
            self._fps(),
            {} if pipeline is None else pipeline.book.stages(),
            "" if pipeline is None else backend_of(pipeline.settings.current.runner),
            {} if pipeline is None else controls(pipeline.settings),
            [] if pipeline is None else pipeline.hung(),
            self._notices.recent()[-_NOTICES_SHOWN:],
            num_notices,
            self._reports(),
            num_clients,
            ProcessStatus(
                _rss_bytes(), time.process_time(), threading.active_count(), self._started_at
            ),
        )

    def why_unhealthy(self) -> str:
        """Return what does not go on by itself; empty if all is well."""
        hung = [] if self._pipeline is None else self._pipeline.hung()
        return f"hung: {', '.join(hung)}" if hung else ""

    def why_not_ready(self) -> str:
        """Return why no results are to be expected; empty while a source gives them."""
        if self._pipeline is None:
            return "starting"
        states = [state_of(status) for status in self._pipeline.status().values()]
        if "live" in states:
            return self.why_unhealthy()
        return f"no source gives frames: {', '.join(sorted(set(states)))}"

    def _fps(self) -> dict[str, float]:
        samples = list(self._samples)
        if len(samples) < 2:  # noqa: PLR2004
            return {}
        (begin_s, before), (end_s, after) = samples[0], samples[-1]
        return {name: (count - before[name]) / (end_s - begin_s) for name, count in after.items()}

    def _heard(self, notice: Notice) -> None:
        with self._lock:
            self._num_notices[notice.kind] += 1


def state_of(status: SourceStatus) -> State:
    """Return how a source fares in a word."""
    if status.error is not None:
        return "failed"
    if status.is_ended:
        return "ended"
    if not status.health.get("is_connected", True):
        return "lost"
    return "live" if status.counts.delivered else "waiting"


def _rss_bytes() -> int:
    if sys.platform != "linux":
        return 0
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _age_s() -> float:
    """Return how long the process has been there, 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0.0
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    begin_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22, from the 3rd on
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begin_s
