"""A whole run from source to sinks, and its summary: what `edgecv run` calls."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from edgecv.metrics.latency import LatencyStatistics
from edgecv.stream.accounting import SourceStatus
from edgecv.stream.annotate import annotated
from edgecv.stream.draw_scene import SceneDrawing
from edgecv.stream.job import Job, Stage, StreamResult
from edgecv.stream.ledger import StageStatistics
from edgecv.stream.notices import Notices
from edgecv.stream.opening import Sources, open_pipeline
from edgecv.stream.pipeline import Pipeline
from edgecv.stream.policy import Policies
from edgecv.stream.regions import RegionBox
from edgecv.stream.runner import Runnable, as_runner
from edgecv.stream.settings import Settings
from edgecv.stream.sinks.group import STOP_S, SinkGroup
from edgecv.stream.sinks.isolation import SinkReport
from edgecv.stream.watching import Scenes, time_s

if TYPE_CHECKING:
    from edgecv.stream.sinks import Sink

OnStart: TypeAlias = Callable[[Pipeline, Callable[[], list[SinkReport]]], object]
"""Called with the pipeline of a run, and what returns the reports of its sinks at any time."""

_LOOK_S = 0.01  # how often a run that writes its last results looks whether it is to hurry
_LEAST_CLOSE_S = 0.3  # for completing files, however much of the time is gone


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Args:
        num_frames: results delivered.
        num_dropped: frames that were not, for whatever reason, see `sources`.
        wall_s: from the start of the threads to the last result, in seconds.
        stages: per stage the times of work and of waiting, in the order of the pipeline.
        latency: from capture to result, None without a frame.
        num_found: what was found, by class name, the most frequent first: objects of a detector,
            frames of a classifier, frames in which a class is seen of a segmentation.
        num_by_backend: frames that each backend ran, in the order in which they took over.
        is_interrupted: whether it was stopped before the source's end, by CTRL-C, SIGTERM or
            the callback.
        sources: how each fared, by name: decoded = delivered + dropped.
        sinks: what became of the results, a report a sink.

    """

    num_frames: int
    num_dropped: int
    wall_s: float
    stages: Mapping[str, StageStatistics]
    latency: LatencyStatistics | None
    num_found: Mapping[str, int]
    num_by_backend: Mapping[str, int]
    is_interrupted: bool
    sources: Mapping[str, SourceStatus]
    sinks: tuple[SinkReport, ...] = ()

    @property
    def failures(self) -> list[str]:
        """What went wrong while the rest went on: sources that broke off, sinks that failed."""
        told = []
        if self.errors:
            broken = "; ".join(self.errors.values())
            told.append(f"{len(self.errors)} of {len(self.sources)} sources broke off: {broken}")
        for sink in self.sinks:
            if sink.has_failed:
                lost = sum(count for why, count in sink.num_dropped.items() if why != "busy")
                reason = sink.error.rstrip(".") or "it was too slow"
                told.append(f"`{sink.name}` is incomplete, {lost} results are missing: {reason}")
        return told

    @property
    def errors(self) -> dict[str, str]:
        """Why sources broke off while others went on, by name."""
        return {name: each.error for name, each in self.sources.items() if each.error is not None}

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
            "sources": {name: status.to_plain() for name, status in self.sources.items()},
            "frames_by_backend": dict(self.num_by_backend),
            "sinks": [sink.to_plain() for sink in self.sinks],
        }


