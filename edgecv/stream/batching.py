"""Frames through networks in batches that wait no longer than their oldest frame may.

Three threads: one fits frames into the next batch, one runs the networks on the batch before, one
makes results of the batch before that.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgecv.frame_formats import FrameFormat
from edgecv.stream.channel import Channel, Ended
from edgecv.stream.fitted import Buffers, FittedImages
from edgecv.stream.inlet import Inlet, Intake
from edgecv.stream.interest import regions_within
from edgecv.stream.job import Job
from edgecv.stream.ledger import RESULT_STAGE
from edgecv.stream.regions import Region
from edgecv.stream.runner import Look, Seen, fit_parts
from edgecv.stream.settings import Setting, Settings
from edgecv.stream.watchdog import Worker


@dataclass(eq=False, slots=True)
class Batch:
    """Frames that go through the networks together.

    Args:
        setting: what runs on them, from its beginning to its end.
        images: what each network sees of them, in the order of the runner's looks.
        size: frames that it takes.

    """

    setting: Setting
    images: list[FittedImages]
    size: int
    deadline_s: float = math.inf
    jobs: list[Job] = field(default_factory=list)
    inlets: set[Inlet] = field(default_factory=set)

    def takes(self, format: FrameFormat) -> bool:  # noqa: A002  # the word of the whole package
        """Whether frames of a format are fitted where those of this batch are."""
        return all(
            look.model.stages(format) == images.is_staged
            for look, images in zip(self.setting.runner.looks, self.images, strict=True)
        )

    def cut(self, sizes: Sequence[int]) -> None:
        """Take back all images but the first `sizes` of each network."""
        for images, size in zip(self.images, sizes, strict=True):
            images.cut(size)


class Batcher:
    """A runner's three steps over batches, each the body of a thread.

    A batch leaves when it is full, or when the network is idle and the oldest frame in it has used
    up its budget. While the network is busy a batch stays open: it would only wait elsewhere.

    Args:
        settings: hold the runner, whose models are asked anew for each batch what they take, for a
            session may change.
        intake: where frames come from.
        budget_ms: from a frame's capture to the moment at which it waits for others no longer; 0
            waits for none.
        max_batch: frames of a batch at the most; less where the networks take less.
        is_asked: whether it was asked for; else a network that does not gain by more gets one
            image at a time.
        queue_size: batches that may wait between inference and results.

    """

    def __init__(
        self,
        settings: Settings,
        intake: Intake,
        *,
        budget_ms: float,
        max_batch: int,
        is_asked: bool,
        queue_size: int,
    ) -> None:
        """Prepare the queues; nothing runs yet."""
        self._settings, self._intake = settings, intake
        self._budget_s, self._max_batch, self._is_asked = budget_ms / 1e3, max_batch, is_asked
        # A single batch waits for the network: frames are taken as late as that allows.
        self.fitted = Channel[Batch](1)
        self.inferred = Channel[Batch](queue_size)
        self._buffers: list[Buffers] = []  # of each look
        self._is_network_idle = True
        self._is_sharing = False
        self._put_back: Job | None = None
        self._failure: Exception | None = None

    def cancel(self) -> None:
        """End all three; safe in a signal handler."""
        self.fitted.cancel()
        self.inferred.cancel()

    def fit(self, worker: Worker) -> None:
        """Fit frames into batches until all sources have ended.

        Args:
            worker: of this thread.

        Raises:
            Ended: then.

        """
        while True:
            self.fitted.reserve()  # before a frame is chosen: a newer one may come meanwhile
            batch = self._collected(worker)
            self._is_network_idle = False
            self.fitted.push(batch)
            if self._failure is not None:  # behind the frames before it
                raise self._failure

    def infer(self, worker: Worker) -> None:
        """Run the networks on batches."""
        fitted, inferred = self.fitted, self.inferred
        while True:
            if fitted.is_empty:
                self._is_network_idle = True
                if self._is_sharing:  # else a batch is full with its first frame
                    self._intake.nudge()
            batch = fitted.take()
            if batch is None:
                continue
            self._is_network_idle = False
            for look, images in zip(batch.setting.runner.looks, batch.images, strict=True):
                self._infer(look, images, batch.jobs, worker)
            inferred.put(batch)

    def finish(self, worker: Worker, put: Callable[[Job], object]) -> None:
        """Make a result of each frame.

        Args:
            worker: of this thread.
            put: called with each frame that has its result.

        """
        for batch in self.inferred:
            for images in batch.images:
                if images.is_later:
                    self._fetch(batch, worker)
            for job in batch.jobs:
                begin_s = time.perf_counter()
                job.stage = RESULT_STAGE
                worker.begin(RESULT_STAGE, (job,), begin_s)
                for seen, images in zip(job.seen, batch.images, strict=True):
                    seen.outputs = images.outputs_of(seen.begin, len(seen.placements))
                job.setting = batch.setting
                job.result = batch.setting.finish(job.seen, job.region)
                job.seen = ()
                job.ledger.record(RESULT_STAGE, begin_s, time.perf_counter())
                worker.end()
                put(job)
            del batch, job, seen, images  # not while this waits for the next

    def _collected(self, worker: Worker) -> Batch:
        """Return the next batch, fitted."""
        batch: Batch | None = None
        while batch is None or not self._leaves(batch):
            job = self._next(batch)
            if job is None:
                continue
            begun = self._begun(job, worker) if batch is None else batch
            if self._joins(begun, job, worker):
                batch = begun
            elif batch is not None:
                break  # it is of another kind
        return batch

    def _leaves(self, batch: Batch) -> bool:
        if len(batch.jobs) >= batch.size or self._intake.is_dry(batch.inlets):
            return True
        return self._is_network_idle and time.perf_counter() >= batch.deadline_s

    def _next(self, batch: Batch | None) -> Job | None:
        """Return the next frame, None where it is time to look whether the batch leaves."""
        if self._put_back is not None:
            job, self._put_back = self._put_back, None
            return job
        if batch is None:
            return self._intake.take()
        left_s = batch.deadline_s - time.perf_counter()
        if left_s <= 0 and self._is_network_idle:
            return None
        try:
            # Past the deadline the network alone is waited for, which calls when it is idle.
            return self._intake.take(batch.inlets, left_s if left_s > 0 else None)
        except Ended:
            return None  # the last source has ended just now: first this batch leaves

    def _begun(self, job: Job, worker: Worker) -> Batch:
        """Return an empty batch of the kind that a frame needs."""
        job.stage = "fit"
        worker.begin("fit", (job,), time.perf_counter())
        setting, format = self._settings.current, job.frame.format  # noqa: A001  # the package's word
        looks = setting.runner.looks
        if len(self._buffers) != len(looks):
            self._buffers = [Buffers() for _ in looks]
        images, size = [], 1
        for look, buffers in zip(looks, self._buffers, strict=True):
            most, num_frames = self._limits(look, job)
            images.append(FittedImages(look.model, format, buffers, most))
            size = max(size, num_frames)
        self._is_sharing = size > 1  # before it is asked whether the network is idle
        return Batch(setting, images, size)

    def _limits(self, look: Look, job: Job) -> tuple[int, int]:
        """Return how many images a network is given at once, and from how many frames."""
        model = look.model
        is_preferred = model.prefers_batches
        if not (is_preferred or self._is_asked):
            return 1, 1
        if look.regions is None:
            most = max(1, min(self._max_batch, model.max_batch))
            return most, most
        num_regions = len(_regions_of(look, job) or ())
        num_frames = max(1, min(self._max_batch, model.max_batch // num_regions))
        # Where one frame was asked for, its parts still go together if that is faster.
        is_shared = is_preferred or num_frames > 1
        most = min(model.max_batch, num_regions * num_frames) if is_shared else 1
        return most, num_frames

    def _joins(self, batch: Batch, job: Job, worker: Worker) -> bool:
        """Add a frame to a batch; one that does not fit in is put back."""
        is_added = False
        if not batch.jobs or batch.takes(job.frame.format):
            sizes = [images.size for images in batch.images]
            try:
                is_added = self._add(batch, job, worker)
            except Exception as error:
                if not batch.jobs:
                    raise
                batch.cut(sizes)
                self._failure = error
                return False
            if not is_added:
                batch.cut(sizes)
        if not is_added:
            self._put_back = job
        return is_added

    def _add(self, batch: Batch, job: Job, worker: Worker) -> bool:
        """Fit what the networks see of a frame into the next rows of a batch.

        Returns:
            False if a session changed just now, and takes frames in another form.

        """
        frame, looks = job.frame, batch.setting.runner.looks
        begin_s = time.perf_counter()
        job.stage = "fit"
        worker.begin("fit", (job,), begin_s)
        all_seen: list[Seen] = []
        for look, images in zip(looks, batch.images, strict=True):
            seen = fit_parts(look.model, images, frame, _regions_of(look, job))
            if seen is None:
                worker.end()
                return False
            all_seen.append(seen)
        end_s = time.perf_counter()
        job.ledger.record("fit", begin_s, end_s)
        for look, images, seen in zip(looks, batch.images, all_seen, strict=True):
            if look.model.spec.proposals is not None:
                begin_s = time.perf_counter()
                job.stage = "propose"
                worker.begin("propose", (job,), begin_s)
                images.propose(look.model, frame, seen.placements[0])
                job.ledger.record("propose", begin_s, time.perf_counter())
        worker.end()
        job.seen = all_seen
        batch.jobs.append(job)
        batch.inlets.add(job.inlet)
        batch.deadline_s = min(batch.deadline_s, job.ledger.captured_s + self._budget_s)
        return True

    def _infer(self, look: Look, images: FittedImages, jobs: Sequence[Job], worker: Worker) -> None:
        """Run one network on what it sees of a batch."""
        stage = look.stage
        begin_s = time.perf_counter()
        for job in jobs:
            job.stage = stage
        worker.begin(stage, jobs, begin_s)
        images.infer(look.model)
        end_s = time.perf_counter()
        worker.end()
        backend = images.backend
        for job in jobs:
            ledger = job.ledger
            ledger.record(stage, begin_s, end_s)
            if not ledger.backend:
                ledger.backend = backend
            elif backend not in ledger.backend.split(" + "):  # of several networks
                ledger.backend += f" + {backend}"

    def _fetch(self, batch: Batch, worker: Worker) -> None:
        """Wait for outputs that are on their way."""
        begin_s = time.perf_counter()
        for job in batch.jobs:
            job.stage = "fetch"
        worker.begin("fetch", batch.jobs, begin_s)
        for images in batch.images:
            images.fetch()
        end_s = time.perf_counter()
        worker.end()
        for job in batch.jobs:
            job.ledger.record("fetch", begin_s, end_s)


def _regions_of(look: Look, job: Job) -> Sequence[Region] | None:
    """Return which parts of its frame a look sees, None for all of it."""
    if job.region is not None:
        return regions_within(look, job.frame, job.region)
    return None if look.regions is None else look.regions(job.frame)
