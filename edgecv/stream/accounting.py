"""What became of every frame: decoded = delivered + dropped, each for a reason, + in flight."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from edgecv.metrics.latency import LatencyStatistics, LatencyWindow
from edgecv.stream.channel import Cancelled

if TYPE_CHECKING:
    from edgecv.stream.job import Job

_DROPS_KEPT = 200  # a stream runs for weeks


class DropReason(str, Enum):
    """Why a frame was not delivered; there are no others."""

    SUPERSEDED = "superseded"
    RATE = "rate"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def sentence(self) -> str:
        """For people."""
        return _SENTENCES[self]


_SENTENCES = {
    DropReason.SUPERSEDED: "a newer frame came before this one was taken",
    DropReason.RATE: "it came sooner than the rate allows",
    DropReason.STOPPED: "the stream was stopped while it was on its way",
    DropReason.FAILED: "a stage failed on it",
}


@dataclass(frozen=True)
class Drop:
    """A frame that was not delivered.

    Args:
        source: the source's name.
        index: of the frame in its source.
        stage: the last that had it; `queue` for one that waited for the first.
        reason: why.
        at_s: when, in seconds of `time.perf_counter`.

    """

    source: str
    index: int
    stage: str
    reason: DropReason
    at_s: float


@dataclass(frozen=True)
class Counts:
    """What became of the frames of one source up to a moment.

    Args:
        decoded: that the source gave.
        delivered: whose results were taken.
        dropped: by reason; those without a frame are missing.
        in_flight: on their way.

    """

    decoded: int = 0
    delivered: int = 0
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    in_flight: int = 0

    @property
    def num_dropped(self) -> int:
        """For whatever reason."""
        return sum(self.dropped.values())

    def to_plain(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            "decoded": self.decoded,
            "delivered": self.delivered,
            "dropped": {reason.value: count for reason, count in self.dropped.items()},
            "in_flight": self.in_flight,
        }


class Account:
    """The frames of one source, counted where it happens; for any thread, no signal handler."""

    def __init__(self, source: str, *, on_drop: Callable[["Job", Drop], object]) -> None:
        """Begin with no frame.

        Args:
            source: the source's name.
            on_drop: called with each frame that is dropped, in the thread that drops it.

        """
        self.source = source
        self._on_drop = on_drop
        self._lock = threading.Lock()
        self._is_closed = False
        self._num_decoded = self._num_delivered = 0
        self._dropped = dict.fromkeys(DropReason, 0)
        self._in_flight: dict[Job, None] = {}
        self._recent_drops: deque[Drop] = deque(maxlen=_DROPS_KEPT)
        self._latency = LatencyWindow()

    def decoded(self, job: "Job") -> None:
        """Count a frame that the source gave.

        Raises:
            Cancelled: after `close`: the frame is nobody's any more.

        """
        with self._lock:
            if self._is_closed:
                raise Cancelled
            self._num_decoded += 1
            self._in_flight[job] = None

    def delivered(self, job: "Job") -> bool:
        """Count a frame whose result is taken; False if it was dropped before."""
        with self._lock:
            if job not in self._in_flight:
                return False
            del self._in_flight[job]
            self._num_delivered += 1
        self._latency.add(job.ledger.latency_ms)
        return True

    def dropped(self, job: "Job", reason: DropReason) -> None:
        """Count a frame that will not be delivered; one that is not on its way is left out."""
        drop = Drop(self.source, job.frame.index, job.stage, reason, time.perf_counter())
        with self._lock:
            if job not in self._in_flight:
                return
            del self._in_flight[job]
            self._dropped[reason] += 1
            self._recent_drops.append(drop)
        self._on_drop(job, drop)

    def close(self) -> None:
        """Drop what is still on its way: it will not arrive any more."""
        with self._lock:
            self._is_closed = True
            lost = list(self._in_flight)
        for job in lost:
            self.dropped(job, DropReason.STOPPED)

    def counts(self) -> Counts:
        """Return what became of the frames up to now: the sum is exact at every moment."""
        with self._lock:
            dropped = {reason: count for reason, count in self._dropped.items() if count}
            return Counts(self._num_decoded, self._num_delivered, dropped, len(self._in_flight))

    def latency(self) -> LatencyStatistics | None:
        """Return the statistics from capture to result, None before the first."""
        return self._latency.statistics() if self._latency.count else None

    def latency_histogram(self) -> tuple[int, ...]:
        """Return how many results came within each of `edgecv.metrics.latency.BUCKETS_MS`."""
        return self._latency.histogram()

    def recent_drops(self) -> list[Drop]:
        """Return the last frames that were dropped, oldest first."""
        with self._lock:
            return list(self._recent_drops)


@dataclass(frozen=True)
class SourceStatus:
    """How one source of a stream fares.

    Args:
        counts: what became of its frames.
        latency: from capture to result, None without a frame.
        latency_histogram: see `Account.latency_histogram`.
        error: why it broke off, None while it gives frames or came to its end.
        is_ended: whether it gives no frame any more.
        policy: which of its frames are taken: `latest`, `every` or `rate=N`.
        health: what its reader met, see `edgecv.stream.sources`; empty where it does not count.

    """

    counts: Counts
    latency: LatencyStatistics | None
    latency_histogram: tuple[int, ...]
    error: str | None
    is_ended: bool
    policy: str
    health: Mapping[str, int]

    def to_plain(self) -> dict[str, Any]:
        """Return the status for JSON."""
        return {
            "policy": self.policy,
            **self.counts.to_plain(),
            "latency": None if self.latency is None else self.latency.to_plain(),
            "error": self.error,
            "health": dict(self.health),
        }
