"""An encoded video through a pipe, for real."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import SourceError
from edgecv.stream.sources.standard_input import PipedInput
from edgecv.stream.sources.video import open_standard_input

READ = """
from edgecv.stream.sources import Source, open_source
with open_source("-") as source:
    assert isinstance(source, Source)
    frames = [frame.pts_s for frame in source]
    print(source.name, source.is_live, source.size_hw, len(frames), source.health.num_frames)
"""


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mjpeg", ".h264"])
def test_a_video_is_piped_in(
    tmp_path: Path, video_writer: Callable[..., Path], suffix: str
) -> None:
    if suffix == ".mjpeg":
        from PIL import Image

        path = tmp_path / "v.mjpeg"
        with path.open("wb") as file:
            for grey in range(12):
                Image.new("RGB", (64, 48), (grey, grey, grey)).save(file, "jpeg")
    else:
        path = video_writer(tmp_path / f"v{suffix}", 12)
    with path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", READ],
            cwd=tmp_path,  # not the checkout, whose package has no native module
            stdin=file,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "standard input False (48, 64) 12 12\n"


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A pipe in place of standard input: its two ends."""
    reading, writing = os.pipe()

    class Standard:
        def fileno(self) -> int:
            return reading

    monkeypatch.setattr(sys, "__stdin__", Standard())
    yield reading, writing
    os.close(reading)
    with suppress(OSError):  # a test may have closed it
        os.close(writing)


def test_closing_ends_the_wait_for_more(
    tmp_path: Path,
    video_writer: Callable[..., Path],
    piped: tuple[int, int],
    close_while_it_waits: Any,
) -> None:
    data = video_writer(tmp_path / "v.mkv", 60).read_bytes()
    feeder = threading.Thread(target=os.write, args=(piped[1], data))
    feeder.start()  # and the pipe stays open
    source = open_standard_input()
    close_while_it_waits(source)
    feeder.join()


def test_an_interrupted_read_returns_nothing(piped: tuple[int, int]) -> None:
    pipe = PipedInput.of_standard_input()
    os.write(piped[1], b"abc")
    assert pipe.read(2) == b"ab"
    read: list[bytes] = []
    assert pipe.read(9) == b"c"
    thread = threading.Thread(target=lambda: read.append(pipe.read(9)))
    thread.start()
    pipe.interrupt()
    thread.join()
    pipe.interrupt()
    assert read == [b""]
    os.write(piped[1], b"d")
    assert pipe.read(1) == b""
    pipe.close()
    pipe.close()
    pipe.interrupt()


def test_a_pipe_of_something_else(piped: tuple[int, int]) -> None:
    os.write(piped[1], b"dear diary\n" * 100)
    os.close(piped[1])
    with pytest.raises(SourceError, match=r"standard input: FFmpeg cannot read .* Pipe in MPEG-TS"):
        open_standard_input()


@pytest.mark.parametrize("kind", ["terminal", "closed", "absent"])
def test_nothing_is_piped_in(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    controlling, terminal = os.openpty()
    with os.fdopen(controlling, "rb"), os.fdopen(terminal, "rb") as file:
        if kind == "closed":
            file.close()
        monkeypatch.setattr(sys, "__stdin__", None if kind == "absent" else file)
        found = "a terminal" if kind == "terminal" else "nothing"
        with pytest.raises(SourceError, match=f"a video must be piped in, found {found}"):
            open_standard_input()


def test_a_close_waits_for_an_interruption(
    piped: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the descriptor that is written to might be another file's by then."""
    pipe, write = PipedInput(piped[0]), os.write
    closer = threading.Thread(target=pipe.close)

    def written(descriptor: int, data: bytes) -> int:
        closer.start()
        closer.join(0.2)
        os.fstat(descriptor)  # OSError if it is closed
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", written)
    pipe.interrupt()
    closer.join(10)
    assert pipe._is_closed
