"""Real network cameras on loopback that drop, stall, corrupt and change size on command."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources import Frame, Health, open_source

Fake = Any  # the classes of conftest.py, which no test can import


@pytest.mark.parametrize("transport", ["tcp", pytest.param("udp", marks=pytest.mark.slow)])
def test_a_camera_that_drops_stalls_and_changes_its_size(
    rtsp_server_factory: Fake, transport: str
) -> None:
    server, notices = rtsp_server_factory("--cameras", "1"), Notices()
    url = f"{server.urls[0]}#transport={transport}"
    times: list[float] = []
    with open_source(url, timeout_s=5, notices=notices) as source:
        frames = iter(source)

        def until(is_reached: Callable[[Health], bool]) -> Frame:
            while True:
                frame = next(frames)
                if frame.pts_s is not None:
                    times.append(frame.pts_s)
                assert frame.index + 1 == source.health.num_frames
                if is_reached(source.health):
                    return frame

        until(lambda health: health.num_frames == 5)
        server.tell("drop")
        until(lambda health: health.num_reconnects == 1)
        server.tell("stall")
        # It sends again as soon as it was found out, and no moment before.
        notices.listen(
            lambda notice: server.tell("resume") if "no frame for" in notice.text else None
        )
        until(lambda health: health.num_restarts == 1)
        server.tell("resize", 0, "640x480")
        assert until(lambda health: health.num_format_changes == 1).size_hw == (480, 640)
        assert source.size_hw == (480, 640)
        server.tell("corrupt", 0, 0.05)
        until(lambda health: health.num_corrupt > 0)
        server.tell("corrupt", 0, 0)
        sound = source.health.num_frames
        until(lambda health: health.num_frames == sound + 10)
        health = source.health
    assert (health.num_reconnects, health.num_restarts) == (1, 1)
    assert times == sorted(set(times))
    texts = [notice.text for notice in notices.recent()]
    assert not any("hunter2" in text for text in texts)
    kinds = [notice.kind for notice in notices.recent()]
    assert kinds[:5] == ["reconnect", "reconnect", "stall", "stall", "format"]


def test_a_camera_is_awaited_while_its_port_is_shut(rtsp_server_factory: Fake) -> None:
    server, notices = rtsp_server_factory("--cameras", "1"), Notices()

    def open_again(notice: Fake) -> None:
        if "still away" in notice.text:
            server.tell("up")

    with open_source(server.urls[0], timeout_s=5, notices=notices) as source:
        frames = iter(source)
        next(frames)
        notices.listen(open_again)
        server.tell("down")
        for frame in frames:  # noqa: B007  # the last one is asked for
            if source.health.num_reconnects:
                break
        assert source.health.num_frames == frame.index + 1
    assert any("Connection refused" in notice.text for notice in notices.recent())


SDP = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:stream=0\r\n"


def fall_silent(listener: socket.socket, num_answers: int) -> None:
    """Answer the first requests of an RTSP client, and nothing more until it hangs up."""
    client, _ = listener.accept()
    with client, client.makefile("rb") as requests:
        for _ in range(num_answers):
            lines = list(iter(requests.readline, b"\r\n"))
            echoed = [line for line in lines if line.startswith((b"CSeq", b"Transport"))]
            body = SDP if lines[0].startswith(b"DESCRIBE") else b""
            head = b"RTSP/1.0 200 OK\r\nSession: 1\r\nContent-Type: application/sdp\r\n"
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            client.sendall(head + b"".join(echoed) + length + body)
        requests.read()


@pytest.mark.parametrize("num_answers", range(4), ids=["at once", "options", "describe", "setup"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_falls_silent_while_it_is_opened(transport: str, num_answers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=fall_silent, args=(listener, num_answers))
        thread.start()
        url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/cam#transport={transport}"
        with pytest.raises(SourceError, match=r"cannot be opened: no answer within 0.3 s\."):
            open_source(url, timeout_s=0.3)
        thread.join(10)
        assert not thread.is_alive()


def test_closing_a_silent_camera_does_not_wait_for_it(rtsp_server_factory: Fake) -> None:
    server = rtsp_server_factory("--cameras", "1")
    source = open_source(server.urls[0], timeout_s=8)
    next(iter(source))
    server.tell("stall")
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (list(source), ended.set()))
    thread.start()
    source.close()
    assert ended.wait(2)
    thread.join()
    # FFmpeg cannot be interrupted: its thread ends with its own timeout, by itself.
    for left in threading.enumerate():
        if left.name.startswith("edgecv-"):
            left.join(10)
            assert not left.is_alive()


# MJPEG over HTTP


class MotionJpeg(BaseHTTPRequestHandler):
    """Answers with the next of the server's scripts: a grey and a height for every picture."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for grey, height in self.server.scripts.pop(0) if self.server.scripts else ():
            buffer = BytesIO()
            Image.fromarray(np.full((height, 64), grey, np.uint8)).save(buffer, "jpeg", quality=95)
            length = len(buffer.getvalue())
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
            self.wfile.write(head.encode() + buffer.getvalue() + b"\r\n")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def mjpeg_camera() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), MotionJpeg) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_mjpeg_over_http(mjpeg_camera: Fake) -> None:
    first, second = [(10 * k, 48) for k in range(1, 8)], [(10 * k, 32) for k in range(11, 18)]
    mjpeg_camera.scripts = [first, second]
    notices = Notices()
    url = f"http://user:hunter2@127.0.0.1:{mjpeg_camera.server_port}/live.mjpg?key=hunter2"
    begin_s = time.perf_counter()
    with open_source(url, timeout_s=5, notices=notices) as source:
        assert (source.is_live, source.fps, source.num_frames) == (True, None, None)
        frames = list(islice(source, len(first) + len(second)))
        took_s = time.perf_counter() - begin_s
        assert source.health == Health(14, num_reconnects=1, num_format_changes=1)
    greys = [int(frame.to_array()[5, 5, 0]) for frame in frames]
    assert greys == pytest.approx([grey for grey, _ in [*first, *second]], abs=3)
    assert [frame.size_hw[0] for frame in frames] == [48] * 7 + [32] * 7
    times = [frame.pts_s or 0.0 for frame in frames]
    assert times == sorted(set(times))
    # By the clock and not at the 25 frames a second that FFmpeg assumes.
    assert times[-1] - times[0] < took_s
    assert not any("hunter2" in notice.text for notice in notices.recent())


def test_a_wrong_address_over_http(mjpeg_camera: Fake) -> None:
    url = f"http://user:hunter2@127.0.0.1:{mjpeg_camera.server_port}/live.mjpg"
    mjpeg_camera.scripts = [[]]
    with pytest.raises(SourceError, match="cannot be opened") as caught:
        open_source(url, timeout_s=5)
    assert "hunter2" not in str(caught.value)
