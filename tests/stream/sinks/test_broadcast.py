"""HLS on disk, and RTSP to a real server, to ones that fail, and to ones that hang."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import pytest

from edgecv.errors import InputError, OutputError
from edgecv.stream.sinks.hls import HlsSink
from edgecv.stream.sinks.rtsp import RtspSink

MakeResult = Callable[..., Any]

SYSTEM_PYTHON = "/usr/bin/python3"
RECORDER = str(Path(__file__).with_name("rtsp_recorder.py"))


def num_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def segments(playlist: Path) -> list[str]:
    return [line for line in playlist.read_text().splitlines() if line.endswith(".ts")]


def test_a_playlist_with_segments(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "live" / "door.m3u8"
    with HlsSink(path, 25, segment_s=0.4, keep=0) as sink:
        for index in range(31):
            sink.write(result(index, pts_s=index / 25))
    assert sink.name == str(path)
    names = segments(path)
    assert names == ["door0.ts", "door1.ts", "door2.ts", "door3.ts"]
    assert [num_frames(path.parent / name) for name in names] == [10, 10, 10, 1]
    text = path.read_text()
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in text
    assert text.rstrip().endswith("#EXT-X-ENDLIST")
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(["door.m3u8", *names])


def test_old_segments_go(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "door.m3u8"
    with HlsSink(path, 25, segment_s=0.2, keep=2) as sink:
        for index in range(60):
            sink.write(result(index, pts_s=index / 25))
    assert segments(path) == ["door10.ts", "door11.ts"]
    assert len(list(tmp_path.glob("*.ts"))) <= 4  # one that a slow reader may still be at


def test_another_size_and_another_run_go_on(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "door.m3u8"
    with HlsSink(path, 25) as sink:
        sink.write(result(0))
        sink.write(result(1, size_hw=(24, 32)))
        sink.discard()
    with HlsSink(path, 25) as sink:
        sink.write(result(2))
    assert len(segments(path)) == len(set(segments(path))) == 3
    assert path.read_text().count("#EXT-X-DISCONTINUITY\n") >= 2


def test_a_folder_that_cannot_be(tmp_path: Path, result: MakeResult) -> None:
    (tmp_path / "file").touch()
    sink = HlsSink(tmp_path / "file" / "door.m3u8", 25)
    with pytest.raises(OutputError, match="choose another place"):
        sink.write(result(0))
    sink.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from edgecv.errors import OutputError
from edgecv.results import Detections
from edgecv.stream.ledger import Ledger
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.hls import HlsSink
from edgecv.stream.sources import Frame

resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
rng = np.random.default_rng(0)
with HlsSink(Path(sys.argv[1]), 25, segment_s=1) as sink:
    for index in range(75):
        pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
        frame = Frame(index, pixels, "bgr24", index / 25)
        try:
            sink.write(StreamResult(frame, Detections.empty(), Ledger(0)))
        except OutputError as error:
            print(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
"""


def test_a_full_disk_is_told_and_the_playlist_goes_on(tmp_path: Path) -> None:
    """FFmpeg's muxer alone would go on writing segments of half their size."""
    path = tmp_path / "door.m3u8"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        cwd=tmp_path,  # not the checkout, whose package has no native module
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == (
        f"cannot write `{path}`: File too large. "
        "Free some space or choose another place; whole segments are kept.\n"
    )
    assert sum(num_frames(tmp_path / name) for name in segments(path)) >= 45


@pytest.mark.parametrize("options", [{"segment_s": 0}, {"keep": -1}])
def test_limits_of_hls(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="`segment_s` must be greater than 0 and `keep` at least"):
        HlsSink("x.m3u8", 25, **options)  # type: ignore[arg-type]


# RTSP


