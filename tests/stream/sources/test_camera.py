"""V4L2 cameras without one: what FFmpeg is asked for, and what happens when it is unplugged."""

import errno
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources import Health, open_source
from edgecv.stream.sources.container import ContainerConnection
from edgecv.stream.sources.health import HealthRecord

Asked = list[tuple[str, str, dict[str, str]]]


@pytest.fixture
def unplugged_camera(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """Four pictures, then it is unplugged; the next attempt fails, the one after it succeeds.

    Returns what FFmpeg was asked for.
    """
    path = tmp_path / "v.mjpeg"
    with path.open("wb") as file:
        for _ in range(4):
            Image.new("RGB", (64, 48)).save(file, "jpeg")
    asked: Asked = []
    real_open = av.open

    def fake_open(device: str, *, format: str, options: dict[str, str], timeout: object) -> Any:  # noqa: A002
        assert timeout
        asked.append((device, format, options))
        if len(asked) == 2:
            raise av.OSError(errno.ENODEV, "No such device")
        return real_open(str(path), format="mjpeg")

    monkeypatch.setattr("edgecv.stream.sources.camera.av.open", fake_open)
    return asked


def test_a_camera_is_asked_for_size_rate_and_format(unplugged_camera: Asked) -> None:
    notices = Notices()
    with open_source("camera:3?size=1280x720&fps=30&format=yuyv", notices=notices) as source:
        assert (source.is_live, source.name, source.size_hw) == (True, "camera 3", (48, 64))
    options = {"video_size": "1280x720", "framerate": "30", "input_format": "yuyv422"}
    assert unplugged_camera == [("/dev/video3", "v4l2", options)]
    assert [notice.text for notice in notices.recent()] == [
        "`camera 3`: it does not make 1280x720 and delivers 64x48."
    ]


@pytest.mark.parametrize(
    ("uri", "device"),
    [
        (0, "/dev/video0"),
        ("2", "/dev/video2"),
        ("camera:2", "/dev/video2"),
        ("camera:/dev/v4l/by-id/usb-x", "/dev/v4l/by-id/usb-x"),
    ],
)
def test_a_camera_has_a_number_or_a_place(
    unplugged_camera: Asked, uri: str | int, device: str
) -> None:
    with open_source(uri):
        assert unplugged_camera == [(device, "v4l2", {})]


def test_a_camera_that_is_unplugged_is_taken_up_when_it_is_back(unplugged_camera: Asked) -> None:
    notices = Notices()
    with open_source("camera:3", notices=notices) as source:
        assert len(list(islice(source, 6))) == 6
        assert source.health == Health(6, num_reconnects=1)
    assert len(unplugged_camera) == 3
    texts = [notice.text for notice in notices.recent()]
    assert "No such device; cameras on this machine:" in texts[1]


def test_a_camera_that_is_not_there_lists_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv.stream.sources.camera.camera_numbers", lambda: [2, 4])
    with pytest.raises(SourceError, match=r"cameras on this machine: 2, 4. Plug it in"):
        open_source("camera:/dev/nothing9")


def test_a_camera_tells_when_it_saw_a_frame(
    tmp_path: Path, video_writer: Callable[..., Path]
) -> None:
    with av.open(str(video_writer(tmp_path / "v.mp4", 2, tune="zerolatency"))) as container:
        connection = ContainerConnection(
            container, "cam", HealthRecord("cam"), is_live=True, has_clock=True
        )
        first, second = islice(connection.packets(), 2)
        # Stamped 0.04 s on the monotonic clock and fetched 30 ms later; or by another clock.
        ((frame, _),) = connection.frames(first, 0.03)
        assert (frame.pts_s, frame.captured_s) == (0.0, 0.0)
        now_s = time.perf_counter() + 100
        ((frame, _),) = connection.frames(second, now_s)
        assert frame.captured_s == now_s
