"""A source under a name of the user's."""

from collections.abc import Iterator

from edgecv.closing import Closing
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import Health
from edgecv.stream.sources.source import Source


class NamedSource(Closing):
    """A source under another name, see `Source`.

    Args:
        source: closed by this one.
        name: for results and messages.

    """

    def __init__(self, source: Source, name: str) -> None:
        """Take over `source`."""
        self._source, self.name = source, name
        self.is_live, self.fps, self.num_frames = source.is_live, source.fps, source.num_frames

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """See `Source`."""
        return self._source.size_hw

    @property
    def health(self) -> Health:
        """See `Source`."""
        return self._source.health

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""
        return iter(self._source)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
