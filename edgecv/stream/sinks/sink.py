"""What every sink is: something that takes results one by one."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING

from edgecv.errors import SourceError
from edgecv.stream.pipeline import StreamResult

if TYPE_CHECKING:
    from typing_extensions import Self


class Sink(ABC):
    """Something that takes results one by one.

    Making one checks what it was given and touches nothing; `open` connects.

    A sink is left in one of two ways: `close` puts the file in its place, `discard` removes what
    was begun and leaves an older file alone. A sink that was given nothing puts nothing. Where
    what was written is out already (a message, a line that was appended), both do the same.
    """

    recovers: bool = False
    """Whether `write` may succeed again after it raised OutputError: there is room again, the
    server is back. What was written in one piece is lost with its first error."""

    sources: Collection[str] | None = None
    """Names of the sources whose results a `SinkGroup` gives it; None for all."""

    @property
    def name(self) -> str:
        """The file, folder or address for messages; never with a password."""
        return type(self).__name__

    def open(self) -> None:  # noqa: B027  # most open a file with their first result
        """Connect, and deliver what waits from an earlier run; twice does no harm.

        `write` does it where nobody has, and a `with` block.

        Raises:
            InputError: if what it was given is refused where it is used.
            OutputError: if it cannot be opened; `write` tries again.

        """

    @abstractmethod
    def write(self, result: StreamResult) -> None:
        """Take in one result; its frame's pixels may be annotated already.

        Raises:
            InputError: if this one result cannot be taken; the sink is as it was.
            OutputError: if it cannot be written; nothing is left behind.

        """

    @abstractmethod
    def close(self) -> None:
        """Complete the file; twice does no harm.

        Raises:
            OutputError: if it cannot be completed; nothing is left behind.

        """

    @abstractmethod
    def discard(self) -> None:
        """Remove what was begun; after `close` it does nothing."""

    def interrupt(self, *, is_final: bool) -> None:  # noqa: B027  # most wait for nothing
        """Make the `write` or `close` that another thread is in return soon, if it waits.

        What it was about fails with an OutputError. A sink that waits for nothing does nothing.

        Args:
            is_final: whether the time for closing is over, so that every later call is to return
                soon too; else a call has been waiting for too long.

        """

    def __enter__(self) -> "Self":
        """Open the sink and return it."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close after the source's end, its breaking off and CTRL-C; discard after the rest."""
        if keeps_what_was_written(error):
            self.close()
        else:
            self.discard()


def keeps_what_was_written(error: BaseException | None) -> bool:
    """Tell whether what was written up to `error` is to be kept."""
    # A day's recording must not be lost because the camera was unplugged in the evening.
    return error is None or isinstance(error, SourceError | KeyboardInterrupt)
