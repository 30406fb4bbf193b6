"""Messages on disk until they are delivered: in order, bounded, there again after a restart."""

import fcntl
import struct
import threading
import uuid
import zlib
from collections import deque
from pathlib import Path
from typing import BinaryIO

from edgecv.closing import Closing
from edgecv.errors import OutputError
from edgecv.files import make_folder, unwritable, write_text

_HEAD = struct.Struct("<IIQ")  # bytes of the message, their CRC-32, number of the message
_SUFFIX = ".spool"
_FILES = 8  # the oldest file goes when the whole is full, an eighth at a time


class Spool(Closing):
    """A queue in a folder: messages are numbered from 1, and `done` moves its beginning on.

    A message is in the kernel's hands when `append` returns, so it survives the process; what a
    power cut tore is found by its checksum and left out. When the folder is full, the oldest
    messages are dropped and counted.

    Args:
        folder: made if there is none; one process at a time uses it.
        max_bytes: of all messages together, at least 64 KiB.

    Raises:
        OutputError: if another process uses it, or it cannot be written.

    """

    def __init__(self, folder: Path | str, max_bytes: int) -> None:
        """Find what is waiting."""
        if max_bytes < 65536:  # noqa: PLR2004  # see the text
            raise ValueError(f"Spool: `max_bytes` must be at least 65536, got {max_bytes}.")
        self._folder, self._max_bytes = Path(folder), max_bytes
        self._lock = threading.Lock()
        self.num_lost = 0
        make_folder(self._folder)
        self._guard = self._locked()
        try:
            self.id = self._read_id()
            self._done = self._read_done()
            self._files = deque(sorted(self._folder.glob(f"*{_SUFFIX}")))
            self._begin_writing()
        except OSError as error:
            self._guard.close()
            if isinstance(error, OutputError):
                raise
            raise OutputError(unwritable(self._folder, error)) from error
        self._reader: BinaryIO | None = None
        self._head: tuple[int, bytes] | None = None

    def __len__(self) -> int:
        """Return how many messages wait."""
        with self._lock:
            return self._next - 1 - self._done

    def append(self, message: bytes) -> int:
        """Add a message and return its number.

        Raises:
            OutputError: if the disk is full; the message is not there.

        """
        with self._lock:
            number = self._next
            record = _HEAD.pack(len(message), zlib.crc32(message), number) + message
            try:
                if self._size and self._size + len(record) > self._max_bytes // _FILES:
                    self._writer.close()
                    self._files.append(self._new_file(number))
                    self._drop_oldest()
                written = self._writer.write(record)
                if written != len(record):
                    self._writer.truncate(self._size)
                    self._writer.write(record)  # says why
            except OSError as error:
                raise OutputError(unwritable(self._folder, error)) from error
            self._size += len(record)
            self._next += 1
            return number

    def oldest(self) -> tuple[int, bytes] | None:
        """Return number and text of the message that has waited longest, None without any."""
        with self._lock:
            while self._head is None or self._head[0] <= self._done:
                self._head = self._read()
                if self._head is None:
                    return None
            return self._head

    def done(self, number: int) -> None:
        """Forget the messages up to a number.

        Raises:
            OutputError: if the disk is full; after a restart they are there again.

        """
        with self._lock:
            self._done = max(self._done, number)
            write_text(self._folder / "done", str(self._done))

    def close(self) -> None:
        """Close the files; what waits stays."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            self._writer.close()
            self._guard.close()

    def _locked(self) -> BinaryIO:
        try:
            guard = (self._folder / "lock").open("wb")
        except OSError as error:
            raise OutputError(unwritable(self._folder, error)) from error
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            guard.close()
            raise OutputError(
                f"the spool `{self._folder}` is used by another process. Name another folder."
            ) from error
        return guard

    def _read_id(self) -> str:
        path = self._folder / "id"
        if not path.exists():
            write_text(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8").strip()

    def _read_done(self) -> int:
        path = self._folder / "done"
        text = path.read_text(encoding="utf-8").strip() if path.exists() else "0"
        return int(text) if text.isdecimal() else 0

    def _begin_writing(self) -> None:
        """Find the number of the next message and begin a file with it."""
        last = self._done
        for path in list(self._files):
            numbers = _numbers(path)
            if not numbers or numbers[-1] <= self._done:
                path.unlink()
                self._files.remove(path)
            else:
                last = max(last, numbers[-1])
        self._next = last + 1
        self._files.append(self._new_file(self._next))

    def _new_file(self, number: int) -> Path:
        path = self._folder / f"{number:020}{_SUFFIX}"
        self._writer = path.open("wb", buffering=0)
        self._size = 0
        return path

    def _drop_oldest(self) -> None:
        while sum(path.stat().st_size for path in self._files) > self._max_bytes * (
            (_FILES - 1) / _FILES
        ):
            path = self._files.popleft()
            lost = [number for number in _numbers(path) if number > self._done]
            self.num_lost += len(lost)
            if lost:
                self._done = lost[-1]
            if self._reader is not None and Path(self._reader.name) == path:
                self._reader.close()
                self._reader = None
            path.unlink()

    def _read(self) -> tuple[int, bytes] | None:
        """Return the next message of the files, from the first file on."""
        while self._files:
            path = self._files[0]
            if self._reader is None:
                self._reader = path.open("rb")
            position = self._reader.tell()
            found = _next_record(self._reader)
            if found is not None:
                return found
            self._reader.seek(position)
            if len(self._files) == 1:
                return None
            self._reader.close()
            self._reader = None
            self._files.popleft()
            path.unlink(missing_ok=True)
        return None


def _next_record(file: BinaryIO) -> tuple[int, bytes] | None:
    """Return number and text of the record at a file's position, None where there is no whole."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size, checksum, number = _HEAD.unpack(head)
    message = file.read(size)
    if len(message) < size or zlib.crc32(message) != checksum:
        return None
    return number, message


def _numbers(path: Path) -> list[int]:
    numbers = []
    with path.open("rb") as file:
        while (found := _next_record(file)) is not None:
            numbers.append(found[0])
    return numbers
