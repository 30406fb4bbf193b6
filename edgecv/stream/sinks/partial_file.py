"""A file that appears whole or not at all, entered and left by hand."""

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from edgecv.files import replacing


class PartialFile:
    """A temporary file that becomes `path` on `commit`: `replacing`, entered and left by hand."""

    def __init__(self, path: Path) -> None:
        """Make the temporary file.

        Raises:
            OutputError: if the folder cannot be made or written.

        """
        self._stack = ExitStack()
        self.path = self._stack.enter_context(replacing(path))

    def commit(self) -> None:
        """Rename it to its place."""
        self._stack.close()

    def abandon(self, error: OSError) -> None:
        """Remove the file and raise what `replacing` makes of `error`."""
        self._stack.__exit__(type(error), error, error.__traceback__)

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self._stack.pop_all()  # nothing to rename any more


class Closeable(Protocol):
    """A file or a container."""

    def close(self) -> None:
        """Close it."""


def close_quietly(file: Closeable) -> None:
    """Close a file whose contents are given up; a full disk makes that fail once more."""
    with suppress(OSError, ValueError):  # FFmpeg's errors are the one or the other
        file.close()
