"""Real network sources on loopback: RTSP by GStreamer's server, HTTP by Python's."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgecv.errors import SourceError
from edgecv.stream.pipeline import Pipeline, StreamResult
from edgecv.stream.sources import Health, open_source

Fake = Any  # the classes of conftest.py, which no test can import


@pytest.fixture
def rtsp_server(shared_data: Path, rtsp_server_factory: Fake) -> Fake:
    """A camera that plays 9.6 seconds of a street at 30 frames a second."""
    return rtsp_server_factory(str(shared_data / "videos" / "dog_person_720p.mp4"))


def test_rtsp_is_a_live_camera(rtsp_server: Fake, fake_model: Fake) -> None:
    begin_s = time.perf_counter()
    source = open_source(rtsp_server.urls[0], timeout_s=10)
    assert "hunter2" not in source.name
    assert source.is_live
    assert source.num_frames is None
    assert source.size_hw == (720, 1280)
    received: list[StreamResult] = []
    with Pipeline(source, fake_model()) as pipeline:
        for result in pipeline.results():
            received.append(result)
            if len(received) == 45:
                break
    first, last = received[1].frame, received[-1].frame  # the very first has no timestamp
    assert first.pts_s is not None
    assert last.pts_s is not None
    # The first key frame is shown, not the next, which comes 8 s later.
    assert received[0].frame.captured_s - begin_s < 4
    # Nothing is lost unnoticed: timestamps go on by a thirtieth of a second per captured frame.
    num_steps = last.index - first.index
    assert num_steps >= 43
    assert (last.pts_s - first.pts_s) / num_steps == pytest.approx(1001 / 30000, rel=0.02)
    # It came at the camera's pace, not in a burst (a small server buffer may come at once).
    assert last.captured_s - first.captured_s > 0.5 * num_steps / 30
    assert all(result.ledger.latency_ms < 1000 for result in received)


def test_a_camera_that_goes_away_ends_the_stream_if_told_so(rtsp_server: Fake) -> None:
    with open_source(rtsp_server.urls[0], timeout_s=10, reconnect=False) as source:
        frames = iter(source)
        for _ in range(5):
            next(frames)
        rtsp_server.close()
        with pytest.raises(SourceError, match="the video breaks off after frame") as caught:
            list(frames)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_path_of_a_camera(rtsp_server: Fake) -> None:
    with pytest.raises(SourceError, match=r"cannot be opened: .*404") as caught:
        open_source(rtsp_server.urls[0].replace("/cam", "/nothing"), timeout_s=5)
    assert "hunter2" not in str(caught.value)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def http_folder(tmp_path: Path) -> Iterator[str]:
    """The address at which `tmp_path` is served."""
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_over_http_is_not_live(
    http_folder: str, tmp_path: Path, video_writer: Callable[..., Path]
) -> None:
    video_writer(tmp_path / "v.mp4", 12)
    with open_source(f"{http_folder}/v.mp4") as source:
        assert (source.is_live, source.num_frames) == (False, 12)
        assert [frame.index for frame in source] == list(range(12))
        assert source.health == Health(12)
    with pytest.raises(SourceError, match=r"cannot be opened: .*404"):
        open_source(f"{http_folder}/w.mp4?token=x")


@pytest.mark.parametrize("ends", [True, False])
def test_hls(http_folder: str, tmp_path: Path, *, ends: bool) -> None:
    options = {"hls_time": "0.4", "hls_list_size": "0"}
    with av.open(str(tmp_path / "v.m3u8"), "w", format="hls", options=options) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index in range(30):
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    if not ends:
        playlist = tmp_path / "v.m3u8"
        playlist.write_text(playlist.read_text().replace("#EXT-X-ENDLIST", ""))
    with open_source(f"{http_folder}/v.m3u8#timeout=5") as source:
        assert source.is_live is not ends
        num_frames = 30 if ends else 20  # the last ones of a live list wait for its next segment
        frames = list(islice(source, num_frames))
    assert len(frames) == num_frames
    steps = np.diff([frame.pts_s for frame in frames])
    assert steps == pytest.approx(0.04, abs=1e-3)
    for left in threading.enumerate():  # FFmpeg waits for the next segment, and is not to be woken
        if left.name.startswith("edgecv-"):
            left.join(10)


def test_a_transport_stream_by_udp(tmp_path: Path, video_writer: Callable[..., Path]) -> None:
    data = video_writer(tmp_path / "v.ts", 50).read_bytes()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stopped = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while True:
                for begin in range(0, len(data), 7 * 188):
                    sender.sendto(data[begin : begin + 7 * 188], ("127.0.0.1", port))
                    if stopped.wait(0.001):
                        return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with open_source(f"udp://127.0.0.1:{port}", timeout_s=5) as source:
            assert (source.is_live, source.size_hw) == (True, (48, 64))
            times = [frame.pts_s or 0.0 for frame in islice(source, 120)]
            health = source.health
    finally:
        stopped.set()
        thread.join()
    assert (health.num_frames, health.num_reconnects, health.num_restarts) == (120, 0, 0)
    assert times == sorted(set(times))  # though the film begins again and again


def test_a_udp_port_at_which_nothing_comes() -> None:
    with pytest.raises(SourceError, match=r"`udp://127.0.0.1:9`: .*no answer within 0.3 s"):
        open_source("udp://127.0.0.1:9", timeout_s=0.3)
