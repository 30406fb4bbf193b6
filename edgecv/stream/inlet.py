"""From many sources to one model: a reader for each, and a fair choice between what waits.

Each source is read in a thread of its own, and its frames wait in a short queue of their own: a
slow or dead camera has an empty one and holds nobody up.
"""

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import replace

from edgecv.errors import InputError
from edgecv.stream.accounting import Account, DropReason
from edgecv.stream.channel import Cancelled, Ended
from edgecv.stream.job import Job
from edgecv.stream.ledger import Ledger
from edgecv.stream.policy import Policy, RateGate
from edgecv.stream.regions import RegionBox
from edgecv.stream.sources import Frame, Source
from edgecv.stream.watchdog import Worker


class Inlet:
    """One source, its policy and its frames that wait.

    Args:
        source: closed by `read`, or by `close` where that never ran.
        account: of its frames.
        policy: which of them are taken.
        size: frames of policy `every` that may wait; of `latest` it is one.
        region: the part of each frame that the model looks at, None for all of it.
        is_paced: whether frames are held back until their time of presentation.

    """

    def __init__(
        self,
        source: Source,
        account: Account,
        policy: Policy,
        *,
        size: int,
        region: RegionBox | None = None,
        is_paced: bool = False,
    ) -> None:
        """Prepare the queue; nothing is read yet."""
        self.source, self.account, self.policy = source, account, policy
        self.name = account.source
        self.worker = Worker(f"read {self.name}", origin=self.name)
        self.error: BaseException | None = None
        self.is_ended = False
        self.waiting: deque[Job] = deque()
        self._is_paced, self._region = is_paced, region
        self._size = size
        # One token per free place; a stop adds one, which lets a blocked reader look up.
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopped: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(size):
            self._free.put(None)

    def read(self, intake: "Intake") -> None:
        """Put every frame into the queue and close the source: the body of a thread."""
        try:
            try:
                self._read(intake)
            except Cancelled:
                pass
            finally:
                self.source.close()
        except BaseException as caught:  # noqa: BLE001  # raised or told where results are consumed
            self.error = caught
        intake.end(self)

    def stop(self) -> None:
        """Let `read` end when it has the frame it waits for; safe in a signal handler."""
        self._free.put(None)
        self._stopped.put(None)

    def free(self) -> None:
        """Say that a frame was taken from the queue."""
        self._free.put(None)

    def _read(self, intake: "Intake") -> None:
        worker, account = self.worker, self.account
        gate = None if self.policy.rate_hz is None else RateGate(self.policy.rate_hz)
        pace = _Pace(self.source.fps) if self._is_paced else None
        is_backed_up = self.policy.keep == "every"
        worker.begin("read", (), time.perf_counter())
        for frame in self.source:
            decoded_s = time.perf_counter()
            worker.end()
            if pace is not None:
                frame, decoded_s = self._held(frame, decoded_s, pace)  # noqa: PLW2901
            ledger = Ledger(frame.captured_s)
            ledger.record("decode", frame.captured_s, decoded_s)
            job = Job(frame, ledger, self)
            account.decoded(job)
            if self._region is not None:
                try:
                    job.region = self._region.in_frame(frame)
                except InputError:
                    account.dropped(job, DropReason.FAILED)
                    raise
            shown_s = frame.captured_s if frame.pts_s is None else frame.pts_s
            if gate is not None and not gate.admits(shown_s):
                account.dropped(job, DropReason.RATE)
            else:
                job.stage = "queue"
                if is_backed_up:
                    self._free.get()
                intake.put(job)
            worker.begin("read", (), time.perf_counter())
        worker.end()

    def _held(self, frame: Frame, decoded_s: float, pace: "_Pace") -> tuple[Frame, float]:
        """Return the frame when it is due, as if it had been captured that much later."""
        wait_s = pace.wait_s(frame, decoded_s)
        if wait_s <= 0:
            return frame, decoded_s
        try:
            self._stopped.get(timeout=wait_s)
        except queue.Empty:
            held_s = time.perf_counter() - decoded_s
            return replace(frame, captured_s=frame.captured_s + held_s), decoded_s + held_s
        raise Cancelled


