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


@dataclass(frozen=True)
class _End:
    """The last thing in a channel; `error` is what stopped its producer."""

    error: BaseException | None


class Channel(Generic[T]):
    """A queue of one producer and one consumer.

    The producer calls `put` and, once, `finish`; the consumer iterates. Anybody may `cancel`.

    Args:
        size: items that may wait, at least 1.
        drops_oldest: what `put` does with a full channel: throw away the item that has waited
            longest (a camera cannot wait), or block until there is room.

    """

    def __init__(self, size: int, *, drops_oldest: bool = False) -> None:
        """Make an empty channel."""
        if size < 1:
            raise ValueError(f"Channel: `size` must be at least 1, got {size}.")
        self.num_dropped = 0
        self._drops_oldest = drops_oldest
        self._is_cancelled = False
        self._items: queue.SimpleQueue[T | _End | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()  # one token per free place
        for _ in range(size):
            self._free.put(None)

    def put(self, item: T) -> None:
        """Append `item`, when there is room or by dropping the oldest.

        Raises:
            Cancelled: if the channel was cancelled, before or while this waited.

        """
        if not self._drops_oldest:
            self._free.get()
        elif self._free.empty():  # no race: tokens are taken by this thread alone
            try:
                self._items.get_nowait()
                self.num_dropped += 1  # the new item takes over the place of the dropped one
            except queue.Empty:
                self._free.get()  # the consumer took it just now and is about to free its place
        else:
            self._free.get()
        if self._is_cancelled:
            raise Cancelled
        self._items.put(item)

    def finish(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes; the consumer gets what waits, and then `error` raised."""
        self._items.put(_End(error))

    def cancel(self) -> None:
        """Wake both ends with `Cancelled`; what waits is lost."""
        self._is_cancelled = True
        self._free.put(None)
        self._items.put(None)

    def __iter__(self) -> Iterator[T]:
        """Yield the items in order until `finish`.

        Raises:
            Cancelled: if the channel was cancelled.
            BaseException: what `finish` was given.

        """
        while True:
            item = self._items.get()
            if self._is_cancelled or item is None:
                raise Cancelled
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            self._free.put(None)
            yield item
