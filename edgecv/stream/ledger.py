"""Where a frame's time went, from the camera to whoever receives the result."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgecv.metrics.latency import LatencyStatistics, LatencyWindow

RESULT_STAGE = "postprocess"  # with its end the detections exist

# What a pipeline itself may enter; what completes a result has another name.
PIPELINE_STAGES = (
    *("decode", "queue", "fit", "propose", "infer", "fetch", RESULT_STAGE),
    *("draw", "encode", "deliver"),
)

_MOMENTS = {
    "decode": "decoded",
    "fit": "fitted",
    "infer": "inferred",
    RESULT_STAGE: "postprocessed",
    "deliver": "delivered",
}


@dataclass(frozen=True)
class StageTime:
    """One frame in one stage.

    Args:
        wait_ms: from the end of the stage before to the start of this one: in the queue, or held
            back because the queue was full.
        work_ms: in the stage itself; of a batch, what all its frames took together.

    """

    wait_ms: float
    work_ms: float


class Ledger:
    """The times of one frame, stage by stage in order, without gaps: they add up to the whole.

    `backend` is the session's that ran the network on it, see `edgecv.runtime.session.Session`; of
    several networks those of all, as `a + b`. `stages` maps `decode`, `fit`, `infer` (of several
    networks `infer` and the name of each), `postprocess`, then what completes the result, `draw`
    and `encode` where a run has them, and at last `deliver`, which is the wait for the consumer.
    `result_stage` is the one with whose end the result was complete. All times are of
    `time.perf_counter`.
    """

    __slots__ = ("backend", "captured_s", "entries", "queued_s", "result_stage")

    def __init__(self, captured_s: float) -> None:
        """Begin at `captured_s` of `time.perf_counter`."""
        self.captured_s = captured_s
        self.queued_s: float | None = None
        self.backend = ""
        self.result_stage = RESULT_STAGE
        self.entries: list[tuple[str, float, float]] = []  # stage, begin and end in seconds

    def record(self, stage: str, begin_s: float, end_s: float) -> None:
        """Enter that `stage` worked from `begin_s` to `end_s` of `time.perf_counter`."""
        self.entries.append((stage, begin_s, end_s))

    @property
    def stages(self) -> dict[str, StageTime]:
        """Waiting and work of each stage."""
        times, until_s = {}, self.captured_s
        for stage, begin_s, end_s in self.entries:
            times[stage] = StageTime((begin_s - until_s) * 1e3, (end_s - begin_s) * 1e3)
            until_s = end_s
        return times

    @property
    def moments_s(self) -> dict[str, float]:
        """When it was captured, decoded, queued, fitted, inferred, postprocessed and delivered.

        What has not happened yet is missing.
        """
        moments = {"captured": self.captured_s}
        for stage, _, end_s in self.entries:
            moment = _MOMENTS.get(stage.partition(" ")[0])
            if moment is not None:
                moments[moment] = end_s
            if stage == "decode" and self.queued_s is not None:
                moments["queued"] = self.queued_s
        return moments

    @property
    def latency_ms(self) -> float:
        """From capture to the complete result: the time until `result_stage` had ended."""
        last_s = self.captured_s
        for stage, _, end_s in self.entries:
            last_s = end_s
            if stage == self.result_stage:
                break
        return (last_s - self.captured_s) * 1e3

    @property
    def total_ms(self) -> float:
        """From capture to the end of the last stage entered."""
        return (self.entries[-1][2] - self.captured_s) * 1e3 if self.entries else 0.0


@dataclass(frozen=True)
class StageStatistics:
    """All frames of a run in one stage."""

    work: LatencyStatistics
    wait: LatencyStatistics

    def to_plain(self) -> dict[str, dict[str, int | float]]:
        """Return the two for JSON."""
        return {"work": self.work.to_plain(), "wait": self.wait.to_plain()}


class LedgerBook:
    """Sums up the ledgers of a run, however long, in bounded memory; read it from any thread."""

    def __init__(self) -> None:
        """Begin with no ledger."""
        self._windows: dict[str, tuple[LatencyWindow, LatencyWindow]] = {}
        self._latency = LatencyWindow()

    def add(self, ledger: Ledger) -> None:
        """Take in the ledger of one frame; one thread at a time."""
        until_s = result_s = ledger.captured_s
        for stage, begin_s, end_s in ledger.entries:
            windows = self._windows.get(stage)
            if windows is None:
                windows = self._windows[stage] = LatencyWindow(), LatencyWindow()
            windows[0].add((end_s - begin_s) * 1e3)
            windows[1].add((begin_s - until_s) * 1e3)
            until_s = end_s
            if stage == ledger.result_stage:
                result_s = end_s
        if result_s == ledger.captured_s:
            result_s = until_s
        self._latency.add((result_s - ledger.captured_s) * 1e3)

    def stages(self) -> Mapping[str, StageStatistics]:
        """Return the statistics of every stage, in the order of the pipeline."""
        return {
            stage: StageStatistics(work.statistics(), wait.statistics())
            for stage, (work, wait) in list(self._windows.items())
            if work.count and wait.count
        }

    def latency(self) -> LatencyStatistics | None:
        """Return the statistics from capture to complete results, None without any ledger."""
        return self._latency.statistics() if self._latency.count else None
