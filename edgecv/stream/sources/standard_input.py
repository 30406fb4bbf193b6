"""An encoded video that another program pipes in, read so that a wait can be ended."""

import os
import select
import sys
import threading

from edgecv.errors import SourceError

STANDARD_INPUT = "standard input"


class PipedInput:
    """A pipe as the file object that PyAV reads; `interrupt` ends a read that waits.

    FFmpeg's own reading of a pipe cannot be interrupted at all.

    Args:
        descriptor: a readable one; a copy of it is taken.

    """

    def __init__(self, descriptor: int) -> None:
        """Copy the descriptor and make a pipe that wakes a waiting read."""
        self._descriptor = os.dup(descriptor)
        self._woken, self._waker = os.pipe()
        self._is_interrupted = False
        self._is_closed = False
        # A closed descriptor may be another file's: one thread closes while another interrupts.
        self._lock = threading.RLock()

    @classmethod
    def of_standard_input(cls) -> "PipedInput":
        """Return this process's standard input.

        Raises:
            SourceError: if there is none, or a person would have to type a video.

        """
        try:
            descriptor = sys.__stdin__.fileno() if sys.__stdin__ is not None else -1
            is_terminal = os.isatty(descriptor)
            if descriptor >= 0 and not is_terminal:
                return cls(descriptor)
        except (OSError, ValueError):
            is_terminal = False
        found = "a terminal" if is_terminal else "nothing"
        raise SourceError(
            f"{STANDARD_INPUT}: a video must be piped in, found {found}. "
            "Write `ffmpeg -i INPUT -f mpegts - | edgecv run MODEL -`."
        )

    def read(self, num_bytes: int) -> bytes:
        """Return up to `num_bytes` as soon as there are any; none at the end or if interrupted."""
        ready, _, _ = select.select([self._descriptor, self._woken], [], [])
        if self._is_interrupted or self._descriptor not in ready:
            return b""
        return os.read(self._descriptor, num_bytes)

    def interrupt(self) -> None:
        """End the read that waits, and all later ones; from any thread."""
        with self._lock:
            if not (self._is_interrupted or self._is_closed):
                self._is_interrupted = True
                os.write(self._waker, b"!")

    def close(self) -> None:
        """Close the copies; twice does no harm."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                for descriptor in (self._descriptor, self._woken, self._waker):
                    os.close(descriptor)
