"""SIGHUP: a running stream reads its file again."""

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from edgecv.closing import Closing


class HangUps(Closing):
    """Takes SIGHUP as the wish to read a file again, from the moment that it is made.

    Elsewhere than in the main thread and on a system without that signal, none comes.

    Args:
        are_wanted: whether there is a file; without one the signal acts as it did before.

    """

    def __init__(self, *, are_wanted: bool) -> None:
        """Take over the signal."""
        # Of which `put` is safe in a handler.
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        is_main = threading.current_thread() is threading.main_thread()
        self._is_listening = are_wanted and is_main and hasattr(signal, "SIGHUP")
        if self._is_listening:
            self._previous = signal.signal(signal.SIGHUP, self._ask)

    @contextmanager
    def answered_by(self, answer: Callable[[], object]) -> Iterator[None]:
        """Call `answer` for each that comes and has come, in a thread of its own."""
        if not self._is_listening:
            yield
            return

        def work() -> None:
            while self._wanted.get():
                answer()

        thread = threading.Thread(target=work, name="edgecv-reload", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._wanted.put(False)  # noqa: FBT003  # whether to go on
            thread.join()

    def close(self) -> None:
        """Give the signal back."""
        if self._is_listening:
            self._is_listening = False
            signal.signal(signal.SIGHUP, self._previous)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # signal's signature
        self._wanted.put(True)  # noqa: FBT003  # whether to go on
