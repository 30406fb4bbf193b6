"""Results in shared memory, for readers in other processes and other languages."""

import fcntl
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecv.errors import InputError, OutputError
from edgecv.frame_formats import planes_of
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.records import as_record
from edgecv.stream.sinks.ring_layout import (
    FOURCC,
    HEADER,
    IS_CLOSED_AT,
    MAGIC,
    MATRIX_CODE,
    NO_PTS,
    NUM_RECORDS_AT,
    SEQUENCE,
    SLOT,
    VERSION,
    padded,
    ring_path,
)
from edgecv.stream.sinks.sink import Sink

NUM_SLOTS = 8
JSON_BYTES = 65536


class RingSink(Sink):
    """A ring of the last records and their frames in shared memory, see `ring_layout`.

    The writer never waits for a reader. A frame larger than the first one makes a new ring of the
    same name; the old one is marked closed, so that readers open the new one.

    Args:
        ring: name of the ring, `shm://<name>`.
        classes: the model's class names.
        num_slots: records in the ring, 2 or more.
        has_pixels: whether the frames are in it, as they are, without converting.
        json_bytes: room for a record's JSON.

    Raises:
        InputError: if the name cannot be one, or this system has no `/dev/shm`.

    """

    recovers = True

    def __init__(
        self,
        ring: str,
        classes: Sequence[str],
        *,
        num_slots: int = NUM_SLOTS,
        has_pixels: bool = True,
        json_bytes: int = JSON_BYTES,
    ) -> None:
        """Name the ring; it is made with the first result, which tells the size of a slot."""
        if num_slots < 2 or json_bytes < 1:  # noqa: PLR2004  # one to write while another is read
            raise InputError(
                f"RingSink: `num_slots` must be at least 2 and `json_bytes` at least 1, got "
                f"{num_slots} and {json_bytes}. Leave them out for {NUM_SLOTS} and {JSON_BYTES}."
            )
        self._path = ring_path(ring)
        self._ring, self._classes = ring, tuple(classes)
        self._num_slots, self._has_pixels = num_slots, has_pixels
        self._json_bytes = padded(json_bytes)
        self._descriptor = -1
        self._slot_bytes = self._num_records = 0

    @property
    def name(self) -> str:
        """The ring."""
        return f"shm://{self._ring}"

    def write(self, result: StreamResult) -> None:
        """Put one record into the ring, see `Sink`.

        Raises:
            InputError: if its JSON is larger than the room for it.
            OutputError: if there is no memory left, or another process writes this ring.

        """
        frame = result.frame
        text = json.dumps(
            as_record(result, self._classes), ensure_ascii=False, separators=(",", ":")
        ).encode()
        if len(text) > self._json_bytes:
            raise InputError(
                f"`{self.name}`: a record must fit {self._json_bytes} bytes, got {len(text)}. "
                f"Write shm://{self._ring}?json={-(-len(text) // 65536) * 64 + 64}KB."
            )
        planes = planes_of("RingSink", frame.pixels, frame.format) if self._has_pixels else ()
        num_pixel_bytes = sum(plane.size for plane in planes)
        room = SLOT.size + self._json_bytes + padded(num_pixel_bytes)
        height, width = frame.size_hw
        try:
            if room > self._slot_bytes:
                self._make(room)
            begin = HEADER.size + self._num_records % self._num_slots * self._slot_bytes
            now_ns, unix_ns = time.monotonic_ns(), time.time_ns()
            age_ns = round((time.perf_counter() - frame.captured_s) * 1e9)
            pts_ns = NO_PTS if frame.pts_s is None else round(frame.pts_s * 1e9)
            head = SLOT.pack(
                2 * self._num_records + 1,
                now_ns - age_ns,
                unix_ns - age_ns,
                pts_ns,
                frame.index,
                width,
                height,
                FOURCC[frame.format] if planes else bytes(4),
                MATRIX_CODE[frame.matrix],
                int(frame.range == "full"),
                len(text),
                num_pixel_bytes,
            )
            # Each a call of its own. The kernel takes the file's lock in each, and what was
            # stored under a lock is seen before what the same processor stores under the next:
            # a memory barrier, which Python has not. And a full /dev/shm is an error, where
            # storing through a mapping would be SIGBUS.
            self._put(head[: SEQUENCE.size], begin)
            self._put(head[SEQUENCE.size :], begin + SEQUENCE.size)
            self._put(text.ljust(padded(len(text)), b"\0"), begin + SLOT.size)
            at = begin + SLOT.size + padded(len(text))
            for plane in planes:
                self._put(np.ascontiguousarray(plane).data.cast("B"), at)
                at += plane.size
            self._put(SEQUENCE.pack(2 * self._num_records + 2), begin)
            self._put(SEQUENCE.pack(self._num_records + 1), NUM_RECORDS_AT)
        except OSError as error:
            self.close()
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"`{self.name}`: cannot write `{self._path}`: {error.strerror}. Free some shared "
                "memory (`df /dev/shm`; containers have 64 MB of it unless told otherwise)."
            ) from error
        self._num_records += 1

    def close(self) -> None:
        """Mark the ring closed and remove its name, see `Sink`; readers keep what they mapped."""
        descriptor, self._descriptor = self._descriptor, -1
        self._slot_bytes = 0
        if descriptor >= 0:
            os.pwrite(descriptor, b"\1\0\0\0", IS_CLOSED_AT)
            self._path.unlink(missing_ok=True)
            os.close(descriptor)

    def discard(self) -> None:
        """Do what `close` does."""
        self.close()

    def _make(self, room: int) -> None:
        """Make a new ring; readers never see half of its header."""
        self._refuse_second_writer()
        self.close()
        hidden = Path(f"{self._path}.{os.getpid()}")
        self._descriptor = os.open(
            hidden, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644
        )
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Reserves the memory: better none at all than none in the middle of the night.
            os.posix_fallocate(self._descriptor, 0, HEADER.size + self._num_slots * room)
            self._put(HEADER.pack(MAGIC, VERSION, self._num_slots, room, 0, 0, os.getpid()), 0)
            hidden.rename(self._path)
        except OSError:
            hidden.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
            raise
        self._slot_bytes, self._num_records = room, 0

    def _refuse_second_writer(self) -> None:
        """Raise if another process has the ring; one that a dead process left may go."""
        if self._descriptor >= 0:
            return
        try:
            present = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(present, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"`{self.name}`: another process writes this ring. Choose another name."
            ) from error
        finally:
            os.close(present)

    def _put(self, data: bytes | memoryview, at: int) -> None:
        if os.pwrite(self._descriptor, data, at) != len(data):
            raise OSError(28, "No space left on device")
