"""A sink in a thread of its own: what befalls it does not befall the stream or other sinks."""

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecv.errors import InputError
from edgecv.metrics.latency import LatencyStatistics, LatencyWindow
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.sink import Sink

QUEUE_SIZE = 8
STALL_S = 10.0
_LOOK_S = 0.5  # how often a sink that closes is looked at for hanging
_CLOSE_S = 60.0  # putting a large file together takes its time
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0

BUSY, FAILED, STALLED, REFUSED, CLOSING = "busy", "failed", "stalled", "refused", "closing"
"""Why a result was not written: the queue of a live stream was full; the sink had failed; one
write had been going on for too long; the sink did not take this very one; the time for closing was
over."""


@dataclass(frozen=True)
class SinkReport:
    """What became of the results that a sink was given.

    Args:
        name: the file, folder or address.
        num_written: results that it took.
        num_dropped: of the others, how many for which reason: `busy`, `failed`, `stalled`,
            `refused` or `closing`.
        error: the last error, empty if there was none.
        work: the times of the writes, None without any.

    """

    name: str
    num_written: int
    num_dropped: Mapping[str, int]
    error: str
    work: LatencyStatistics | None

    @property
    def has_failed(self) -> bool:
        """Whether something is missing that should be there; dropping when busy is not that."""
        return bool(self.error) or any(reason != BUSY for reason in self.num_dropped)

    def to_plain(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "name": self.name,
            "written": self.num_written,
            "dropped": dict(self.num_dropped),
            "error": self.error or None,
            "work": None if self.work is None else self.work.to_plain(),
        }


