"""What sinks of lines share: a file that is whole at the end, or that lines are added to."""

from collections.abc import Sequence
from pathlib import Path

from edgecv.stream.sinks.lines import AppendedLines, WholeLines, opener
from edgecv.stream.sinks.sink import Sink


class LinesSink(Sink):
    """A sink that writes lines to a file.

    Args:
        path: the file, replaced when the sink is closed.
        classes: the model's class names.
        append: add to the file instead, line by line; see `AppendedLines`, also for the rest.
        rotate_bytes: as bytes; implies `append`.
        rotate_s: in seconds; implies `append`.
        keep: number of rotated files.

    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        *,
        append: bool = False,
        rotate_bytes: int | None = None,
        rotate_s: float | None = None,
        keep: int | None = None,
    ) -> None:
        """Name the file; it is opened with the first result."""
        self._path, self._classes = Path(path), tuple(classes)
        self._open, self.recovers = opener(
            self._path, append=append, rotate_bytes=rotate_bytes, rotate_s=rotate_s, keep=keep
        )
        self._opened: WholeLines | AppendedLines | None = None

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    def close(self) -> None:
        """Put the file in its place, see `Sink`."""
        if self._opened is not None:
            lines, self._opened = self._opened, None
            lines.close()

    def discard(self) -> None:
        """Remove the file, see `Sink`; what was appended stays."""
        if self._opened is not None:
            lines, self._opened = self._opened, None
            lines.discard()

    def _lines(self) -> WholeLines | AppendedLines:
        """Return the file for the lines of the next result, opened if it is not."""
        if self._opened is None:
            self._opened = self._open()
        if isinstance(self._opened, AppendedLines):
            self._opened.rotate_if_due()
        return self._opened
