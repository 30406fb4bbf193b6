"""Where a frame's time went, from the camera to whoever receives the result."""

from dataclasses import dataclass

from edgecv.metrics.latency import LatencyStatistics, LatencyWindow

RESULT_STAGE = "postprocess"  # with its end the detections exist


@dataclass(frozen=True)
class StageTime:
    """One frame in one stage.

    Args:
        wait_ms: from the end of the stage before to the start of this one: in the queue, or held
            back because the queue was full.
        work_ms: in the stage itself.

    """

    wait_ms: float
    work_ms: float


class Ledger:
    """The times of one frame, stage by stage in order, without gaps: they add up to the whole.

    `stages` maps `decode`, `fit`, `infer`, `postprocess`, then `draw` and `encode` where a run has
    them, and at last `deliver`, which is the wait for the consumer.
    """

    def __init__(self, captured_s: float) -> None:
        """Begin at `captured_s` of `time.perf_counter`."""
        self.captured_s = captured_s
        self.stages: dict[str, StageTime] = {}
        self._until_s = captured_s

    def record(self, stage: str, begin_s: float, end_s: float) -> None:
        """Enter that `stage` worked from `begin_s` to `end_s` of `time.perf_counter`."""
        self.stages[stage] = StageTime((begin_s - self._until_s) * 1e3, (end_s - begin_s) * 1e3)
        self._until_s = end_s

    @property
    def latency_ms(self) -> float:
        """From capture to detections: the time until `postprocess` had ended."""
        latency_ms = 0.0
        for name, time in self.stages.items():
            latency_ms += time.wait_ms + time.work_ms
            if name == RESULT_STAGE:
                break
        return latency_ms

    @property
    def total_ms(self) -> float:
        """From capture to the end of the last stage entered."""
        return (self._until_s - self.captured_s) * 1e3


@dataclass(frozen=True)
class StageStatistics:
    """All frames of a run in one stage."""

    work: LatencyStatistics
    wait: LatencyStatistics

    def to_plain(self) -> dict[str, dict[str, int | float]]:
        """Return the two for JSON."""
        return {"work": self.work.to_plain(), "wait": self.wait.to_plain()}


class LedgerBook:
    """Sums up the ledgers of a run, however long, in bounded memory."""

    def __init__(self) -> None:
        """Begin with no ledger."""
        self._work: dict[str, LatencyWindow] = {}
        self._wait: dict[str, LatencyWindow] = {}
        self._latency = LatencyWindow()

    def add(self, ledger: Ledger) -> None:
        """Take in the ledger of one frame."""
        for name, time in ledger.stages.items():
            self._work.setdefault(name, LatencyWindow()).add(time.work_ms)
            self._wait.setdefault(name, LatencyWindow()).add(time.wait_ms)
        self._latency.add(ledger.latency_ms)

    def stages(self) -> dict[str, StageStatistics]:
        """Return the statistics of every stage, in the order of the pipeline."""
        return {
            name: StageStatistics(work.statistics(), self._wait[name].statistics())
            for name, work in self._work.items()
        }

    def latency(self) -> LatencyStatistics | None:
        """Return the statistics from capture to detections, None without any ledger."""
        return self._latency.statistics() if self._latency.count else None