class _Pace:
    """When each frame of a file is due, if the first is due at once."""

    def __init__(self, fps: float | None) -> None:
        self._period_s = 1 / fps if fps else 0.0
        self._begin_s: float | None = None
        self._last_s = 0.0

    def wait_s(self, frame: Frame, now_s: float) -> float:
        """Return how long a frame has to wait from now on, in seconds."""
        shown_s = frame.index * self._period_s if frame.pts_s is None else frame.pts_s
        if self._begin_s is None or shown_s < self._last_s:  # the file began anew
            self._begin_s = now_s - shown_s
        self._last_s = shown_s
        return self._begin_s + shown_s - now_s


class Intake:
    """The frames of all sources, taken in turns."""

    def __init__(self, inlets: Sequence[Inlet]) -> None:
        """Begin with the first source."""
        self._inlets = list(inlets)
        self._next = 0
        # Never taken in a signal handler, and but for a moment elsewhere.
        self._lock = threading.Lock()
        self._is_awaited = self._is_nudged = self._is_cancelled = False
        self._signal: queue.SimpleQueue[None] = queue.SimpleQueue()

    def put(self, job: Job) -> None:
        """Append a frame; of policy `latest` the one that waits gives way.

        Raises:
            Cancelled: if nobody takes frames any more.

        """
        if self._is_cancelled:
            raise Cancelled
        inlet, superseded = job.inlet, None
        job.ledger.queued_s = time.perf_counter()
        with self._lock:
            if inlet.policy.keep == "latest" and inlet.waiting:
                superseded = inlet.waiting.popleft()
            inlet.waiting.append(job)
            self._wake()
        if superseded is not None:
            inlet.account.dropped(superseded, DropReason.SUPERSEDED)

    def end(self, inlet: Inlet) -> None:
        """Say that a source gives no frame any more."""
        with self._lock:
            inlet.is_ended = True
            self._wake()

    def nudge(self) -> None:
        """Let `take` return, now or the next time that it would wait."""
        with self._lock:
            self._is_nudged = not self._is_awaited
            self._wake()

    def cancel(self) -> None:
        """Give no frame any more and let the readers end; safe in a signal handler."""
        self._is_cancelled = True
        self._signal.put(None)
        for inlet in self._inlets:
            inlet.stop()

    def take(self, beside: Collection[Inlet] = (), timeout_s: float | None = None) -> Job | None:
        """Return the frame that is next, sources taking turns.

        Args:
            beside: sources that are in the batch already: of policy `latest` they give no other
                frame, since the newest of those to come is wanted.
            timeout_s: to wait for a frame at the most, None for ever.

        Returns:
            A frame; None if none came in time or somebody has called `nudge`.

        Raises:
            Ended: if all sources have ended and their frames were taken.
            Cancelled: after `cancel`.

        """
        with self._lock:
            job = self._pick(beside)
            if job is not None:
                return job
            if all(inlet.is_ended and not inlet.waiting for inlet in self._inlets):
                raise Ended
            if self._is_nudged:
                self._is_nudged = False
                return None
            self._is_awaited = True
        try:
            self._signal.get(timeout=timeout_s)
        except queue.Empty:
            with self._lock:
                self._is_awaited = False
        if self._is_cancelled:
            raise Cancelled
        with self._lock:
            return self._pick(beside)

    def is_dry(self, beside: Collection[Inlet]) -> bool:
        """Tell whether no frame can join a batch of the sources `beside`, see `take`."""
        with self._lock:
            return all(
                (inlet.is_ended and not inlet.waiting)
                or (inlet in beside and inlet.policy.keep == "latest")
                for inlet in self._inlets
            )

    def _pick(self, beside: Collection[Inlet]) -> Job | None:
        if self._is_cancelled:
            raise Cancelled
        num_inlets = len(self._inlets)
        for step in range(num_inlets):
            inlet = self._inlets[(self._next + step) % num_inlets]
            if not inlet.waiting:
                continue
            is_latest = inlet.policy.keep == "latest"
            if is_latest and inlet in beside:
                continue
            self._next = (self._next + step + 1) % num_inlets
            if not is_latest:
                inlet.free()
            return inlet.waiting.popleft()
        return None

    def _wake(self) -> None:
        if self._is_awaited:  # so that at most one signal waits, whatever comes meanwhile
            self._is_awaited = False
            self._signal.put(None)


def unique_names(sources: Sequence[Source]) -> list[str]:
    """Return the sources' names, numbered where two have the same."""
    counts, seen = Counter(source.name for source in sources), Counter[str]()
    names = []
    for source in sources:
        seen[source.name] += 1
        is_one = counts[source.name] == 1
        names.append(source.name if is_one else f"{source.name} ({seen[source.name]})")
    return names
