"""The thread of a connection leaves no memory behind; the rest is in `test_live.py`."""

import threading
import time
from collections.abc import Iterator

from edgecv.stream.sources.connection import Link
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import Look

from .holes import HOLES_BYTES, leave_holes, needs_glibc, rss_bytes


class Wasteful:
    """A connection that frees much when it has opened, and as much when it ends."""

    is_live, fps, num_frames, size_hw = True, None, None, None

    def __init__(self) -> None:
        self.pins = [leave_holes()]
        self.is_over = threading.Event()

    def packets(self) -> Iterator[int]:
        self.is_over.wait()
        return iter(())

    def frames(self, _packet: int, _arrived_s: float) -> Iterator[tuple[Frame, Look]]:
        return iter(())

    def rest(self) -> Iterator[tuple[Frame, Look]]:
        return iter(())

    def is_finished(self) -> bool:
        return False

    def interrupt(self) -> None:
        self.is_over.set()

    def close(self) -> None:
        self.pins.append(leave_holes())


@needs_glibc
def test_what_opening_and_closing_took_is_given_back() -> None:
    before = rss_bytes()
    link = Link(Wasteful, "wasteful")
    connection = link.opened(10.0)

    assert held_less_than(HOLES_BYTES // 4, before)
    connection.interrupt()
    assert link.packet(10.0) is None
    assert held_less_than(HOLES_BYTES // 4, before)
    link.join()


def held_less_than(most_bytes: int, before: int) -> bool:
    """Return whether it comes to that soon: the thread gives back when it has told its news."""
    until_s = time.monotonic() + 10.0
    while rss_bytes() - before >= most_bytes:
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True
