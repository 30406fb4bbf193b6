"""GStreamer pipelines for real, and its data protocol against what it sends."""

import shutil
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources import Health, Source, open_source
from edgecv.stream.sources.gdp import parse_caps, parse_header

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None,
    reason="no gst-launch-1.0: apt install gstreamer1.0-tools gstreamer1.0-plugins-bad",
)
FORMATS = {
    "NV12": "nv12",
    "I420": "yuv420p",
    "YUY2": "yuyv422",
    "BGR": "bgr24",
    "RGB": "rgb24",
    "GRAY8": "gray8",
}


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = set(Path("/proc/self/fd").iterdir())
    yield
    for thread in threading.enumerate():  # that of a pipeline closes them
        if thread.name.startswith("edgecv-"):
            thread.join(10)
    assert len(set(Path("/proc/self/fd").iterdir())) <= len(before)


@needs_gstreamer
@pytest.mark.parametrize("size_hw", [(48, 64), (31, 50), (33, 54)])
@pytest.mark.parametrize("name", FORMATS)
def test_frames_stay_as_they_are_made(name: str, size_hw: tuple[int, int]) -> None:
    caps = f"video/x-raw,format={name},width={size_hw[1]},height={size_hw[0]},framerate=25/1"
    with open_source(f"gst://videotestsrc pattern=red num-buffers=3 ! {caps} ! appsink") as source:
        assert isinstance(source, Source)
        assert (source.is_live, source.fps, source.size_hw) == (False, 25.0, size_hw)
        frames = list(source)
        assert source.health == Health(3)
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.04, 0.08], abs=1e-6)
    for frame in frames:
        assert (frame.format, frame.size_hw) == (FORMATS[name], size_hw)
        pixels = frame.to_array("rgb24").astype(int)
        red = (pixels[0, 0, 0],) * 3 if name == "GRAY8" else (255, 0, 0)
        # To every border: a wrong stride or plane would show. Studio range rounds by up to 3.
        assert np.abs(pixels - red).max() <= 3


@needs_gstreamer
def test_a_format_that_no_kernel_reads_is_converted() -> None:
    uri = "gst://videotestsrc num-buffers=1 ! video/x-raw,format=ARGB64,width=64,height=48"
    with open_source(uri) as source:  # the `appsink` may be left out
        (frame,) = source
    assert frame.format in FORMATS.values()
    assert frame.size_hw == (48, 64)


@needs_gstreamer
def test_what_is_live_is_started_again_when_it_ends() -> None:
    notices = Notices()
    caps = "video/x-raw,format=NV12,width=64,height=48,framerate=100/1"
    uri = f"gst://videotestsrc is-live=true num-buffers=4 ! {caps} ! appsink drop=true"
    with open_source(uri, notices=notices) as source:
        assert source.is_live
        frames = list(islice(source, 6))
        assert source.health == Health(6, num_reconnects=1)
    times = [frame.pts_s for frame in frames]
    assert times == sorted(set(times))
    assert "the sender ended the stream, after frame 4" in notices.recent()[0].text


@needs_gstreamer
def test_a_pipeline_that_hangs_is_killed_and_started_again() -> None:
    # The second picture is 1000 s away.
    caps = "video/x-raw,format=NV12,width=64,height=48,framerate=1/1000"
    uri = f"gst://videotestsrc is-live=true ! {caps} ! appsink"
    with open_source(uri, timeout_s=3) as source:
        assert len(list(islice(source, 2))) == 2
        assert source.health == Health(2, num_restarts=1)


@needs_gstreamer
def test_a_change_of_size_in_a_pipeline(tmp_path: Path) -> None:
    # Two pictures one after the other, through one decoder.
    from PIL import Image

    for number, size in enumerate([(64, 48), (32, 24)]):
        Image.new("RGB", size, "red").save(tmp_path / f"{number}.jpg")
    uri = f"gst://multifilesrc location={tmp_path}/%d.jpg stop-index=1 caps=image/jpeg ! jpegdec"
    with open_source(uri) as source:
        assert [frame.size_hw for frame in source] == [(48, 64), (24, 32)]
        assert source.health == Health(2, num_format_changes=1)


