"""Frames through a chain of stages, each in a thread of its own, results in order.

While one frame is in the network, the next is being fitted and the one after it decoded. The
queues between are short: a file waits for the slowest stage, a camera loses its oldest frame.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecv.closing import Closing
from edgecv.placement import Placement
from edgecv.results import Detections, Result
from edgecv.stream.channel import Cancelled, Channel
from edgecv.stream.ledger import RESULT_STAGE, Ledger
from edgecv.stream.sources import Frame, Source, open_source

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgecv.runtime.model import Model
    from edgecv.runtime.session import Batch, Outputs

FILE_QUEUE_SIZE = 4
LIVE_QUEUE_SIZE = 1  # a frame that waits is latency


@dataclass(frozen=True, eq=False)
class StreamResult:
    """One frame, what the model tells of it, and where its time went.

    Args:
        frame: with its pixels.
        result: in the class of the model's task, see `edgecv.runtime.model.Model`.
        ledger: when each stage began and ended.

    """

    frame: Frame
    result: Result
    ledger: Ledger

    @property
    def detections(self) -> Detections:
        """The result of a detector.

        Raises:
            TypeError: if the model is none.

        """
        if not isinstance(self.result, Detections):
            raise TypeError(
                f"StreamResult.detections: the model must be a detector, got a "
                f"{type(self.result).__name__}. Take `result` instead."
            )
        return self.result


@dataclass(eq=False)
class Job:
    """A frame on its way; every stage adds what it made and drops what nobody needs any more."""

    frame: Frame
    ledger: Ledger
    batch: "Batch" = field(init=False)
    placement: Placement = field(init=False)
    proposals: NDArray[np.float32] | None = field(init=False, default=None)
    outputs: "Outputs" = field(init=False)
    result: Result = field(init=False)

    def delivered(self) -> StreamResult:
        """Return what the consumer receives."""
        return StreamResult(self.frame, self.result, self.ledger)


@dataclass(frozen=True)
class Stage:
    """A step of the chain: `work` changes the job in place."""

    name: str
    work: Callable[[Job], Any]


def stream(
    source: str | int | Path | Sequence[str | Path] | Source, model: "Model"
) -> Iterator[StreamResult]:
    """Run a model over every frame of a source.

    The source is opened at once; the threads start with the first result and end, together with
    the source, when the iteration does: at the end, by `break`, or by an exception.

    Args:
        source: what `open_source` takes, or an open source, which is closed at the end.
        model: see `edgecv.load`.

    Yields:
        One result per frame, in order.

    Raises:
        SourceError: if the source cannot be opened, or breaks off: then all results before that
            were yielded.

    Example:
        >>> for result in edgecv.stream("street.mp4", model):
        ...     print(result.frame.index, len(result.detections))

    """
    opened = source if isinstance(source, Source) else open_source(source)
    return _results(Pipeline(opened, model_stages(model)))


def _results(pipeline: "Pipeline") -> Iterator[StreamResult]:
    with pipeline:
        yield from pipeline.results()


def model_stages(model: "Model") -> list[Stage]:
    """Return the stages that turn a frame into a result."""

    def fit(job: Job) -> None:
        frame = job.frame
        job.batch, job.placement = model.fit(
            frame.pixels, format=frame.format, matrix=frame.matrix, range=frame.range
        )

    def propose(job: Job) -> None:
        frame = job.frame
        job.proposals = model.propose(
            frame.pixels,
            job.placement,
            path=frame.path,
            format=frame.format,
            matrix=frame.matrix,
            range=frame.range,
        )

    def infer(job: Job) -> None:
        given = () if job.proposals is None else (job.proposals,)
        job.outputs = model.infer(job.batch, *given)
        job.proposals = None
        del job.batch

    def fetch(job: Job) -> None:
        job.outputs = dict(job.outputs)

    def finish(job: Job) -> None:
        job.result = model.finish(job.outputs, job.placement)
        del job.outputs

    proposing = [Stage("propose", propose)] if model.spec.proposals is not None else []
    # `infer` of a device only hands the frame over: so the next follows it without a gap.
    fetching = [Stage("fetch", fetch)] if model.answers_later else []
    stages = [Stage("fit", fit), *proposing, Stage("infer", infer), *fetching]
    return [*stages, Stage(RESULT_STAGE, finish)]


class Pipeline(Closing):
    """A source, stages behind it, and the threads that run them.

    Use it as a context manager: entering starts the threads, leaving ends them and closes the
    source, whatever happened. An error in a thread travels down the queues behind the results
    that came before it, and is raised once, where the results are consumed.

    Args:
        source: iterated in a thread; closed by `close`.
        stages: at least one, in order.
        queue_size: jobs that may wait before each stage; 4 for files, 1 for live sources.

    """

    def __init__(
        self, source: Source, stages: Sequence[Stage], *, queue_size: int | None = None
    ) -> None:
        """Prepare the queues; nothing runs yet."""
        self._source, self._stages = source, list(stages)
        size = queue_size or (LIVE_QUEUE_SIZE if source.is_live else FILE_QUEUE_SIZE)
        # Channel k leads into stage k; the last one leads to the consumer.
        self._channels = [
            Channel[Job](size, drops_oldest=source.is_live and position == 0)
            for position in range(len(self._stages) + 1)
        ]
        self._threads = [self._thread("decode", self._decode)]
        for position, stage in enumerate(self._stages):
            self._threads.append(self._thread(stage.name, self._run_stage, position))

    @property
    def num_dropped(self) -> int:
        """Frames of a live source that were thrown away because the first queue was full."""
        return self._channels[0].num_dropped

    def results(self) -> Iterator[StreamResult]:
        """Yield the results in order; may be called again after it was interrupted.

        Raises:
            SourceError: if the source breaks off.
            Exception: whatever a stage raised.

        """
        try:
            for job in self._channels[-1]:
                now_s = time.perf_counter()
                job.ledger.record("deliver", now_s, now_s)
                yield job.delivered()
        except Cancelled:
            return

    def stop(self) -> None:
        """Read no further; `results` still yields what the last stage has completed, then ends.

        Safe in a signal handler and from any thread.
        """
        for channel in self._channels[:-1]:
            channel.cancel()

    def close(self) -> None:
        """End all threads and close the source; a live one within its timeout."""
        for channel in self._channels:
            channel.cancel()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._source.close()

    def __enter__(self) -> "Self":
        """Start the threads."""
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # no memory for a thread, or CTRL-C
            self.close()
            raise
        return self

    def _thread(self, name: str, target: Callable[..., None], *args: int) -> threading.Thread:
        # Daemon only so that a second CTRL-C during `close` ends the process.
        return threading.Thread(target=target, args=args, name=f"edgecv-{name}", daemon=True)

    def _decode(self) -> None:
        outbox = self._channels[0]
        error: BaseException | None = None
        try:
            for frame in self._source:
                ledger = Ledger(frame.captured_s)
                ledger.record("decode", frame.captured_s, time.perf_counter())
                outbox.put(Job(frame, ledger))
        except Cancelled:
            pass
        except BaseException as caught:  # noqa: BLE001  # raised again where results are consumed
            error = caught
        outbox.finish(error)

    def _run_stage(self, position: int) -> None:
        stage, inbox, outbox = (
            self._stages[position],
            self._channels[position],
            self._channels[position + 1],
        )
        error: BaseException | None = None
        try:
            for job in inbox:
                begin_s = time.perf_counter()
                stage.work(job)
                job.ledger.record(stage.name, begin_s, time.perf_counter())
                outbox.put(job)
        except Cancelled:
            pass
        except BaseException as caught:  # noqa: BLE001  # raised again where results are consumed
            error = caught
        inbox.cancel()  # whoever feeds this stage stops too
        outbox.finish(error)
