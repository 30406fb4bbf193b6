"""The page over real sockets: what it serves, to whom, and what becomes of those who misbehave."""

import gc
import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import InputError
from edgecv.live import Address, LivePage
from edgecv.live.server import Limits
from edgecv.stream.notices import Notices

Shown = Callable[..., AbstractContextManager[Any]]

TOKEN = "a-token-that-is-long"  # noqa: S105


def ask(
    show: Any,
    path: str,
    method: str = "GET",
    *,
    body: bytes | None = None,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer; of header names `_` becomes `-`."""
    port = show.page.address.port
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def talk(show: Any, sent: bytes) -> bytes:
    """Return everything that is answered to some bytes."""
    with socket.create_connection(("127.0.0.1", show.page.address.port), timeout=20) as raw:
        raw.sendall(sent)
        return b"".join(iter(lambda: raw.recv(1 << 16), b""))


class Viewer:
    """A client of `/stream`."""

    def __init__(
        self, show: Any, path: str = "/stream", *, receive_bytes: int | None = None
    ) -> None:
        self._raw = socket.socket()
        self._raw.settimeout(20)
        if receive_bytes is not None:
            self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._raw.connect(("127.0.0.1", show.page.address.port))
        self._raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._file = self._raw.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline() != b"\r\n":
            pass

    def message(self, kind: str = "frame") -> tuple[Any, bytes, bytes]:
        """Return the next message of a kind."""
        while True:
            lengths = struct.unpack("<III", self._file.read(12))
            data, picture, layer = (self._file.read(length) for length in lengths)
            content = json.loads(data)
            if content["type"] == kind:
                return content, picture, layer

    def rest(self) -> bytes:
        return self._file.read()

    def close(self) -> None:
        self._file.close()
        self._raw.close()


@contextmanager
def viewer(show: Any, path: str = "/stream", **options: Any) -> Iterator[Viewer]:
    watching = Viewer(show, path, **options)
    with closing(watching):
        if watching.status == 200:
            watching.message("status")  # from now on it is watched
        yield watching


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


def test_there_is_room_for_so_many_connections(show: Shown) -> None:
    with show(limits=Limits(num_connections=3)) as stream, ExitStack() as stack:
        place = ("127.0.0.1", stream.page.address.port)
        idle = [stack.enter_context(socket.create_connection(place)) for _ in range(3)]
        stream.until(lambda: len(stream.page._server._tasks) == 3)
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(stream, "/healthz")
        idle[0].close()
        stream.until(lambda: len(stream.page._server._tasks) == 2)
        assert ask(stream, "/healthz")[0] == 200


def test_a_request_that_does_not_come_is_not_waited_for(show: Shown) -> None:
    with show(limits=Limits(request_s=0.1)) as stream:
        answer = talk(stream, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n\r\n", 421),
        (b"POST /thresholds HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /thresholds HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /thresholds HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4097\r\n\r\n", 413),
        (
            b"POST /thresholds HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            501,
        ),
    ],
)
def test_what_is_no_request_is_refused(show: Shown, sent: bytes, status: int) -> None:
    with show(is_running=False) as stream:
        answer = talk(stream, sent)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"Content-Security-Policy: default-src 'none'" in answer


def test_who_leaves_in_the_middle_of_a_request_does_no_harm(show: Shown) -> None:
    with show(is_running=False) as stream:
        for sent in (b"", b"GET / HT", b"POST /thresholds HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"):
            with socket.create_connection(("127.0.0.1", stream.page.address.port)) as raw:
                raw.sendall(sent)
        assert ask(stream, "/healthz")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/../../etc/passwd", "/page.py", "/assets/page.js", "//etc/passwd", "/%2e%2e/"],
)
def test_no_path_reaches_the_disk(show: Shown, path: str) -> None:
    with show(is_running=False) as stream:
        assert ask(stream, path)[::2] == (404, b"there is no such page.\n")


def test_the_files_of_the_page_load_nothing_from_elsewhere(show: Shown) -> None:
    with show(is_running=False) as stream:
        for path, kind in [
            ("/", "text/html; charset=utf-8"),
            ("/page.css", "text/css; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
            ("/icon.svg", "image/svg+xml"),
        ]:
            status, headers, body = ask(stream, path)
            assert (status, headers["Content-Type"]) == (200, kind)
            assert "Access-Control-Allow-Origin" not in headers
            foreign = body.replace(b'xmlns="http://www.w3.org/2000/svg"', b"")
            assert b"http://" not in foreign
            assert b"https://" not in foreign


def test_head_is_get_without_a_body(show: Shown) -> None:
    with show(is_running=False) as stream:
        for path in ("/", "/page.css", "/healthz", "/status", "/stream"):
            status, headers, body = ask(stream, path, "HEAD")
            assert (status, body) == (200, b"")
            assert "Content-Length" in headers


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/", "GET"), ("GET", "/thresholds", "POST"), ("OPTIONS", "/thresholds", "POST")],
)
def test_other_methods_are_refused(show: Shown, method: str, path: str, allowed: str) -> None:
    with show(is_running=False) as stream:
        status, headers, _ = ask(stream, path, method)
        assert (status, headers["Allow"]) == (405, allowed)


# ---- thresholds


def change(stream: Any, body: Any, **headers: str) -> tuple[int, bytes]:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content_Type": "application/json"} | headers
    status, _, answer = ask(stream, "/thresholds", "POST", body=sent, **headers)
    return status, answer


def test_a_threshold_acts_on_the_next_frame_and_no_frame_is_lost(show: Shown) -> None:
    with show() as stream:
        stream.give()
        status, body = change(stream, {"score": 0.7})
        assert status == 200
        assert json.loads(body)["score"] == {"value": 0.7, "fixed": ""}
        stream.give()
        assert change(stream, {"score": 0.5, "iou": 0.3})[0] == 200
        stream.give()
        assert [len(result.result) for result in stream.results] == [1, 0, 1]
        assert [result.frame.index for result in stream.results] == [0, 1, 2]
        controls = json.loads(ask(stream, "/status")[2])["controls"]
        assert {name: each["value"] for name, each in controls.items()} == {
            "score": 0.5,
            "iou": 0.3,
        }


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "JSON object"),
        (b"[0.5]", "JSON object"),
        (b"{}", "JSON object"),
        (b'{"score": 1.5}', "in [0, 1], got 1.5"),
        (b'{"score": -0.1}', "in [0, 1]"),
        (b'{"score": NaN}', "in [0, 1]"),
        (b'{"score": true}', "in [0, 1]"),
        (b'{"score": "0.5"}', "in [0, 1]"),
        (b'{"max_detections": 3}', "no threshold 'max_detections'"),
        (b"[" * 4000, "JSON object"),
    ],
)
def test_a_threshold_that_is_none_is_refused(show: Shown, body: bytes, told: str) -> None:
    with show() as stream:
        status, answer = change(stream, body)
        assert status == 422
        assert told in answer.decode()
        assert stream.pipeline.settings.effective["score"] == 0.25


def test_a_threshold_inside_the_graph_is_told_to_be_fixed(show: Shown, finder: Any) -> None:
    with show(model=finder(has_fixed_score=True)) as stream:
        controls = json.loads(ask(stream, "/status")[2])["controls"]
        reason = "the score threshold is fixed inside this graph. Export it anew."
        assert controls["score"] == {"value": None, "fixed": reason}
        assert controls["iou"]["fixed"] == ""
        assert change(stream, {"score": 0.5}) == (422, f"{reason}\n".encode())
        assert change(stream, {"iou": 0.5})[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
    ],
)
def test_other_sites_change_nothing(show: Shown, headers: dict[str, str], status: int) -> None:
    with show() as stream:
        assert change(stream, {"score": 0.9}, **headers)[0] == status
        assert stream.pipeline.settings.effective["score"] == (0.9 if status == 200 else 0.25)


# ---- who may see it


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "a:b"])
def test_a_name_that_begins_to_resolve_here_is_refused(show: Shown, host: str) -> None:
    with show(is_running=False) as stream:
        assert ask(stream, "/status", Host=host)[0] == 421
        assert ask(stream, "/", Host=host)[0] == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:9", "[::1]:8080"])
def test_its_own_names_are_known(show: Shown, host: str) -> None:
    with show(is_running=False) as stream:
        assert ask(stream, "/status", Host=host)[0] == 200


@pytest.mark.parametrize("path", ["/status", "/stream", "/metrics"])
def test_without_the_token_nothing_is_told(show: Shown, path: str) -> None:
    with show(is_running=False, token=TOKEN) as stream:
        status, headers, body = ask(stream, path)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert body == b"show the token.\n"
        for wrong in ("Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xff"):
            assert ask(stream, path, Authorization=wrong)[0] == 401
        assert ask(stream, path, "HEAD", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_the_token_becomes_a_cookie(show: Shown) -> None:
    with show(token=TOKEN) as stream:
        assert stream.page.url.endswith(f"/?token={TOKEN}")
        status, _, body = ask(stream, "/")
        assert status == 401
        assert b'name="token"' in body
        assert ask(stream, "/?token=wrong")[0] == 401
        status, headers, _ = ask(stream, f"/?token={TOKEN}")
        assert (status, headers["Location"]) == (303, "/")
        cookie, *flags = headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(flags)
        assert TOKEN not in cookie
        assert cookie.startswith(f"edgecv-{stream.page.address.port}=")
        assert ask(stream, "/", Cookie=f"a=b; {cookie}")[0] == 200
        assert ask(stream, "/status", Cookie=cookie[:-1])[0] == 401
        assert change(stream, {"score": 0.5})[0] == 401
        assert change(stream, {"score": 0.5}, Cookie=cookie)[0] == 200
        # It is known by any name then: a foreign site has no cookie for it.
        assert ask(stream, "/", Host="jetson.example", Cookie=cookie)[0] == 200


def test_probes_need_no_token(show: Shown) -> None:
    with show(token=TOKEN) as stream:
        assert ask(stream, "/healthz")[::2] == (200, b"ok\n")
        assert ask(stream, "/readyz")[::2] == (503, b"no source gives frames: waiting\n")
        stream.give()
        assert ask(stream, "/readyz")[::2] == (200, b"ok\n")


def test_elsewhere_a_token_is_made() -> None:
    with LivePage(_spec(), Address(0, "0.0.0.0"), Notices()) as page:  # noqa: S104
        first = page.url
        assert "/?token=" in first
        assert socket.gethostname() in first
    with LivePage(_spec(), Address(0, "0.0.0.0"), Notices()) as page:  # noqa: S104
        assert page.url.partition("=")[2] != first.partition("=")[2]


def _spec() -> Any:
    from edgecv.output_spec import YoloOutput
    from edgecv.spec import InputSpec, ModelSpec

    return ModelSpec("detect", ("cat",), InputSpec("images", (8, 8)), YoloOutput())


@pytest.mark.parametrize("token", ["short", "", "é" * 20, "a\nb" * 9])
def test_a_token_that_can_be_guessed_is_refused(token: str) -> None:
    with pytest.raises(InputError, match=r"at least 16 characters .*Leave it out"):
        LivePage(_spec(), Address(0), Notices(), token=token)


@pytest.mark.parametrize("options", [{"max_fps": 0}, {"max_fps": float("nan")}, {"max_width": 0}])
def test_rates_and_sizes_are_positive(options: Any) -> None:
    with pytest.raises(InputError, match="must be positive"):
        LivePage(_spec(), Address(0), Notices(), **options)


# ---- how it fares


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
    page = LivePage(_spec(), Address(0), Notices())
    page.close()
    with LivePage(_spec(), page.address, Notices()) as again:
        assert again.address == page.address
