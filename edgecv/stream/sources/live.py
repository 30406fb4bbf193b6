"""Sources behind a connection that can break: they reconnect, and notice silence."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from edgecv.closing import Closing
from edgecv.errors import SourceError
from edgecv.stream.sources.backoff import Backoff
from edgecv.stream.sources.connection import GRACE_S, Cancelled, Connection, Link, Silent
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import Health, HealthRecord, Look, Loss
from edgecv.stream.sources.timeline import Timeline

PacketT = TypeVar("PacketT")


class ConnectedSource(Closing, Generic[PacketT]):
    """Frames through a connection, and through the next one when that breaks; see `Source`.

    Opening fails fast. From the first frame on a live source is kept for ever: whatever happens,
    it is opened again, after waits that grow (see `Backoff`), until `close`. A source that is not
    live ends where it ends, or raises where it breaks.

    Args:
        name: of the source, without a password.
        connect: opens one connection; its errors are SourceErrors.
        record: where to count and to say what happens.
        timeout_s: silence for longer is a stall, in seconds.
        reconnects: whether a live source that breaks is opened again, or raises.
        remedy: what to do when it cannot be opened or breaks.

    Raises:
        SourceError: if it cannot be opened.

    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection[PacketT]],
        *,
        record: HealthRecord,
        timeout_s: float,
        reconnects: bool = True,
        remedy: str = "Check camera and network.",
        backoff: Backoff | None = None,
    ) -> None:
        """Open the first connection."""
        self.name = name
        self._connect, self._record, self._timeout_s = connect, record, timeout_s
        self._remedy = remedy
        self._backoff = backoff or Backoff()
        self._timeline = Timeline()
        self._closing = threading.Event()
        self._index = 0
        self._lost_s: float | None = None  # since when there are no frames
        self._told = ""  # why, as was said last
        self._link = Link(connect, "connection")
        try:
            self._connection = self._link.opened(timeout_s + GRACE_S)
        except Silent:
            self.close()
            raise SourceError(
                f"`{name}`: the stream cannot be opened: no answer within {timeout_s:g} s. {remedy}"
            ) from None
        except BaseException:
            self.close()
            raise
        self.is_live = self._connection.is_live
        self.fps, self.num_frames = self._connection.fps, self._connection.num_frames
        self.size_hw = self._connection.size_hw
        self._reconnects = reconnects and self.is_live

    @property
    def health(self) -> Health:
        """See `Source`."""
        return self._record.snapshot()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames of one connection after the other, see `Source`."""
        try:
            while (loss := (yield from self._frames())) is not None:
                self._lose(*loss)
                self._reopen()
        except Cancelled:
            return

    def close(self) -> None:
        """End the iteration and the connection; see `Source`."""
        self._closing.set()
        link = self._link
        link.cancel()
        link.join()

    def _frames(self) -> Generator[Frame, None, tuple[Loss, str] | None]:
        """Yield the frames of the present connection; return how it was lost, None at the end."""
        connection = self._connection
        try:
            while (arrived := self._first_with_frames()) is not None:
                for frame, look in arrived:
                    yield self._handed_out(frame, look)
            for frame, look in connection.rest():
                yield self._handed_out(frame, look)
        except Silent:
            return "stall", f"no frame for {self._timeout_s:g} s"
        except (SourceError, OSError) as error:
            return "reconnect", str(error)
        return None if connection.is_finished() else ("reconnect", "the sender ended the stream")

    def _first_with_frames(self) -> list[tuple[Frame, Look]] | None:
        """Return the frames of the next packet that holds any, None at the end.

        Raises:
            Silent: if there was none in time. Time begins with this call: who iterates may have
                been busy for long, and packets without a frame do not make a camera alive.

        """
        deadline_s = time.perf_counter() + self._timeout_s
        while True:
            arrived = self._link.packet(deadline_s - time.perf_counter())
            if arrived is None:
                return None
            if frames := list(self._connection.frames(*arrived)):
                return frames

    def _handed_out(self, frame: Frame, look: Look) -> Frame:
        if self._closing.is_set():
            raise Cancelled
        if self._lost_s is not None:
            self._record.back(time.perf_counter() - self._lost_s, self._backoff.num_attempts)
            self._lost_s = None
            self._backoff.reset()
        pts_s = (
            self._timeline.presented_s(frame.pts_s, frame.captured_s)
            if self.is_live
            else frame.pts_s
        )
        frame = replace(frame, index=self._index, pts_s=pts_s)
        self._index += 1
        self.size_hw = frame.size_hw
        self._record.frame(look)
        return frame

    def _lose(self, loss: Loss, reason: str) -> None:
        """Begin a time without frames, or raise where there is no coming back."""
        if not self._reconnects or self._index == 0:
            reached = f"after frame {self._index}"
            if self.num_frames:
                reached += f" of {self.num_frames}"
            raise SourceError(
                f"`{self.name}`: the video breaks off {reached}: {reason}. {self._remedy}"
            )
        if self._lost_s is None:
            self._lost_s = time.perf_counter()
            self._told = reason
            self._record.lost(loss, f"{reason}, after frame {self._index}. It is opened again.")

    def _reopen(self) -> None:
        """Open the next connection, however many attempts that takes.

        Raises:
            Cancelled: if the source is closed meanwhile.

        """
        while True:
            self._link.cancel()  # its thread ends by itself, as soon as FFmpeg lets go
            if self._closing.wait(self._backoff.next_s()):
                raise Cancelled
            self._link = Link(self._connect, "connection")
            if self._closing.is_set():  # after the wait, before `close` could see this link
                self._link.cancel()
                raise Cancelled
            try:
                self._connection = self._link.opened(self._timeout_s + GRACE_S)
            except Silent:
                self._tell(f"no answer within {self._timeout_s:g} s.")
            except (SourceError, OSError) as error:
                self._tell(str(error).removeprefix(f"`{self.name}`: "))
            else:
                self._timeline.restart()
                return

    def _tell(self, reason: str) -> None:
        """Say why an attempt failed, once for each reason: a camera may be away for weeks."""
        if reason != self._told:
            self._told = reason
            self._record.say("reconnect", f"still away: {reason}")
