"""A whole run from source to sinks, and its summary: what `edgecv run` calls."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from edgecv.metrics.latency import LatencyStatistics
from edgecv.stream.annotate import annotated
from edgecv.stream.ledger import LedgerBook, StageStatistics
from edgecv.stream.pipeline import Job, Pipeline, Stage, StreamResult, model_stages
from edgecv.stream.sources import Source, open_source

if TYPE_CHECKING:
    from edgecv.runtime.model import Model
    from edgecv.stream.sinks import Sink


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Args:
        num_frames: results delivered.
        num_dropped: frames of a live source that came while all stages were busy.
        wall_s: from the start of the threads to the last result, in seconds.
        stages: per stage the times of work and of waiting, in the order of the pipeline.
        latency: from capture to result, None without a frame.
        num_found: what was found, by class name, the most frequent first: objects of a detector,
            frames of a classifier, frames in which a class is seen of a segmentation.
        is_interrupted: whether it was stopped before the source's end, by CTRL-C, SIGTERM or
            the callback.

    """

    num_frames: int
    num_dropped: int
    wall_s: float
    stages: Mapping[str, StageStatistics]
    latency: LatencyStatistics | None
    num_found: Mapping[str, int]
    is_interrupted: bool

    @property
    def fps(self) -> float:
        """Frames a second over the whole run."""
        return self.num_frames / self.wall_s if self.wall_s > 0 else 0.0

    def to_plain(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        return {
            "frames": self.num_frames,
            "dropped": self.num_dropped,
            "wall_s": round(self.wall_s, 4),
            "fps": round(self.fps, 4),
            "interrupted": self.is_interrupted,
            "latency": None if self.latency is None else self.latency.to_plain(),
            "stages": {name: stage.to_plain() for name, stage in self.stages.items()},
            "found": dict(self.num_found),
        }


def run_stream(
    source: str | int | Path | Sequence[str | Path] | Source,
    model: "Model",
    *,
    sinks: Sequence["Sink"] = (),
    draw: bool = False,
    on_result: Callable[[StreamResult], object] | None = None,
) -> RunSummary:
    """Run a model over a source, into sinks, to the end or until CTRL-C.

    CTRL-C and SIGTERM end the run in order, when called from the main thread: what is in flight
    is dropped, the sinks are closed so that their files can be used, and the summary is returned.
    A second CTRL-C raises KeyboardInterrupt.

    Args:
        source: what `open_source` takes, or an open source; closed at the end.
        model: see `edgecv.load`.
        sinks: each gets every result, in a thread of their own; closed at the end.
        draw: draw the results into the frames before the sinks and `on_result` see them.
        on_result: called in the calling thread with every result; returning False ends the run.

    Raises:
        SourceError: if the source cannot be opened, or breaks off: then the sinks keep what was
            delivered.
        OutputError: if a sink cannot write; that sink leaves nothing behind.

    """
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        opened = source if isinstance(source, Source) else open_source(source)
        stages = [*model_stages(model), *_output_stages(model.spec.classes, sinks, draw=draw)]
        pipeline = Pipeline(opened, stages)
        tally = _Tally(model.spec.classes)
        with pipeline, _stopping_on_signals(pipeline) as stopped:
            begin_s = end_s = time.perf_counter()
            for result in pipeline.results():
                end_s = time.perf_counter()
                tally.add(result)
                if on_result is not None and on_result(result) is False:
                    stopped.set()
                    pipeline.stop()
    return RunSummary(
        num_frames=tally.num_frames,
        num_dropped=pipeline.num_dropped,
        wall_s=end_s - begin_s,
        stages=tally.book.stages(),
        latency=tally.book.latency(),
        num_found=dict(tally.num_found.most_common()),
        is_interrupted=stopped.is_set(),
    )


class _Tally:
    """Counts what is delivered."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.num_frames = 0
        self.num_found: Counter[str] = Counter()
        self.book = LedgerBook()
        self._classes = classes

    def add(self, result: StreamResult) -> None:
        self.num_frames += 1
        self.book.add(result.ledger)
        self.num_found.update(self._classes[class_id] for class_id in result.result.counted())


def _output_stages(classes: Sequence[str], sinks: Sequence["Sink"], *, draw: bool) -> list[Stage]:
    """Return the stages behind the model: those that this run needs."""

    def annotate(job: Job) -> None:
        job.frame = annotated(job.result, job.frame, classes)

    def write(job: Job) -> None:
        for sink in sinks:
            sink.write(job.delivered())

    stages = [Stage("draw", annotate)] if draw else []
    return [*stages, Stage("encode", write)] if sinks else stages


@contextmanager
def _stopping_on_signals(pipeline: Pipeline) -> Iterator[threading.Event]:
    """Let CTRL-C and SIGTERM stop the pipeline; the event tells whether one came.

    A handler rather than `except KeyboardInterrupt`: that may be raised between any two
    instructions, also after a sink was given a frame and before it was counted.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # Python delivers signals to the main thread alone
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's signature
        for name, handler in previous.items():
            signal.signal(name, handler)  # a second one acts as it did before
        stopped.set()
        pipeline.stop()

    previous = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in previous:
        signal.signal(name, stop)
    try:
        yield stopped
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
