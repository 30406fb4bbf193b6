"""What every source is: frames from one place, and an account of how it fares."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from edgecv.closing import Closing
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import Health


@runtime_checkable
class Source(Closing, Protocol):
    """Frames from one place, to be iterated once and closed."""

    @property
    def name(self) -> str:
        """The file, pattern, camera or URL for messages; never with a password."""

    @property
    def is_live(self) -> bool:
        """Whether frames come at their own pace, so that one not taken in time is dropped."""

    @property
    def fps(self) -> float | None:
        """Frames a second as announced, None where that is unknown or meaningless."""

    @property
    def num_frames(self) -> int | None:
        """How many frames there will be, an estimate for videos, None where unknown."""

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width of the frames in pixels, the last one's where it changed; or None."""

    @property
    def health(self) -> Health:
        """What was counted so far; a snapshot, for any thread. Inherited, it counts nothing."""
        return Health()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order.

        Raises:
            SourceError: if the next one cannot be read; all before it were yielded.

        """

    def close(self) -> None:
        """Give back the file or the device; twice does no harm.

        From any thread: an iteration that waits for a frame ends within a second.
        """
