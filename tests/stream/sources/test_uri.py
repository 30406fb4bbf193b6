"""What may be written as a source, and how each mistake is refused."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import SourceError
from edgecv.stream.sources import open_source
from edgecv.stream.sources.camera import csi_pipeline
from edgecv.stream.sources.hardware import accelerated, hardware_decoders
from edgecv.stream.sources.health import HealthRecord
from edgecv.stream.sources.uri import Options, redacted, redacted_words, without_fragment

KNOWN = ("size", "fps", "frames", "live", "timeout", "format")


def options(text: str) -> Options:
    return Options("cam", text, KNOWN)


def test_options_are_read() -> None:
    given_ = options("size=1280x720&fps=30000/1001&frames=7&live=No&timeout=2.5&format=MJPEG")
    assert given_.size_hw("size") == (720, 1280)
    assert given_.rate("fps") == Fraction(30000, 1001)
    assert given_.count("frames") == 7
    assert given_.truth("live") is False
    assert given_.seconds("timeout") == 2.5
    assert given_.word("format", ("mjpeg", "yuyv")) == "mjpeg"
    assert options("fps=29.97").rate("fps") == Fraction(2997, 100)


def test_options_that_are_not_given_are_none() -> None:
    none = options("")
    read = none.size_hw("size"), none.rate("fps"), none.count("frames"), none.truth("live")
    assert (*read, none.seconds("timeout"), none.word("format", ()), none.text("format")) == (
        (None,) * 7
    )


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("test://bars?fsp=3", "`test://bars`: there is no option `fsp`. Choose from size, fps"),
        ("test://bars?fps=3&fps=4", "the option `fps` is given twice"),
        ("test://bars?fps", "options must be written as `key=value&key=value`"),
        ("test://bars?fps=0", "must be frames a second, above 0 and at most 1000, got '0'"),
        ("test://bars?fps=1/0", "got '1/0'"),
        ("test://bars?size=1280", "must be width x height in pixels, such as 1280x720, got '1280'"),
        ("test://bars?size=0x4", "got '0x4'"),
        ("test://bars?frames=-1", "must be a whole number, at least 1, got '-1'"),
        ("test://bars?frames=0", "must be a whole number, at least 1, got '0'"),
        ("test://bars?live=maybe", "must be one of 1, yes, true, 0, no, false, got 'maybe'"),
        ("test://circus", "a test pattern must be one of bars, box, noise, got 'circus'"),
        ("camera:front", "a camera must be a number or a device file. Write `camera:0`"),
        ("camera:0?format=raw", "`camera 0`: the option `format` must be one of mjpeg, yuyv"),
        ("camera:0?width=3", "there is no option `width`. Choose from size, fps, format"),
        ("camera:/dev/nothing9", r"camera /dev/nothing9 (`/dev/nothing9`) cannot be opened"),
        ("csi://front", "a CSI camera must be a number, got 'front'. Try `csi://0`"),
        ("csi://0?flip=90", "must be one of none, 180, horizontal, vertical, got '90'"),
        ("rtsp://u:hunter2@cam/1#transport=tls", "`rtsp://***@cam/1`: the option `transport` must"),
        ("rtsp://u:hunter2@cam/1#timeout=0", "the option `timeout` must be seconds, above 0"),
        ("rtsp://u:hunter2@cam/1#timeout=soon", "got 'soon'"),
        ("rtsp://cam/1#hardware=abacus", "`hardware` must be one of off, auto"),
        ("http://cam/1#transport=udp", "there is no option `transport`. Choose from hardware"),
        ("gst://", "a pipeline must hold elements, found none. Write `gst://videotestsrc"),
        ("gst://videotestsrc name='a", "No closing quotation. Close the quotes"),
        ("file:///gone.mp4", "`/gone.mp4`: there is no such file or folder"),
    ],
)
def test_refused(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=re.escape(message)) as caught:
        open_source(uri)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "url", "fragment"),
    [
        ("rtsp://cam/1?channel=2#transport=udp", "rtsp://cam/1?channel=2", "transport=udp"),
        ("rtsp://cam/1", "rtsp://cam/1", ""),
        ("rtsp://admin:p#ss@cam/1", "rtsp://admin:p#ss@cam/1", ""),
        ("rtsp://admin:p#ss@cam/1#a=b", "rtsp://admin:p#ss@cam/1", "a=b"),
    ],
)
def test_options_of_ours_never_reach_the_server(uri: str, url: str, fragment: str) -> None:
    assert without_fragment(uri) == (url, fragment)


@given(st.text(max_size=20))
def test_no_password_is_ever_shown(password: str) -> None:
    secret = f"<{password}>"
    assert secret not in redacted(f"rtsp://admin:{secret}@cam/1#transport=udp")


def test_pipelines_are_shown_without_passwords() -> None:
    text = 'rtspsrc location=rtsp://u:hunter2@cam/1 user-pw="hunter2" token=hunter2 ! appsink'
    shown = "rtspsrc location=rtsp://***@cam/1 user-pw=*** token=*** ! appsink"
    assert redacted_words(text) == shown


def test_a_csi_camera_is_a_pipeline_that_ends_in_main_memory() -> None:
    assert csi_pipeline("1?size=1920x1080&fps=60&flip=180") == (
        "nvarguscamerasrc sensor-id=1 ! "
        '"video/x-raw(memory:NVMM), width=1920, height=1080, format=NV12, framerate=60/1" ! '
        "nvvidconv flip-method=2 ! video/x-raw,format=NV12 ! appsink"
    )
    assert "width=1280, height=720" in csi_pipeline("0")


def test_a_file_uri(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a folder must hold images, found it empty"):
        open_source(f"file://{tmp_path}")


# Hardware decoders


def test_auto_takes_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "edgecv.stream.sources.hardware"
    monkeypatch.setattr(f"{module}.hardware_decoders", lambda: ["cuda", "vaapi"])
    monkeypatch.setattr(f"{module}._is_usable", lambda name: name == "vaapi")
    record = HealthRecord("v.mp4")
    assert accelerated("off", record) == {}
    assert set(accelerated("auto", record)) == {"hwaccel"}
    assert set(accelerated("vaapi", record)) == {"hwaccel"}
    with pytest.raises(SourceError, match="the hardware decoder `cuda` does not work on this"):
        accelerated("cuda", record)
    with pytest.raises(SourceError, match=r"one of off, auto, cuda, vaapi, got 'tpu'"):
        accelerated("tpu", record)


def test_the_list_of_hardware_decoders_is_ffmpegs() -> None:
    from av.codec import hwaccel

    assert hardware_decoders() == sorted(hwaccel.hwdevices_available())