class IsolatedSink:
    """Writes to a sink in a thread of its own, from a bounded queue.

    Nothing that the sink raises comes out here: it is counted, kept for the report and said. A
    sink that recovers is tried again after 1 s, 2 s, 4 s, … up to 60 s, each but for a random
    part; what comes meanwhile is dropped. Another is discarded with its first error. One that
    hangs holds the stream back for `stall_s` at the most.

    Args:
        sink: closed or discarded in the thread, too.
        notices: where failures are said.
        queue_size: results that may wait.
        stall_s: seconds that one write may take before results are dropped instead of waiting.
        first_wait_s: seconds before the first try after an error.

    """

    def __init__(
        self,
        sink: Sink,
        *,
        notices: Notices | None = None,
        queue_size: int = QUEUE_SIZE,
        stall_s: float = STALL_S,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        """Start the thread."""
        self.name, self.sources = sink.name, sink.sources
        self._sink, self._notices = sink, notices
        self._queue_size, self._stall_s = queue_size, stall_s
        self._first_wait_s = first_wait_s
        self._changed = threading.Condition()
        self._queue: deque[StreamResult] = deque()
        self._num_written, self._error = 0, ""
        self._num_dropped: Counter[str] = Counter()
        self._work = LatencyWindow()
        self._begun_s: float | None = None  # of the call that the thread is in
        self._is_stalled = self._is_closing = self._is_given_up = False
        self._discards = False
        self._num_tries, self._try_again_s = 0, 0.0
        self._closing_s = 0.0
        self._drain_until_s = self._deadline_s = float("inf")
        self._alarm: threading.Timer | None = None
        self._is_writing = self._is_left_behind = self._has_ended = False
        # A daemon: a write that hangs for ever must not keep the process.
        self._thread = threading.Thread(target=self._run, name="edgecv-sink", daemon=True)
        self._thread.start()

    def write(self, result: StreamResult, *, may_drop: bool = False) -> None:
        """Queue one result.

        Args:
            result: see `Sink.write`.
            may_drop: what to do when the queue is full: drop the result that has waited longest
                (a camera cannot wait), or hold the caller back until there is room.

        """
        with self._changed:
            if self._is_closing:
                self._num_dropped[CLOSING] += 1
                return
            if self._is_given_up or time.monotonic() < self._try_again_s:
                self._num_dropped[FAILED] += 1
                return
            self._note_stall()
            if not may_drop:
                while len(self._queue) >= self._queue_size and not self._is_stalled:
                    self._changed.wait(self._stall_s)
                    self._note_stall()
                    if self._is_given_up or self._is_closing:
                        self._num_dropped[FAILED if self._is_given_up else CLOSING] += 1
                        return
            if len(self._queue) >= self._queue_size:
                self._queue.popleft()
                self._num_dropped[STALLED if self._is_stalled else BUSY] += 1
            self._queue.append(result)
            self._changed.notify_all()

    def report(self) -> SinkReport:
        """Return what has become of the results so far."""
        with self._changed:
            work = self._work.statistics() if self._work.count else None
            return SinkReport(
                self.name, self._num_written, dict(self._num_dropped), self._error, work
            )

    def begin_close(self, *, within_s: float | None = None, discard: bool = False) -> None:
        """Let the thread write what waits and close the sink; do not wait for it.

        Where it closes already without a limit, `within_s` sets one.

        Args:
            within_s: see `close`.
            discard: whether to drop what waits and discard the sink.

        """
        with self._changed:
            now_s = time.monotonic()
            if not self._is_closing:
                self._is_closing, self._discards = True, discard
                self._closing_s = now_s
            if within_s is not None and self._alarm is None:
                # Half of the time for what waits, half for completing the file.
                self._drain_until_s, self._deadline_s = now_s + within_s / 2, now_s + within_s
                self._alarm = threading.Timer(
                    within_s / 2, self._sink.interrupt, kwargs={"is_final": True}
                )
                self._alarm.daemon = True
                self._alarm.start()
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether the thread has ended, or was left to itself."""
        with self._changed:
            return self._has_ended or self._is_left_behind

    def close(self, *, within_s: float | None = None, discard: bool = False) -> SinkReport:
        """Write what waits, close the sink and end the thread; twice does no harm.

        Args:
            within_s: seconds after which the thread is left to itself, whatever it hangs in; None
                for as long as it goes on, `stall_s` for one write and a minute for completing.
            discard: whether to drop what waits and discard the sink.

        """
        self.begin_close(within_s=within_s, discard=discard)
        with self._changed:
            while not self._has_ended and not self._is_late():
                self._changed.wait(min(max(self._deadline_s - time.monotonic(), 0.0), _LOOK_S))
            if not self._has_ended and not self._is_left_behind:
                self._is_left_behind = self._is_given_up = True
                num_left = len(self._queue) + int(self._is_writing)
                if num_left:
                    self._num_dropped[CLOSING] += num_left
                self._queue.clear()
                self._fail("it did not finish in time and was left behind")
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm.join()
        if self._has_ended:
            self._thread.join()
        return self.report()

    def _is_late(self) -> bool:
        now_s = time.monotonic()
        if self._deadline_s < float("inf"):
            return now_s >= self._deadline_s
        longest_s = self._stall_s if self._is_writing else max(self._stall_s, _CLOSE_S)
        since_s = max(self._begun_s or now_s, self._closing_s)
        return self._begun_s is not None and now_s - since_s > longest_s

    def _run(self) -> None:
        try:
            self._open()
            while (result := self._take()) is not None:
                self._write(result)
            self._finish()
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _open(self) -> None:
        self._begin()
        try:
            self._sink.open()
        except BaseException as error:  # noqa: BLE001  # the first write meets it again
            with self._changed:
                self._fail(str(error) or type(error).__name__)
        self._end()

    def _finish(self) -> None:
        self._begin()
        try:
            if self._discards:
                self._sink.discard()
            elif not self._is_given_up:
                self._sink.close()
        except BaseException as error:  # noqa: BLE001  # whatever it is, it ends here
            with self._changed:
                self._fail(str(error) or type(error).__name__)
        self._end()

    def _take(self) -> StreamResult | None:
        """Wait for the next result; None when the sink is to be closed."""
        with self._changed:
            while not self._queue and not self._is_closing:
                self._changed.wait()
            is_over = self._is_closing and (
                self._discards or self._is_given_up or time.monotonic() >= self._drain_until_s
            )
            if is_over and self._queue:
                reason = FAILED if self._is_given_up else CLOSING
                self._num_dropped[reason] += len(self._queue)
                self._queue.clear()
            result = self._queue.popleft() if self._queue else None
            self._changed.notify_all()
            return result

    def _write(self, result: StreamResult) -> None:
        with self._changed:
            if self._is_given_up or time.monotonic() < self._try_again_s:
                self._num_dropped[FAILED] += 1
                return
            self._is_writing = True
        begin_s = self._begin()
        try:
            self._sink.write(result)
        except InputError as error:
            with self._changed:
                is_first = not self._num_dropped[REFUSED]
                self._num_dropped[REFUSED] += 1
                self._error = str(error)
            if is_first:
                self._say(f"{error} The stream goes on.")
        except BaseException as error:  # noqa: BLE001  # whatever it is, it ends here
            self._note_failure(str(error) or type(error).__name__)
        else:
            with self._changed:
                if self._is_left_behind:  # counted as not written, and reported
                    return
                self._num_written += 1
                self._work.add((time.monotonic() - begin_s) * 1e3)
                num_tries, self._num_tries = self._num_tries, 0
                num_lost = self._num_dropped[FAILED]
            if num_tries:
                self._say(f"`{self.name}` writes again; {num_lost} results were lost in all.")
        self._end()

    def _note_failure(self, reason: str) -> None:
        if not self._sink.recovers:
            try:
                self._sink.discard()
            except Exception as error:  # noqa: BLE001  # the first error is the one to tell
                reason += f" (and then: {error})"
        with self._changed:
            self._num_dropped[FAILED] += 1
            self._error = reason
            self._num_tries += 1
            if not self._sink.recovers:
                self._is_given_up = True
            else:
                wait_s = min(self._first_wait_s * 2 ** (self._num_tries - 1), _LONGEST_WAIT_S)
                wait_s *= random.uniform(0.5, 1)  # noqa: S311  # so that many do not come at once
                self._try_again_s = time.monotonic() + wait_s
            is_first = self._num_tries == 1
        if not self._sink.recovers:
            self._say(f"{reason} The stream goes on without `{self.name}`.")
        elif is_first:
            self._say(f"{reason} The stream goes on; `{self.name}` is tried again and again.")

    def _note_stall(self) -> None:
        """Look whether the write that goes on has taken too long; holds the lock."""
        begun_s = self._begun_s
        if begun_s is None or self._is_stalled or time.monotonic() - begun_s < self._stall_s:
            return
        self._is_stalled = True
        self._fail(f"a write has been going on for more than {self._stall_s:g} s")
        self._sink.interrupt(is_final=False)

    def _fail(self, reason: str) -> None:
        self._error = reason
        self._say(f"`{self.name}`: {reason.rstrip('.')}. The stream goes on.")

    def _begin(self) -> float:
        with self._changed:
            self._begun_s = begin_s = time.monotonic()
        return begin_s

    def _end(self) -> None:
        with self._changed:
            self._begun_s, was_stalled = None, self._is_stalled
            self._is_stalled = self._is_writing = False
            self._changed.notify_all()
        if was_stalled:
            self._say(f"`{self.name}` goes on.")

    def _say(self, text: str) -> None:
        if self._notices is not None:
            self._notices.say(self.name, "sink", text)
