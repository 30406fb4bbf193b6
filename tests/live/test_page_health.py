"""How the page fares beside the stream: what hangs, fails and closes."""

import gc
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from edgecv.live import Address, LivePage
from edgecv.stream.notices import Notices

from .visitor import Shown, Viewer, any_spec, ask, viewer


def test_a_stage_that_hangs_is_unhealthy(show: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    with show() as stream:
        monkeypatch.setattr(stream.pipeline, "hung", lambda: ["infer"])
        assert ask(stream, "/healthz")[::2] == (503, b"hung: infer\n")
        stream.give()
        assert ask(stream, "/readyz")[::2] == (503, b"hung: infer\n")


def test_a_failing_page_is_told_once_and_harms_nobody(
    show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.live import tap

    def broken(*_: Any, **__: Any) -> bytes:
        raise ValueError("no such colour")

    with show() as stream, viewer(stream) as watching:
        monkeypatch.setattr(tap, "encoded", broken)
        stream.give()
        stream.give()
        notice = watching.message("status")[0]["notices"]
        while not notice:
            notice = watching.message("status")[0]["notices"]
        monkeypatch.undo()
        stream.give()
        assert watching.message()[0]["index"] == 2
        told = [each.text for each in stream.notices.recent()]
        assert told == ["the live page has failed: a frame cannot be shown: no such colour"]
        monkeypatch.setattr(stream.pipeline, "status", broken)
        assert ask(stream, "/status")[::2] == (500, b"this has failed.\n")
        monkeypatch.undo()
        assert ask(stream, "/status")[0] == 200


def num_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_closing_leaves_no_thread_and_no_socket(show: Shown) -> None:
    gc.collect()
    before = num_descriptors(), threading.active_count()
    with show() as stream:
        first, second = Viewer(stream), Viewer(stream)
        idle = socket.create_connection(("127.0.0.1", stream.page.address.port))
        stream.give()
        first.message()
    for each in (first, second):
        each.rest()  # comes to its end
        each.close()
    idle.close()
    stream.page.close()  # twice does no harm
    stream.page.publish(stream.results[0])
    gc.collect()
    assert (num_descriptors(), threading.active_count()) == before


def test_a_page_that_never_started_gives_its_port_back() -> None:
    page = LivePage(any_spec(), Address(0), Notices())
    page.close()
    with LivePage(any_spec(), page.address, Notices()) as again:
        assert again.address == page.address
