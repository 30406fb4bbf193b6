"""A bounded queue between two stages, which either end can shut without a timeout or a poll.

It is built from two `queue.SimpleQueue`s, whose operations are single C calls: CTRL-C can arrive
at any moment without leaving a lock taken, which `threading.Condition` does not promise.
"""

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818  # an order to stop, not an error
    """The channel was cancelled: whoever meets this winds up quietly."""


class Ended(Exception):  # noqa: N818  # idem
    """Nothing more comes."""


class Late(Exception):  # noqa: N818  # idem; not TimeoutError, which may be what a stage raised
    """Nothing came in time."""


@dataclass(frozen=True)
class _End:
    """The last thing in a channel; `error` is what stopped its producer."""

    error: BaseException | None


class _Wake:
    """Lets the consumer look around; see `Channel.wake`."""


class Channel(Generic[T]):
    """A queue of one producer and one consumer.

    The producer calls `put`, or `reserve` and then `push`, and, once, `finish`; the consumer
    iterates, or calls `take`. Anybody may `cancel`, also a signal handler.

    Args:
        size: items that may wait, at least 1.

    """

    def __init__(self, size: int) -> None:
        """Make an empty channel."""
        if size < 1:
            raise ValueError(f"Channel: `size` must be at least 1, got {size}.")
        self._is_cancelled = False
        self._items: queue.SimpleQueue[T | _End | _Wake] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()  # one token per free place
        for _ in range(size):
            self._free.put(None)

    def reserve(self) -> None:
        """Wait until there is room for an item.

        Raises:
            Cancelled: if the channel was cancelled, before or while this waited.

        """
        self._free.get()
        if self._is_cancelled:
            raise Cancelled

    def push(self, item: T) -> None:
        """Append `item` in the place that `reserve` has found."""
        self._items.put(item)

    def put(self, item: T) -> None:
        """Append `item` when there is room.

        Raises:
            Cancelled: see `reserve`.

        """
        self.reserve()
        self._items.put(item)

    def finish(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes; the consumer gets what waits, and then `error` raised."""
        self._items.put(_End(error))

    def cancel(self) -> None:
        """Wake both ends with `Cancelled`; what waits is lost."""
        self._is_cancelled = True
        self._free.put(None)
        self._items.put(_Wake())

    def wake(self) -> None:
        """Let `take` return None once."""
        self._items.put(_Wake())

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits at this moment."""
        return self._items.empty()

    def take(self, timeout_s: float | None = None) -> T | None:
        """Return the next item, None after `wake`.

        Args:
            timeout_s: to wait for one at the most, None for ever.

        Raises:
            Ended: after `finish`.
            Cancelled: if the channel was cancelled.
            Late: if none came in time.
            BaseException: what `finish` was given.

        """
        try:
            item = self._items.get(timeout=timeout_s)
        except queue.Empty:
            raise Late from None
        if self._is_cancelled:
            raise Cancelled
        if isinstance(item, _Wake):
            return None
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            raise Ended
        self._free.put(None)
        return item

    def __iter__(self) -> Iterator[T]:
        """Yield the items in order until `finish`.

        Raises:
            Cancelled: if the channel was cancelled.
            BaseException: what `finish` was given.

        """
        while True:
            try:
                item = self.take()
            except Ended:
                return
            if item is not None:
                yield item
