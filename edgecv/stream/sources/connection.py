"""A connection that may block for long, kept in a thread of its own so that nobody has to wait.

FFmpeg reads a network stream or a camera in one call, which only its own timeout can end, and
resolves names in one that nothing can end. Whoever iterates a source must be able to leave at
once, and must notice silence. Hence one thread per connection: it opens, reads packets and closes;
decoding stays with whoever iterates.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import Look
from edgecv.stream.sources.heap import trim_heap

_QUEUE_SIZE = 16  # packets; more would be latency, and the sender's buffers are there too
_JOIN_S = 0.5

# Between our timeouts and FFmpeg's. Opening, FFmpeg's strikes first, because it tells why; reading,
# ours does, so that a silence is always a stall and never a broken connection.
GRACE_S = 0.5

PacketT = TypeVar("PacketT")


class Connection(Protocol[PacketT]):
    """One opening of a source; when it breaks or falls silent, the next one is made."""

    @property
    def is_live(self) -> bool:
        """See `Source`."""

    @property
    def fps(self) -> float | None:
        """See `Source`."""

    @property
    def num_frames(self) -> int | None:
        """See `Source`."""

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """See `Source`."""

    def packets(self) -> Iterator[PacketT]:
        """Yield what arrives, to the end or until `interrupt`; runs in the connection's thread.

        Raises:
            Exception: whatever breaks it, with a message that shows no password.

        """

    def frames(self, packet: PacketT, arrived_s: float) -> Iterator[tuple[Frame, Look]]:
        """Yield the frames of a packet, numbered 0, in the thread that iterates the source."""

    def rest(self) -> Iterator[tuple[Frame, Look]]:
        """Yield the frames that the decoder still holds at the end."""

    def is_finished(self) -> bool:
        """Whether what has ended was to end here: a film, not a camera."""

    def interrupt(self) -> None:
        """Let `packets` return soon where that can be done; from any thread."""

    def close(self) -> None:
        """Give everything back; in the connection's thread, when `packets` is over."""


@dataclass(frozen=True)
class _Packet(Generic[PacketT]):
    packet: PacketT
    arrived_s: float


@dataclass(frozen=True)
class _Ended:
    error: Exception | None


class Silent(Exception):  # noqa: N818  # not an error yet: the caller decides
    """Nothing came in time."""


class Cancelled(Exception):  # noqa: N818  # an order to stop
    """The link was cancelled."""


class Link(Generic[PacketT]):
    """The thread of one connection, and the queue through which its packets come.

    Args:
        connect: opens the connection; called in the thread.
        name: of the thread.

    """

    def __init__(self, connect: Callable[[], Connection[PacketT]], name: str) -> None:
        """Start the thread."""
        self._connect = connect
        self._items: queue.SimpleQueue[Connection[PacketT] | _Packet[PacketT] | _Ended | None]
        self._items, self._free = queue.SimpleQueue(), queue.SimpleQueue[None]()
        for _ in range(_QUEUE_SIZE):
            self._free.put(None)
        self._is_cancelled = False
        self._connection: Connection[PacketT] | None = None
        # A daemon: a name server that never answers must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"edgecv-{name}", daemon=True)
        self._thread.start()

    def opened(self, timeout_s: float) -> Connection[PacketT]:
        """Return the connection as soon as it is open; to be called once, first.

        Raises:
            Silent: if it takes longer than `timeout_s`.
            Cancelled: if it was cancelled meanwhile.
            Exception: whatever `connect` raised.

        """
        item: Any = self._next(timeout_s)
        if isinstance(item, _Ended):
            raise item.error or Cancelled
        connection: Connection[PacketT] = item
        return connection

    def packet(self, timeout_s: float) -> tuple[PacketT, float] | None:
        """Return the next packet and when it arrived, by `time.perf_counter`; None at the end.

        Raises:
            Silent: if none comes within `timeout_s`.
            Cancelled: if it was cancelled.
            Exception: whatever broke the connection.

        """
        item: Any = self._next(timeout_s)
        if isinstance(item, _Ended):
            if item.error is not None:
                raise item.error
            return None
        self._free.put(None)
        return item.packet, item.arrived_s

    def cancel(self) -> None:
        """End the thread as soon as its call returns, without waiting; from any thread."""
        self._is_cancelled = True
        self._free.put(None)
        self._items.put(None)
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def join(self) -> None:
        """Wait for the thread for a moment: one that FFmpeg holds ends with FFmpeg's timeout."""
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def _next(self, timeout_s: float) -> object:
        try:
            item = self._items.get(timeout=max(timeout_s, 0.0))
        except queue.Empty:
            raise Silent from None
        if self._is_cancelled or item is None:
            raise Cancelled
        return item

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._connection = connection = self._connect()
            try:
                self._items.put(connection)
                trim_heap()  # of what it took to learn the format
                self._forward(connection)
            finally:
                connection.close()
        except Exception as caught:  # noqa: BLE001  # raised again where the source is iterated
            error = caught
        self._items.put(_Ended(error))
        trim_heap()

    def _forward(self, connection: Connection[PacketT]) -> None:
        if self._is_cancelled:
            return
        for packet in connection.packets():
            arrived_s = time.perf_counter()
            self._free.get()
            if self._is_cancelled:
                return
            self._items.put(_Packet(packet, arrived_s))
