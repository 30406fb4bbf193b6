"""Reads the shared-memory ring: what a program in Python does to receive another's results."""

import json
import mmap
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv.closing import Closing
from edgecv.errors import InputError, SourceError
from edgecv.frame_formats import Plane
from edgecv.stream.sinks.ring_layout import (
    FORMAT_OF,
    HEADER,
    MAGIC,
    MATRIX_OF,
    NO_PTS,
    SEQUENCE,
    SLOT,
    VERSION,
    num_pixel_bytes,
    padded,
    ring_path,
)
from edgecv.stream.sources import Frame

_LOOK_S = 0.001


@dataclass(frozen=True, eq=False)
class RingRecord:
    """One record of a ring, copied out of it.

    Args:
        number: 0, 1, 2, … since the ring was made.
        record: as a line of JSON lines has it, see `JsonlSink`.
        captured_unix_ns: when the frame was captured, in nanoseconds since 1970.
        frame: with its pixels, None in a ring without them.

    """

    number: int
    record: dict[str, Any]
    captured_unix_ns: int
    frame: Frame | None


class RingReader(Closing):
    """Reads records in order, as they come; what it was too slow for is counted.

    Args:
        ring: its name, as in `shm://<name>`.

    Raises:
        SourceError: if there is no such ring, or one of another version.

    """

    def __init__(self, ring: str) -> None:
        """Map the ring; the first record is the oldest that is still there."""
        self._ring, self._path = ring, ring_path(ring)
        self._fence_lock = threading.Lock()
        self.num_missed = 0
        self._map: mmap.mmap | None = None
        self._open()

    def read(self, timeout_s: float | None = None) -> RingRecord | None:
        """Return the next record; None when the writer has closed the ring, or after `timeout_s`.

        Args:
            timeout_s: in seconds, None to wait without limit.

        """
        until_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            _, _, num_records, is_closed = self._header()
            if self._next < num_records:
                found = self._at(self._next)
                if found is not None:
                    self._next += 1
                    return found
                self._skip()
                continue
            if is_closed:
                return None
            if time.monotonic() >= until_s:
                return None
            time.sleep(_LOOK_S)  # no lock crosses to other languages: a millisecond, then

    def latest(self) -> RingRecord | None:
        """Return the newest record, also one that was read already; None without any."""
        while num_records := self._header()[2]:
            found = self._at(num_records - 1)
            if found is not None:
                self._next = num_records
                return found
        return None

    def close(self) -> None:
        """Give back the memory."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _open(self) -> None:
        try:
            with self._path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"`shm://{self._ring}`: there is no such ring. Start the program that writes it."
            ) from error
        if len(self._map) < HEADER.size or self._map[: len(MAGIC)] != MAGIC:
            self.close()
            raise SourceError(f"`shm://{self._ring}`: `{self._path}` is no ring. Name another.")
        version = HEADER.unpack_from(self._map)[1]
        if version != VERSION:
            self.close()
            raise SourceError(
                f"`shm://{self._ring}`: the ring's version must be {VERSION}, got {version}. "
                "Use the same edgecv on both sides."
            )
        self._next = 0
        num_slots, _, num_records, _ = self._header()
        self._next = max(0, num_records - num_slots)

    def _memory(self) -> mmap.mmap:
        if self._map is None:
            raise InputError(f"`shm://{self._ring}`: the reader was closed. Open another.")
        return self._map

    def _header(self) -> tuple[int, int, int, bool]:
        """Return num_slots, slot_bytes, num_records and whether the writer is gone for good."""
        header = HEADER.unpack_from(self._memory())
        self._fence()
        return header[2], header[3], header[4], bool(header[5])

    def _skip(self) -> None:
        """Go on with the oldest record that is still there."""
        num_slots, _, num_records, _ = self._header()
        # The slot behind the newest is the one that is being written.
        oldest = max(self._next + 1, num_records - num_slots + 1)
        self.num_missed += oldest - self._next
        self._next = oldest

    def _at(self, number: int) -> RingRecord | None:
        """Return a record, None if it is not there any more."""
        memory = self._memory()
        num_slots, slot_bytes, _, _ = self._header()
        begin = HEADER.size + number % num_slots * slot_bytes
        whole = 2 * number + 2
        if SEQUENCE.unpack_from(memory, begin)[0] != whole:
            return None
        self._fence()
        head = SLOT.unpack_from(memory, begin)
        body = self._copy(begin + SLOT.size, padded(head[10]) + head[11], begin + slot_bytes)
        self._fence()
        if SEQUENCE.unpack_from(memory, begin)[0] != whole:
            return None
        return _record(number, head, body)

    def _copy(self, begin: int, num_bytes: int, end: int) -> bytes:
        """Copy a slot's body; what a torn header asks for does not lead out of the slot."""
        return self._memory()[begin : min(begin + num_bytes, end)]

    def _fence(self) -> None:
        """Keep loads before and behind apart, on processors that would change their order.

        A lock that is released and taken again is what Python has of a memory barrier.
        """
        for _ in range(2):
            with self._fence_lock:
                pass


def _record(number: int, head: tuple[Any, ...], body: bytes) -> RingRecord:
    _, _, unix_ns, pts_ns, index, width, height, code, matrix, is_full, json_bytes, _ = head
    record = json.loads(body[:json_bytes])
    frame = None
    if code in FORMAT_OF:
        pixels = np.frombuffer(body, np.uint8, offset=padded(json_bytes))
        frame = Frame(
            index,
            _planes(pixels[: num_pixel_bytes(code, height, width)], code, height, width),
            FORMAT_OF[code],
            None if pts_ns == NO_PTS else pts_ns / 1e9,
            matrix=MATRIX_OF[matrix],
            range="full" if is_full else "limited",
        )
    return RingRecord(number, record, unix_ns, frame)


def _planes(pixels: Plane, code: bytes, height: int, width: int) -> Plane | tuple[Plane, ...]:
    luma, chroma_hw = pixels[: height * width], ((height + 1) // 2, (width + 1) // 2)
    chroma = pixels[height * width :]
    if code == b"I420":
        u, v = np.split(chroma, 2)
        return luma.reshape(height, width), u.reshape(chroma_hw), v.reshape(chroma_hw)
    if code == b"NV12":
        return luma.reshape(height, width), chroma.reshape(*chroma_hw, 2)
    channels = {b"RGB3": (3,), b"BGR3": (3,), b"YUYV": (2,)}.get(code, ())
    return pixels.reshape(height, width, *channels)
