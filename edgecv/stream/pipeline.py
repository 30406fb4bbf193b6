"""Many sources, one model, and the threads between: the results of each source in order.

While one batch is in the network, the next is being fitted and the frames after it decoded. The
queues between are short: a file waits for the slowest stage, a camera loses its older frame.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from edgecv.closing import Closing
from edgecv.errors import InputError
from edgecv.stream.accounting import Account, Drop, DropReason, SourceStatus
from edgecv.stream.batching import Batcher
from edgecv.stream.channel import Cancelled, Channel, Ended, Late
from edgecv.stream.inlet import Inlet, Intake, unique_names
from edgecv.stream.interest import refuse_regions
from edgecv.stream.job import Job, Stage, StreamResult
from edgecv.stream.ledger import LedgerBook
from edgecv.stream.notices import Notices
from edgecv.stream.policy import Policies, parse_each
from edgecv.stream.regions import RegionBox
from edgecv.stream.runner import Runnable, Step
from edgecv.stream.settings import Settings
from edgecv.stream.sources import Source
from edgecv.stream.trace import Trace
from edgecv.stream.watchdog import STALL_S, Watchdog, Worker, description
from edgecv.stream.watching import Scenes

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Job", "Pipeline", "Stage", "StreamResult"]

FILE_QUEUE_SIZE = 4
LIVE_QUEUE_SIZE = 1  # a frame that waits is latency
STOP_S = 0.7  # what is complete gets so long to arrive after `stop`
CLOSE_S = 0.8  # and the threads so long to end


class Pipeline(Closing):
    """Sources, a model, stages behind it, and the threads that run them.

    Use it as a context manager: entering starts the threads, leaving ends them and closes the
    sources, whatever happened, within a second even if one hangs: its thread is then left behind
    and closes what it holds when it comes back, or ends with the process.

    An error in a stage travels down the queues behind the results that came before it, and is
    raised once, where the results are consumed; so is that of a single source. When one of several
    sources breaks off the others go on, see `errors`.

    Args:
        sources: at least one, each iterated in a thread of its own, and closed there.
        model: see `edgecv.load`; or a runner, or several of either by name, see
            `edgecv.stream.runner`; or the settings that hold one.
        policy: see `edgecv.stream.opening.stream`, as are `budget_ms` and `max_batch`.
        regions: the part of each source's frames that the model looks at, None for all of them;
            one for each source, or none at all.
        scenes: whom to follow in the sources, and past which lines and zones, see `Scenes`; before
            the steps of a runner.
        stages: behind these, each in a thread of its own.
        realtime: see `edgecv.stream.opening.stream`; for all sources, or one for each.
        queue_size: frames that may wait before each stage; 4 of files, 1 with a live source.
        trace: where each frame's times go; closed by `close`.
        notices: what happens beside the frames is said there.
        stall_s: what a stage may take for a frame before it is said that it hangs.

    """

    def __init__(
        self,
        sources: Source | Sequence[Source],
        model: "Runnable | Settings",
        *,
        policy: Policies = None,
        budget_ms: float = 0.0,
        max_batch: int | None = None,
        regions: Sequence[RegionBox | None] = (),
        scenes: Scenes | None = None,
        stages: Sequence[Stage] = (),
        realtime: bool | Sequence[bool] = False,
        queue_size: int | None = None,
        trace: Trace | None = None,
        notices: Notices | None = None,
        stall_s: float = STALL_S,
    ) -> None:
        """Prepare the queues; nothing runs yet."""
        sources = [sources] if isinstance(sources, Source) else list(sources)
        _check(len(sources), budget_ms, max_batch)
        policies = parse_each(policy, [source.is_live for source in sources])
        self.settings = _settings(model, scenes)
        self.scenes = scenes
        runner = self.settings.current.runner
        if any(regions):
            refuse_regions(runner)
        stages = [*(_stage_of(step) for step in runner.steps), *stages]
        if scenes is not None:
            stages = [Stage("track", scenes.watch), *stages]
        are_paced = [realtime] * len(sources) if isinstance(realtime, bool) else realtime
        self.notices = Notices() if notices is None else notices
        self._trace = trace
        is_asked = max_batch is not None or budget_ms > 0
        max_batch = len(sources) if max_batch is None else max_batch
        has_live = any(source.is_live for source in sources)
        size = queue_size or (LIVE_QUEUE_SIZE if has_live else FILE_QUEUE_SIZE)
        # No method of this pipeline: with such a circle it would not go before the collector ran,
        # with every frame that waited in it.
        on_drop = _ignored if trace is None else trace.dropped
        self._inlets = {
            name: Inlet(
                source,
                Account(name, on_drop=on_drop),
                chosen,
                size=max(queue_size or FILE_QUEUE_SIZE, max_batch),
                region=region,
                is_paced=is_paced and not source.is_live,
            )
            for name, source, chosen, region, is_paced in zip(
                unique_names(sources),
                sources,
                policies,
                regions or [None] * len(sources),
                are_paced,
                strict=True,
            )
        }
        self._intake = Intake(list(self._inlets.values()))
        # One more is waited for, and one more waits for a request to be idle.
        num_requests = max(look.model.num_requests for look in runner.looks)
        self._batcher = Batcher(
            self.settings,
            self._intake,
            budget_ms=budget_ms,
            max_batch=max_batch,
            is_asked=is_asked,
            queue_size=max(size, num_requests - 1),
        )
        # Channel k leads into stage k behind the model; the last one to the consumer.
        self._channels = [Channel[Job](size) for _ in range(len(stages) + 1)]
        self.book = LedgerBook()
        self._stopped_s: float | None = None
        self._is_error_raised = False
        workers = [inlet.worker for inlet in self._inlets.values()]
        self._threads: list[tuple[threading.Thread, Worker]] = [
            self._reader(inlet) for inlet in self._inlets.values()
        ]
        for name, work, stop, finish in self._steps(stages):
            worker = Worker(name)
            workers.append(worker)
            body = partial(self._run, worker, partial(work, worker), stop, finish)
            self._threads.append((_thread(name, body), worker))
        self._watchdog = Watchdog(workers, self.notices, stall_s=stall_s)
        self._threads.append((_thread("watchdog", self._watchdog.run), Worker("watchdog")))

    @property
    def num_dropped(self) -> int:
        """Frames of all sources that were not delivered up to now."""
        return sum(inlet.account.counts().num_dropped for inlet in self._inlets.values())

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped_s is not None

    @property
    def accounts(self) -> Mapping[str, Account]:
        """What became of the frames of each source, by its name."""
        return {name: inlet.account for name, inlet in self._inlets.items()}

    def errors(self) -> dict[str, BaseException]:
        """Return why sources broke off, by name; of a single one it is raised by `results`."""
        if len(self._inlets) == 1:
            return {}
        found = {name: inlet.error for name, inlet in self._inlets.items()}
        return {name: error for name, error in found.items() if error is not None}

    def status(self) -> dict[str, SourceStatus]:
        """Return how each source fares at this moment, by name; from any thread."""
        return {
            name: SourceStatus(
                inlet.account.counts(),
                inlet.account.latency(),
                inlet.account.latency_histogram(),
                None if inlet.error is None else str(inlet.error) or type(inlet.error).__name__,
                inlet.is_ended,
                str(inlet.policy),
                asdict(inlet.source.health),
            )
            for name, inlet in self._inlets.items()
        }

    def hung(self) -> list[str]:
        """Return the names of the stages that do not go on, see `Watchdog`; from any thread."""
        return self._watchdog.hung()

    def use(self, model: Runnable) -> None:
        """Take another model from the next batch on; thresholds are changed by `settings`.

        The steps behind, such as a second model, stay.
        """
        self.settings.use(model)

    def results(self) -> Iterator[StreamResult]:
        """Yield the results, of each source in order; may be called again after an interruption.

        Raises:
            RuntimeError: if the pipeline was not entered, and nothing would ever come.
            SourceError: if a single source breaks off.
            Exception: whatever a stage raised.

        """
        if any(thread.ident is None for thread, _ in self._threads):
            raise RuntimeError("The pipeline does not run. Write `with pipeline:` around it.")
        outlet = self._channels[-1]
        while True:
            try:
                job = outlet.take(self._patience_s())
            except (Ended, Cancelled):
                break
            except Late:
                return  # a stage hangs, see `close`
            if job is None:
                continue
            now_s = time.perf_counter()
            job.ledger.record("deliver", now_s, now_s)
            if not job.inlet.account.delivered(job):
                continue
            self.book.add(job.ledger)
            if self._trace is not None:
                self._trace.delivered(job)
            yield job.delivered()
        if len(self._inlets) == 1 and not self._is_error_raised and not self.is_stopped:
            (inlet,) = self._inlets.values()
            self._is_error_raised = True
            if inlet.error is not None:
                raise inlet.error

    def stop(self) -> None:
        """Read no further; `results` still yields what the last stage has completed, then ends.

        Safe in a signal handler and from any thread.
        """
        self._stopped_s = time.perf_counter()
        self._cancel(self._channels[:-1])
        self._channels[-1].wake()

    def close(self) -> None:
        """End all threads, close the sources, and drop what was still on its way."""
        self._cancel(self._channels)
        self._watchdog.stop()
        until_s = time.perf_counter() + CLOSE_S
        for thread, worker in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until_s - time.perf_counter()))
            if thread.is_alive():
                self._tell_left_behind(worker)
        for inlet, (thread, _) in zip(self._inlets.values(), self._threads, strict=False):
            if thread.ident is None:
                inlet.source.close()
            inlet.account.close()
            inlet.waiting.clear()  # each of them holds its inlet
        self._threads.clear()  # those that never began hold this pipeline
        if self._trace is not None:
            self._trace.close()

    def __enter__(self) -> "Self":
        """Start the threads."""
        try:
            for thread, _ in reversed(self._threads):  # whoever takes comes before who gives
                thread.start()
        except BaseException:  # no memory for a thread, or CTRL-C
            self.close()
            raise
        return self

    def _reader(self, inlet: Inlet) -> tuple[threading.Thread, Worker]:
        def read() -> None:
            inlet.worker.ident = threading.get_ident()
            inlet.read(self._intake)
            if inlet.error is not None and len(self._inlets) > 1 and not self.is_stopped:
                self.notices.say(inlet.name, "ended", f"{inlet.error} The others go on.")

        return _thread(inlet.worker.name, read), inlet.worker

    def _steps(self, stages: Sequence[Stage]) -> Iterator["_Step"]:
        """Yield what each thread does: its name, its work, and how it stops who feeds it."""
        batcher, intake = self._batcher, self._intake
        yield "fit", batcher.fit, intake.cancel, batcher.fitted.finish
        yield "infer", batcher.infer, batcher.fitted.cancel, batcher.inferred.finish
        first = self._channels[0]
        finish = partial(self._finish, is_last=not stages)
        yield "finish", finish, batcher.inferred.cancel, first.finish
        for position, stage in enumerate(stages):
            inbox, outbox = self._channels[position : position + 2]
            is_last = position == len(stages) - 1
            work = partial(_run_stage, stage, inbox, outbox, is_last=is_last)
            yield stage.name, work, inbox.cancel, outbox.finish

    def _finish(self, worker: Worker, *, is_last: bool) -> None:
        outbox = self._channels[0]
        self._batcher.finish(worker, partial(_put, outbox, worker) if is_last else outbox.put)

    def _run(
        self,
        worker: Worker,
        work: Callable[[], object],
        stop: Callable[[], object],
        finish: Callable[[BaseException | None], object],
    ) -> None:
        """Do the work of a stage to its end: the body of a thread."""
        worker.ident = threading.get_ident()
        error: BaseException | None = None
        try:
            work()
        except (Cancelled, Ended):
            pass
        except BaseException as caught:  # noqa: BLE001  # raised again where results are consumed
            error = caught
            for job in worker.jobs:
                job.inlet.account.dropped(job, DropReason.FAILED)
            worker.end()
        stop()  # whoever feeds this stage stops too
        finish(error)

    def _cancel(self, channels: Sequence[Channel[Job]]) -> None:
        self._intake.cancel()
        self._batcher.cancel()
        for channel in channels:
            channel.cancel()

    def _patience_s(self) -> float | None:
        """Return how long the consumer waits for the next result."""
        if self._stopped_s is None:
            return None
        return max(0.0, self._stopped_s + STOP_S - time.perf_counter())

    def _tell_left_behind(self, worker: Worker) -> None:
        since_s = worker.since_s
        doing = "it does not end."
        if since_s is not None:
            doing = description(worker, time.perf_counter() - since_s)
        self.notices.say(worker.origin, "stall", f"{worker.name} is left behind: {doing}")


_Step = tuple[
    str,
    Callable[[Worker], object],
    Callable[[], object],
    Callable[[BaseException | None], object],
]


def _settings(model: "Runnable | Settings", scenes: Scenes | None) -> Settings:
    if isinstance(model, Settings):
        return model
    return Settings(model, lowest_score=None if scenes is None else scenes.lowest_score)


def _run_stage(
    stage: Stage, inbox: Channel[Job], outbox: Channel[Job], worker: Worker, *, is_last: bool
) -> None:
    """Let a stage work on every frame."""
    name, work = stage.name, stage.work
    put = partial(_put, outbox, worker) if is_last else outbox.put
    for job in inbox:
        begin_s = time.perf_counter()
        job.stage = name
        worker.begin(name, (job,), begin_s)
        work(job)
        job.ledger.record(name, begin_s, time.perf_counter())
        worker.end()
        put(job)


def _stage_of(step: Step) -> Stage:
    """Return the stage that completes results by a step of a runner."""

    def work(job: Job) -> None:
        job.result = step.work(job.frame, job.result)
        job.ledger.result_stage = step.name

    return Stage(step.name, work)


def _put(outbox: Channel[Job], worker: Worker, job: Job) -> None:
    """Hand a result to the consumer, who may never take it: that is watched."""
    worker.begin("deliver", (), time.perf_counter())
    outbox.put(job)
    worker.end()


def _thread(name: str, target: Callable[[], None]) -> threading.Thread:
    # Daemon: one that hangs in native code must not keep the process from ending.
    return threading.Thread(target=target, name=f"edgecv-{name}", daemon=True)


def _ignored(_job: Job, _drop: Drop) -> None:
    """Let a dropped frame go: it is counted."""


def _check(num_sources: int, budget_ms: float, max_batch: int | None) -> None:
    if num_sources == 0:
        raise InputError("the list of sources is empty. Name at least one.")
    if not (budget_ms >= 0 and math.isfinite(budget_ms)):
        raise InputError(
            f"`budget_ms` must be at least 0, got {budget_ms:g}. 0 waits for no frame."
        )
    if max_batch is not None and max_batch < 1:
        raise InputError(f"`max_batch` must be at least 1, got {max_batch}.")
