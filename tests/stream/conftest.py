"""Small stand-ins: a source and a model whose results tell which frame they belong to."""

import gc
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.closing import Closing
from edgecv.frame_formats import (
    COLOUR_MATRICES,
    COLOUR_RANGES,
    ColourMatrix,
    ColourRange,
    FrameFormat,
    Pixels,
    frame_size_hw,
    planes_of,
)
from edgecv.output_spec import YoloOutput
from edgecv.placement import Placement
from edgecv.results import Detections
from edgecv.spec import InputSpec, ModelSpec
from edgecv.stream.sources import Frame, Health, Source

CLASSES = ("even", "odd")


class FakeSource(Closing):
    """`num_frames` frames (endless if None) whose first pixel is their index modulo 256."""

    name = "fake"
    fps: float | None = 25.0

    def __init__(
        self,
        num_frames: int | None,
        *,
        is_live: bool = False,
        size_hw: tuple[int, int] = (48, 64),
        before: Callable[[int], None] | None = None,
    ) -> None:
        self.num_frames, self.is_live, self.before = num_frames, is_live, before
        self.size_hw: tuple[int, int] | None = size_hw
        self.health = Health()
        self.num_closed = 0
        self.is_exhausted = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while self.num_frames is None or index < self.num_frames:
            if self.before is not None:
                self.before(index)
            pixels = np.full((*(self.size_hw or (1, 1)), 3), index % 256, np.uint8)
            self.health = Health(num_frames=index + 1)
            yield Frame(index, pixels, "bgr24", pts_s=index / 25)
            index += 1
        self.is_exhausted.set()

    def close(self) -> None:
        self.num_closed += 1


class FakeModel:
    """Finds one object per frame: its left edge is the frame's first pixel.

    `before` is called with the stage's name and the frame's index when a stage begins.
    """

    spec = ModelSpec("detect", CLASSES, InputSpec("images", (8, 8)), YoloOutput())
    answers_later, num_requests = False, 1
    backend = "fake cpu"
    max_batch = 1
    prefers_batches = False

    def __init__(self, before: Callable[[str, int], None] = lambda _stage, _index: None) -> None:
        self.before = before

    def fit(
        self,
        frame: Pixels,
        *,
        format: FrameFormat = "bgr24",  # noqa: A002
        matrix: ColourMatrix = "bt601",
        range: ColourRange = "limited",  # noqa: A002
        out: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], Placement]:
        assert matrix in COLOUR_MATRICES
        assert range in COLOUR_RANGES
        planes = planes_of("FakeModel.fit", frame, format)
        value = planes[0].flat[0]
        self.before("fit", int(value))
        height, width = frame_size_hw(planes)
        placement = Placement.of((height, width), (8, 8), "letterbox")
        image = np.empty((3, 8, 8), np.float32) if out is None else out
        image[:] = value
        return image[None], placement

    def stages(self, _format: FrameFormat) -> bool:
        return False

    def infer(self, batch: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        for image in batch:
            self.before("infer", int(image[0, 0, 0]))
        return {"output0": batch.copy()}  # who gave the batch writes the next into it

    def backend_of(self, _outputs: Mapping[str, NDArray[Any]]) -> str:
        return self.backend

    def finish(self, outputs: Mapping[str, NDArray[Any]], placement: Placement) -> Detections:
        value = int(outputs["output0"][0, 0, 0, 0])
        self.before("postprocess", value)
        height, width = placement.frame_hw
        box = np.array([[min(value, width - 2), 1, width - 1, height - 1]], np.float32)
        return Detections(box, np.array([0.5], np.float32), np.array([value % 2], np.int32))


@pytest.fixture
def fake_source() -> type[FakeSource]:
    return FakeSource


@pytest.fixture
def fake_model() -> type[FakeModel]:
    return FakeModel


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("edgecv-")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every test of this folder ends with the threads that it began with.

    A connection that was given up ends by itself, a moment after the source that it was of.
    """
    yield
    for thread in stream_threads():
        thread.join(10)
    assert stream_threads() == []


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Circles of objects stay: what is let go of goes by its count, or not at all."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def write_video(
    path: Path,
    num_frames: int = 12,
    *,
    size_hw: tuple[int, int] = (48, 64),
    rotation: int = 0,
    fps: int = 25,
    tune: str = "film",
) -> Path:
    """A video with index * 10 as the grey of every frame and a bright left edge."""
    with av.open(str(path), "w") as container:
        options = {"crf": "10", "tune": tune}
        stream = container.add_stream("libx264", rate=fps, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = size_hw
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(num_frames):
            pixels = np.full((*size_hw, 3), index * 10 % 200, np.uint8)
            pixels[:, : size_hw[1] // 4] = 255
            picture = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            picture.pts, picture.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video_writer() -> Callable[..., Path]:
    return write_video


SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SERVER = str(Path(__file__).with_name("rtsp_server.py"))


class RtspServer:
    """A process of `rtsp_server.py`: cameras that fail on command."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, RTSP_SERVER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        ports = self._line().split()
        self.urls = [f"rtsp://user:hunter2@127.0.0.1:{port}/cam" for port in ports]

    def tell(self, command: str, camera: int = 0, *values: object) -> None:
        """Give a command, see `rtsp_server.py`; returns when it acts."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command} {camera} {' '.join(map(str, values))}\n")
        self.process.stdin.flush()
        assert self._line() == "ok\n"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture
def rtsp_server_factory() -> Iterator[Callable[..., RtspServer]]:
    """Starts `rtsp_server.py` with its arguments; skips where GStreamer is not installed."""
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"needs {SYSTEM_PYTHON}")
    probe = subprocess.run(
        [SYSTEM_PYTHON, RTSP_SERVER], capture_output=True, text=True, check=False, timeout=60
    )
    if probe.returncode:
        reason = probe.stderr.strip().splitlines()[-1]
        pytest.skip(
            f"no RTSP server ({reason}): apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        )
    servers: list[RtspServer] = []

    def start(*arguments: str) -> RtspServer:
        servers.append(RtspServer(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def close_while_it_waits() -> Callable[[Source], None]:
    """Closes a source from another thread than the one that waits for its next frame."""

    def close(source: Source) -> None:
        begun, ended = threading.Event(), threading.Event()

        def iterate() -> None:
            for _ in source:
                begun.set()
            ended.set()

        thread = threading.Thread(target=iterate)
        thread.start()
        assert begun.wait(10)
        source.close()
        assert ended.wait(5)
        thread.join()

    return close