def run_stream(
    source: Sources,
    model: "Runnable | Settings",
    *,
    sinks: Sequence["Sink"] = (),
    draw: bool = False,
    on_result: Callable[[StreamResult], object] | None = None,
    policy: Policies = None,
    regions: Sequence[RegionBox | None] = (),
    budget_ms: float = 0.0,
    max_batch: int | None = None,
    realtime: bool | Sequence[bool] = False,
    scenes: Scenes | None = None,
    trace: Path | str | None = None,
    notices: Notices | None = None,
    on_start: OnStart | None = None,
) -> RunSummary:
    """Run a model over sources, into sinks, to the end or until CTRL-C.

    CTRL-C and SIGTERM end the run in order, when called from the main thread: what is in flight
    is dropped, the sinks are closed so that their files can be used, and the summary is returned,
    within two seconds even if a stage or a sink hangs. A second one acts at once.

    Args:
        source: see `edgecv.stream.opening.stream`, as are the options from `policy` on; closed at
            the end.
        model: see `edgecv.stream.opening.stream`; or the settings that hold one.
        sinks: each gets every result, in a thread of its own; closed at the end. One that fails
            stops neither the stream nor the others, see `RunSummary.sinks`.
        draw: draw the results into the frames before the sinks and `on_result` see them.
        on_result: called in the calling thread with every result; returning False ends the run.
        policy: which frames are taken.
        regions: the part of each source's frames that the model looks at, see `Pipeline`.
        budget_ms: what a frame may wait for others.
        max_batch: frames of a batch.
        realtime: whether files keep their own pace, of all sources or one for each.
        scenes: whom to follow, and past which lines and zones.
        trace: where each frame's times go.
        notices: what happens beside the frames is said there.
        on_start: called before the first result, to watch the run from elsewhere.

    Raises:
        SourceError: if a source cannot be opened, or a single one breaks off: then the sinks keep
            what was delivered. Of several, the others go on, and the summary holds the error.
        OutputError: if the trace cannot be written.
        InputError: if an option cannot be used.

    """
    with SinkGroup(sinks, notices=notices) as group:
        if not isinstance(model, Settings):
            model = as_runner(model)
        runner = model.current.runner if isinstance(model, Settings) else model
        classes = runner.spec.classes
        pipeline = open_pipeline(
            source,
            model,
            policy=policy,
            regions=regions,
            budget_ms=budget_ms,
            max_batch=max_batch,
            scenes=scenes,
            stages=_output_stages(classes, group if sinks else None, scenes, draw=draw),
            realtime=realtime,
            trace=trace,
            notices=notices,
        )
        num_found: Counter[str] = Counter()
        num_by_backend: Counter[str] = Counter()
        with _stopping_on_signals(pipeline) as stop:
            with pipeline:
                begin_s = end_s = time.perf_counter()
                if on_start is not None:
                    on_start(pipeline, group.reports)
                for result in pipeline.results():
                    end_s = time.perf_counter()
                    num_by_backend[result.ledger.backend] += 1
                    num_found.update(classes[class_id] for class_id in result.result.counted())
                    if on_result is not None and on_result(result) is False:
                        stop.is_wanted = True
                        pipeline.stop()
                if stop.at_s is not None:  # before the threads are waited for: one may wait for it
                    group.begin_close(within_s=stop.left_s())
            reports = _closed(group, stop)
    sources = pipeline.status()
    return RunSummary(
        num_frames=sum(each.counts.delivered for each in sources.values()),
        num_dropped=sum(each.counts.num_dropped for each in sources.values()),
        wall_s=end_s - begin_s,
        stages=pipeline.book.stages(),
        latency=pipeline.book.latency(),
        num_found=dict(num_found.most_common()),
        num_by_backend=dict(num_by_backend),
        is_interrupted=stop.is_wanted,
        sources=sources,
        sinks=tuple(reports),
    )


def _output_stages(
    classes: Sequence[str], group: SinkGroup | None, scenes: Scenes | None, *, draw: bool
) -> list[Stage]:
    """Return the stages behind the model: those that this run needs."""
    drawings = {}
    if scenes is not None:
        drawings = {name: SceneDrawing(scene) for name, scene in scenes.scenes.items()}

    def annotate(job: Job) -> None:
        job.frame = annotated(job.result, job.frame, classes)
        drawing = drawings.get(job.inlet.name)
        if drawing is not None:
            drawing.draw(job.result, job.frame, time_s(job.frame))

    def write(job: Job) -> None:
        if group is not None:
            group.write(job.delivered(), may_drop=job.inlet.policy.keep == "latest")

    stages = [Stage("draw", annotate)] if draw else []
    return stages if group is None else [*stages, Stage("encode", write)]


@dataclass
class _Stop:
    """Whether a run is to end before its sources do, and since when a signal wants it to."""

    is_wanted: bool = False
    at_s: float | None = None

    def left_s(self) -> float:
        """Return how many seconds are left for closing the sinks."""
        gone_s = 0.0 if self.at_s is None else time.perf_counter() - self.at_s
        return max(_LEAST_CLOSE_S, STOP_S - gone_s)


def _closed(group: SinkGroup, stop: _Stop) -> list[SinkReport]:
    """Close the sinks, which takes as long as it takes unless a signal comes."""
    group.begin_close(within_s=None if stop.at_s is None else stop.left_s())
    while not group.is_closed and stop.at_s is None:
        time.sleep(_LOOK_S)  # no event: the handler of a signal must not wait for a lock
    return group.close(within_s=None if stop.at_s is None else stop.left_s())


@contextmanager
def _stopping_on_signals(pipeline: Pipeline) -> Iterator[_Stop]:
    """Let CTRL-C and SIGTERM stop the pipeline; what is yielded tells whether one came.

    A handler rather than `except KeyboardInterrupt`: that may be raised between any two
    instructions, also after a sink was given a frame and before it was counted.
    """
    stopping = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stopping  # Python delivers signals to the main thread alone
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's signature
        for name, handler in previous.items():
            signal.signal(name, handler)  # a second one acts as it did before
        stopping.is_wanted, stopping.at_s = True, time.perf_counter()
        pipeline.stop()

    previous = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    for name in previous:
        signal.signal(name, stop)
    try:
        yield stopping
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
