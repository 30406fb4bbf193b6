"""Real network sources on loopback: RTSP by GStreamer's server, HTTP by Python's."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import SourceError
from edgecv.stream.pipeline import Pipeline, StreamResult, model_stages
from edgecv.stream.sources import open_source

Fake = Any  # the classes of conftest.py, which no test can import

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = str(Path(__file__).with_name("rtsp_server.py"))


@pytest.fixture
def rtsp_server(shared_data: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A camera that plays 7.4 seconds of a road at 30 frames a second, and its URL."""
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"needs {SYSTEM_PYTHON}")
    probe = subprocess.run(
        [SYSTEM_PYTHON, SERVER], capture_output=True, text=True, check=False, timeout=60
    )
    if probe.returncode:
        reason = probe.stderr.strip().splitlines()[-1]
        pytest.skip(
            f"no RTSP server ({reason}): apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        )
    video = shared_data / "videos" / "dog_person_720p.mp4"
    with subprocess.Popen(
        [SYSTEM_PYTHON, SERVER, str(video)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield server, f"rtsp://user:hunter2@127.0.0.1:{int(server.stdout.readline())}/cam"
        server.kill()


def test_rtsp_is_a_live_camera(
    rtsp_server: tuple["subprocess.Popen[str]", str], fake_model: Fake
) -> None:
    begin_s = time.perf_counter()
    source = open_source(rtsp_server[1], timeout_s=10)
    assert "hunter2" not in source.name
    assert source.is_live
    assert source.num_frames is None
    assert source.size_hw == (720, 1280)
    received: list[StreamResult] = []
    with Pipeline(source, model_stages(fake_model())) as pipeline:
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


def test_a_camera_that_goes_away_ends_the_stream(
    rtsp_server: tuple["subprocess.Popen[str]", str],
) -> None:
    server, url = rtsp_server
    with open_source(url, timeout_s=2) as source:
        frames = iter(source)
        for _ in range(5):
            next(frames)
        server.kill()
        # FFmpeg takes a closed connection for the end of the film or for an error.
        with suppress(SourceError):
            assert sum(1 for _ in frames) < 250


def test_a_wrong_path_of_a_camera(rtsp_server: tuple["subprocess.Popen[str]", str]) -> None:
    with pytest.raises(SourceError, match=r"cannot be opened: .*404") as caught:
        open_source(rtsp_server[1].replace("/cam", "/nothing"), timeout_s=5)
    assert "hunter2" not in str(caught.value)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_file_over_http_is_not_live(tmp_path: Path, video_writer: Callable[..., Path]) -> None:
    video_writer(tmp_path / "v.mp4", 12)
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with open_source(f"http://127.0.0.1:{server.server_port}/v.mp4") as source:
                assert not source.is_live
                assert [frame.index for frame in source] == list(range(12))
            with pytest.raises(SourceError, match=r"cannot be opened: .*404"):
                open_source(f"http://127.0.0.1:{server.server_port}/w.mp4?token=x")
        finally:
            server.shutdown()
            thread.join()
