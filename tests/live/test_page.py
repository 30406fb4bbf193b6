"""The page over real sockets: what its viewers see, and what becomes of the slow ones."""

import threading
from contextlib import ExitStack
from typing import Any

import pytest

from edgecv.errors import InputError
from edgecv.live import Address, LivePage
from edgecv.live.server import Limits
from edgecv.stream.notices import Notices

from .visitor import Shown, any_spec, ask, viewer


def test_a_frame_arrives_with_what_was_found_in_it(show: Shown) -> None:
    with show() as stream, viewer(stream) as watching:
        stream.give()
        content, picture, layer = watching.message()
        assert (content["source"], content["index"], content["pts_s"]) == ("door", 0, 0.0)
        assert (content["width"], content["height"]) == (64, 48)
        assert content["result"] == {
            "kind": "objects",
            "boxes": [[10.0, 12.0, 30.0, 40.0]],
            "scores": [0.6],
            "classes": [1],
            "more": 0,
        }
        assert content["latency_ms"] > 0
        assert picture[:2] == b"\xff\xd8"  # a JPEG begins so
        assert layer == b""


def test_every_picture_belongs_to_its_boxes(show: Shown) -> None:
    import io

    import numpy as np
    from PIL import Image

    with show() as stream, viewer(stream) as watching:
        for _ in range(5):
            stream.give()
            content, picture, _ = watching.message()
            grey = np.asarray(Image.open(io.BytesIO(picture))).mean()
            assert grey == pytest.approx(content["index"] * 10, abs=2)


def test_a_picture_is_made_once_for_all_who_look_and_never_for_nobody(
    show: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.live import tap

    made: list[int] = []
    encoded = tap.encoded

    def counted(result: Any, *args: Any, **options: Any) -> bytes:
        made.append(result.frame.index)
        return encoded(result, *args, **options)

    monkeypatch.setattr(tap, "encoded", counted)
    with show() as stream:
        stream.give()
        with ExitStack() as stack:
            watching = [stack.enter_context(viewer(stream)) for _ in range(3)]
            stream.give()
            assert {each.message()[0]["index"] for each in watching} == {1}
    assert made == [1]


def test_a_viewer_of_one_camera_gets_no_other(show: Shown) -> None:
    with show(num_cameras=2) as stream, viewer(stream, "/stream?source=yard") as watching:
        stream.give(0)
        stream.give(1)
        assert watching.message()[0]["source"] == "yard"


def test_who_comes_before_the_stream_sees_it_begin(show: Shown) -> None:
    with show(is_running=False) as stream, viewer(stream) as watching:
        assert ask(stream, "/readyz")[::2] == (503, b"starting\n")
        refused = ask(stream, "/thresholds", "POST", body=b"{}", Content_Type="application/json")
        assert refused[::2] == (409, b"the stream has not begun.\n")
        assert ask(stream, "/healthz")[0] == 200
        with stream.running():
            assert watching.message("hello")[0]["sources"] == ["door"]
            stream.give()
            assert watching.message()[0]["index"] == 0


def test_a_slow_reader_holds_up_neither_the_stream_nor_others(show: Shown) -> None:
    """It is given what is newest when it reads on, not what it missed."""
    with (
        show() as stream,
        viewer(stream) as quick,
        viewer(stream, receive_bytes=4096) as slow,
    ):
        for index in range(400):  # far more than the system's buffers hold
            stream.give()
            if index % 20 == 0:
                quick.message()
        stream.give()
        while quick.message()[0]["index"] < 400:
            pass
        seen = []
        while not seen or seen[-1] < 400:
            seen.append(slow.message()[0]["index"])
        assert seen == sorted(set(seen))


def test_a_reader_that_stops_is_sent_away(show: Shown) -> None:
    limits = Limits(stall_s=0.2)
    with show(limits=limits, max_width=64) as stream, viewer(stream, receive_bytes=4096) as slow:
        hub = stream.page._hub
        deadline = threading.Event()
        while hub.watchers and not deadline.is_set():
            stream.give()
        assert slow.rest()  # what was on its way, then the end


def test_there_is_room_for_so_many_viewers(show: Shown) -> None:
    with show(limits=Limits(num_clients=2)) as stream, viewer(stream), viewer(stream) as last:
        status, headers, body = ask(stream, "/stream")
        assert (status, headers["Retry-After"]) == (503, "5")
        assert body == b"2 clients are watching already.\n"
        last.close()
        stream.until(lambda: len(stream.page._hub.watchers) == 1)
        with viewer(stream) as another:
            assert another.status == 200


@pytest.mark.parametrize("options", [{"max_fps": 0}, {"max_fps": float("nan")}, {"max_width": 0}])
def test_rates_and_sizes_are_positive(options: Any) -> None:
    with pytest.raises(InputError, match="must be positive"):
        LivePage(any_spec(), Address(0), Notices(), **options)
