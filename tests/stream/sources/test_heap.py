"""What is freed goes back to the system; see also `test_connection.py`."""

import threading

import pytest

from edgecv.stream.sources.heap import trim_heap

from .holes import HOLES_BYTES, leave_holes, needs_glibc, rss_bytes


@needs_glibc
def test_what_a_thread_has_freed_is_given_back() -> None:
    pins: list[bytes] = []
    before = rss_bytes()
    thread = threading.Thread(target=lambda: pins.append(leave_holes()))
    thread.start()
    thread.join()

    kept = rss_bytes() - before
    trim_heap()

    assert kept > HOLES_BYTES / 2  # or there would be nothing to give back
    assert rss_bytes() - before < HOLES_BYTES / 4


def test_without_glibc_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    trim_heap()
    monkeypatch.setattr("ctypes.CDLL", None)
    monkeypatch.setattr("sys.platform", "darwin")
    trim_heap()
