"""Files of lines: whole at the end, or appended to and rotated in runs of days."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgecv.errors import OutputError
from edgecv.files import make_folder, unwritable
from edgecv.stream.sinks.dated_files import check_limits, dated_path, remove_all_but
from edgecv.stream.sinks.partial_file import PartialFile, close_quietly

_BLOCK = 65536


class WholeLines:
    """Lines that appear at `path` when it is closed, whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Open the temporary file."""
        self._partial: PartialFile | None = PartialFile(path)
        self._file = self._partial.path.open("wb")
        self.is_empty = True

    def write(self, line: bytes) -> None:
        """Append a line with its end.

        Raises:
            OutputError: if the disk is full; nothing is left behind.

        """
        self.is_empty = False
        try:
            self._file.write(line)
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Put the file in its place."""
        if self._partial is None:
            return
        try:
            self._file.close()
        except OSError as error:
            self._fail(error)
        partial, self._partial = self._partial, None
        partial.commit()

    def discard(self) -> None:
        """Remove the file."""
        if self._partial is not None:
            partial, self._partial = self._partial, None
            close_quietly(self._file)
            partial.remove()

    def _fail(self, error: OSError) -> None:
        partial, self._partial = self._partial, None
        close_quietly(self._file)
        if partial is not None:
            partial.abandon(error)
        raise error


class AppendedLines:
    """Lines added to the end of `path`, each handed to the kernel at once, whole or not at all.

    Args:
        path: the file; half a line that a power cut left at its end is cut off.
        rotate_bytes: size at which the file is renamed, `out_20260131T235959Z.jsonl`, and a new
            one begun; None for no limit.
        rotate_s: age in seconds at which it is renamed; None for no limit.
        keep: renamed files to keep, None for all.

    Raises:
        OutputError: if the file cannot be opened.

    """

    def __init__(
        self,
        path: Path,
        *,
        rotate_bytes: int | None = None,
        rotate_s: float | None = None,
        keep: int | None = None,
    ) -> None:
        """Open the file."""
        self._path, self._keep = path, keep
        self._rotate_bytes, self._rotate_s = rotate_bytes, rotate_s
        self._open()

    @property
    def is_empty(self) -> bool:
        """Whether the file has no line yet."""
        return self._size == 0

    def write(self, line: bytes) -> None:
        """Append a line with its end.

        Raises:
            OutputError: if the disk is full; nothing of the line is there, and the next may be
                tried.

        """
        try:
            # One call, so that a reader or a crash never meets half a line; a full disk may take
            # less than all of it.
            if self._file.write(line) != len(line):
                self._file.write(line[-1:])  # says why: there was no room for this one either
                raise OSError("the line was written in part")  # noqa: TRY301  # handled below
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise OutputError(_not_written(self._path, error)) from error
        self._size += len(line)

    def rotate_if_due(self) -> None:
        """Begin a new file if this one is full or old enough.

        Raises:
            OutputError: if the file cannot be renamed.

        """
        age_s = time.monotonic() - self._opened_s
        if self.is_empty or not (
            (self._rotate_bytes is not None and self._size >= self._rotate_bytes)
            or (self._rotate_s is not None and age_s >= self._rotate_s)
        ):
            return
        try:
            self._path.rename(dated_path(self._path))
        except OSError as error:
            raise OutputError(_not_written(self._path, error)) from error
        self._file.close()
        self._open()
        if self._keep is not None:
            remove_all_but(self._path, self._keep)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def discard(self) -> None:
        """Close the file: what was appended stays."""
        self.close()

    def _open(self) -> None:
        make_folder(self._path.parent)
        try:
            self._file = self._path.open("ab+", buffering=0)
            self._size = _mend(self._file.fileno())
        except OSError as error:
            raise OutputError(_not_written(self._path, error)) from error
        self._opened_s = time.monotonic()


def opener(
    path: Path,
    *,
    append: bool,
    rotate_bytes: int | None,
    rotate_s: float | None,
    keep: int | None,
) -> tuple[Callable[[], WholeLines | AppendedLines], bool]:
    """Return what opens a file of lines, and whether it recovers from errors.

    Raises:
        InputError: if a limit is not positive.

    """
    check_limits("make_sink", rotate_bytes=rotate_bytes, rotate_s=rotate_s, keep=keep)
    if not append and rotate_bytes is None and rotate_s is None:
        return lambda: WholeLines(path), False
    return (
        lambda: AppendedLines(path, rotate_bytes=rotate_bytes, rotate_s=rotate_s, keep=keep),
        True,
    )


def _mend(descriptor: int) -> int:
    """Cut half a line off the end of a file; return its size."""
    size = whole = os.fstat(descriptor).st_size
    while whole:
        begin = max(0, whole - _BLOCK)
        newline = os.pread(descriptor, whole - begin, begin).rfind(b"\n")
        whole = begin + newline + 1
        if newline >= 0:
            break
    if whole < size:
        os.ftruncate(descriptor, whole)
    return whole


def _not_written(path: Path, error: OSError) -> str:
    return unwritable(path, error).replace("nothing was left behind", "whole lines are kept")
