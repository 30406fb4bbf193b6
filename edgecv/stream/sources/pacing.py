"""The pace of a camera, for a test pattern."""

import threading
import time


class Pace:
    """Waits until a moment counted from the first one; `stop` ends every wait."""

    def __init__(self) -> None:
        """Begin with the first wait."""
        self._origin_s: float | None = None
        self._stopped = threading.Event()

    def wait_until(self, offset_s: float) -> float | None:
        """Return when `offset_s` is due, by `time.perf_counter`, as soon as it is; None if stopped.

        The first call is due at once and sets the clock.
        """
        if self._origin_s is None:
            self._origin_s = time.perf_counter() - offset_s
        due_s = self._origin_s + offset_s
        if self._stopped.wait(max(due_s - time.perf_counter(), 0.0)):
            return None
        return due_s

    def stop(self) -> None:
        """End the wait and all later ones; from any thread."""
        self._stopped.set()