@needs_gstreamer
def test_closing_kills_a_pipeline_that_waits(close_while_it_waits: Any) -> None:
    caps = "video/x-raw,format=NV12,width=64,height=48,framerate=1/1000"
    source = open_source(f"gst://videotestsrc is-live=true ! {caps} ! appsink", timeout_s=600)
    close_while_it_waits(source)


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        ("nosuchelement ! appsink", 'no element "nosuchelement"'),
        ("videotestsrc ! fakesink", "could not link"),
        ("filesrc location=/gone ! decodebin ! appsink", "filesrc0: Resource not found"),
        ("videotestsrc num-buffers=0 ! appsink", "it ended with exit code 0"),
        (
            "rtspsrc location=rtsp://u:hunter2@127.0.0.1:9/x user-pw=hunter2 ! decodebin",
            "rtspsrc0: Could not open resource",
        ),
    ],
)
def test_a_pipeline_that_cannot_run(pipeline: str, reason: str) -> None:
    with pytest.raises(SourceError, match=f"the pipeline made no frame: .*{reason}") as caught:
        open_source(f"gst://{pipeline}", timeout_s=20)
    assert str(caught.value).endswith("Try the pipeline with `gst-launch-1.0`.")
    assert "hunter2" not in str(caught.value)


@needs_gstreamer
def test_a_pipeline_that_never_makes_a_frame() -> None:
    with pytest.raises(SourceError, match=r"the pipeline made no frame: none within 0.5 s"):
        open_source("gst://appsrc ! appsink", timeout_s=0.5)


@needs_gstreamer
def test_a_csi_camera_that_is_not_there() -> None:
    with pytest.raises(SourceError, match=r"`csi://0`: .*Check the ribbon cable"):
        open_source("csi://0", timeout_s=5)


def test_without_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SourceError, match=r"needs GStreamer's `gst-launch-1.0`.*apt install"):
        open_source("gst://videotestsrc ! appsink")


# The protocol


def test_headers_of_another_version_are_refused() -> None:
    header = bytes([1, 0, 1, 0, 0, 1, 0, 0, 9, 36, *(1_500_000_000).to_bytes(8, "big")]).ljust(62)
    assert (parse_header(header).type, parse_header(header).num_bytes) == (1, 2340)
    assert parse_header(header).pts_s == 1.5
    assert parse_header(header[:10] + b"\xff" * 8 + header[18:]).pts_s is None
    with pytest.raises(SourceError, match=r"version 0\.2 of its data protocol"):
        parse_header(b"\x00\x02" + header[2:])


@pytest.mark.parametrize(
    ("colorimetry", "expected"),
    [
        ("bt601", ("bt601", "limited", True)),
        ("bt709", ("bt709", "limited", True)),
        ("1:3:5:1", ("bt709", "full", True)),
        ("2:4:5:4", ("bt601", "limited", True)),
        ("2:6:7:7", ("bt601", "limited", False)),  # BT.2020 has no name here
    ],
)
def test_caps_tell_the_colours(colorimetry: str, expected: tuple[str, str, bool]) -> None:
    caps = parse_caps(
        "video/x-raw, format=(string)NV12, width=(int)64, height=(int)48, "
        f"framerate=(fraction)30000/1001, colorimetry=(string){colorimetry};\0"
    )
    assert (caps.matrix, caps.range, caps.declares_matrix) == expected
    assert (caps.size_hw, float(caps.fps or 0)) == ((48, 64), pytest.approx(29.97, abs=1e-3))


@pytest.mark.parametrize(
    "text",
    ["audio/x-raw, format=(string)S16LE;", "video/x-raw, format=(string)NV12;", ""],
)
def test_caps_of_something_else(text: str) -> None:
    with pytest.raises(SourceError, match="which is no raw video"):
        parse_caps(text)


def test_a_buffer_of_another_length() -> None:
    caps = parse_caps("video/x-raw, format=(string)NV12, width=(int)50, height=(int)30;")
    assert caps.num_bytes == 52 * 30 + 52 * 15
    with pytest.raises(SourceError, match=r"sent 7 bytes for a frame of 2340 \(50x30 nv12\)"):
        caps.pixels(np.zeros(7, np.uint8))