Recorder = tuple["subprocess.Popen[str]", int, Path]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A server that records, its port and the file that it writes."""
    with recording(tmp_path / "recorded.h264") as recorder:
        yield recorder


@contextmanager
def recording(path: Path, *certificate: Path) -> Iterator[Recorder]:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"needs {SYSTEM_PYTHON}")
    probe = subprocess.run(
        [SYSTEM_PYTHON, RECORDER], capture_output=True, text=True, check=False, timeout=60
    )
    if probe.returncode:
        pytest.skip(
            f"no RTSP server ({probe.stderr.strip().splitlines()[-1]}): apt install python3-gi "
            "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        )
    with subprocess.Popen(
        [SYSTEM_PYTHON, RECORDER, str(path), *map(str, certificate)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield server, int(server.stdout.readline()), path
        server.kill()


def test_a_server_records_what_is_pushed(recorder: Recorder, result: MakeResult) -> None:
    _, port, path = recorder
    url = f"rtsp://me:hunter2@127.0.0.1:{port}/cam"
    assert RtspSink(url, 25).name == f"rtsp://127.0.0.1:{port}/cam"
    assert_recorded(url, path, result)


def test_a_server_that_is_trusted_records_by_tls(
    tmp_path: Path,
    certificate: tuple[Path, Path],
    result: MakeResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "recorded.h264"
    with recording(path, *certificate) as (_, port, _):
        url = f"rtsps://127.0.0.1:{port}/cam"
        with (
            RtspSink(url, 25) as stranger,
            pytest.raises(OutputError, match="certificate verify failed"),
        ):
            stranger.write(result(0))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert_recorded(url, path, result)


def assert_recorded(url: str, path: Path, result: MakeResult) -> None:
    with RtspSink(url, 25) as sink:
        for index in range(50):
            sink.write(result(index, pts_s=index / 25))
        # The server writes when it gets round to it, and drops what it has not at the end.
        end_s, count = time.monotonic() + 30, 0
        while count < 45 and time.monotonic() < end_s:
            time.sleep(0.02)
            with suppress(FileNotFoundError, av.InvalidDataError):  # the last packet in part
                count = num_frames(path)
    assert 45 <= count <= 50


def test_a_path_that_the_server_has_not(recorder: Recorder, result: MakeResult) -> None:
    sink = RtspSink(f"rtsp://me:hunter2@127.0.0.1:{recorder[1]}/nothing", 25)
    with pytest.raises(
        OutputError, match=r"cannot be streamed to: .*it accepts recordings"
    ) as told:
        sink.write(result(0))
    assert "hunter2" not in str(told.value)


def test_a_server_that_dies_and_comes_not_back(recorder: Recorder, result: MakeResult) -> None:
    server, port, _ = recorder
    with RtspSink(f"rtsp://127.0.0.1:{port}/cam", 25) as sink:
        sink.write(result(0))
        server.kill()
        server.wait()
        with pytest.raises(  # noqa: PT012  # which one is not foreseen
            OutputError, match=r"the server closed the connection|Broken pipe|reset by peer"
        ):
            for index in range(1, 500):
                sink.write(result(index))
        with pytest.raises(OutputError, match=r"Connection refused. Check address"):
            sink.write(result(500))


def test_nobody_listens(result: MakeResult) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OutputError, match=r"streamed to: Connection refused. Check address"):
        RtspSink(f"rtsp://127.0.0.1:{port}/cam", 25).write(result(0))


class FakeServer:
    """Answers the first `num_answers` requests of an RTSP client, then does what it is told."""

    def __init__(self, num_answers: int, then: Callable[[socket.socket], object]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.num_answers, self.then = num_answers, then
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        client, _ = self.listener.accept()
        with client:
            text = b""
            for _ in range(self.num_answers):
                while b"\r\n\r\n" not in text:
                    text += client.recv(65536)
                head, _, text = text.partition(b"\r\n\r\n")
                fields = dict(
                    line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
                )
                length = int(fields.get(b"Content-Length", b"0"))
                while len(text) < length:
                    text += client.recv(65536)
                text = text[length:]
                answer = b"RTSP/1.0 200 OK\r\nCSeq: " + fields[b"CSeq"] + b"\r\nSession: 1\r\n"
                answer += b"Public: OPTIONS, ANNOUNCE, SETUP, RECORD, TEARDOWN\r\n"
                if b"Transport" in fields:
                    answer += b"Transport: " + fields[b"Transport"] + b"\r\n"
                client.sendall(answer + b"\r\n")
            self.then(client)

    def __enter__(self) -> "FakeServer":  # noqa: PYI034  # nobody inherits from it
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(20)
        self.listener.close()


def until_gone(client: socket.socket) -> None:
    """Say nothing more, read nothing more; see the other side hang up."""
    client.settimeout(20)
    while client.recv(65536):
        pass


@pytest.mark.parametrize("num_answers", [0, 1, 2])
def test_a_server_that_falls_silent_in_the_handshake(num_answers: int, result: MakeResult) -> None:
    with FakeServer(num_answers, until_gone) as server:
        sink = RtspSink(f"rtsp://127.0.0.1:{server.port}/cam", 25, timeout_s=0.2)
        with pytest.raises(OutputError, match=r"streamed to: no answer within 0.2 s. Check"):
            sink.write(result(0))


@pytest.mark.parametrize("num_answers", [0, 2])
def test_a_server_that_closes_in_the_handshake(num_answers: int, result: MakeResult) -> None:
    with FakeServer(num_answers, lambda _client: None) as server:
        sink = RtspSink(f"rtsp://127.0.0.1:{server.port}/cam", 25)
        with pytest.raises(OutputError, match=r"closed the connection|reset by peer"):
            sink.write(result(0))


def test_a_server_that_takes_nothing_any_more(result: MakeResult) -> None:
    may_close = threading.Event()
    with FakeServer(3, lambda _client: may_close.wait(20)) as server:
        sink = RtspSink(f"rtsp://127.0.0.1:{server.port}/cam", 25, timeout_s=1)
        import numpy as np

        noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
        with pytest.raises(OutputError, match=r"took nothing for 1 s"):  # noqa: PT012  # which one is not foreseen
            for index in range(2000):
                given = result(index, size_hw=(360, 640))
                given.frame.pixels[:] = np.roll(noise, index, axis=0)
                sink.write(given)
        may_close.set()
        sink.close()


def test_waiting_for_a_server_can_be_interrupted(result: MakeResult) -> None:
    is_asked = threading.Event()

    def hang(client: socket.socket) -> None:
        client.recv(1)
        is_asked.set()
        until_gone(client)

    with FakeServer(0, hang) as server:
        sink = RtspSink(f"rtsp://127.0.0.1:{server.port}/cam", 25, timeout_s=60)

        def interrupt() -> None:
            assert is_asked.wait(20)
            sink.interrupt(is_final=True)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(OutputError, match="it was interrupted"):
            sink.write(result(0))
        thread.join()


@pytest.mark.parametrize("url", ["rtsp:///path", "rtsp://host:0/x", "rtsp://me:pw@host:99999/x"])
def test_refused_addresses(url: str) -> None:
    with pytest.raises(InputError, match="a host and a port from 1 to 65535") as caught:
        RtspSink(url, 25)
    assert "pw" not in str(caught.value)
