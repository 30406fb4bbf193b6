"""A URI becomes a source."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from edgecv.errors import SourceError
from edgecv.images import IMAGE_SUFFIXES
from edgecv.stream.notices import Notices
from edgecv.stream.sources.images import ImageSource, images_matching, images_of
from edgecv.stream.sources.patterns import open_pattern
from edgecv.stream.sources.source import Source
from edgecv.stream.sources.uri import redacted, scheme_of

TIMEOUT_S = 10.0
SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "csi", "gst", "test", "file")

_CAMERA = re.compile(r"camera:(?P<address>\d+(?:\?.*)?|/.*)|(?P<number>\d+)", re.DOTALL)


def open_source(
    uri: str | int | Path | Sequence[str | Path],
    *,
    timeout_s: float = TIMEOUT_S,
    notices: Notices | None = None,
    hardware: str = "off",
    reconnect: bool = True,
) -> Source:
    """Open what `uri` names.

    | uri | |
    |---|---|
    | `street.mp4`, `photo.jpg` | a video file, an image file |
    | `folder`, `folder/**/*.jpg` | images in natural order (2 before 10); `**` descends |
    | `-` | an encoded video piped into standard input |
    | `rtsp://cam/1`, `rtsp://cam/1#transport=udp` | a network camera, else by TCP |
    | `http://cam/live.mjpg`, `https://host/live.m3u8` | MJPEG, HLS, or a file |
    | `udp://0.0.0.0:5000`, `rtmp://host/live` | MPEG-TS by UDP, RTMP |
    | `0`, `camera:0?size=1280x720&fps=30&format=mjpeg` | a V4L2 camera |
    | `camera:/dev/v4l/by-id/usb-…` | the same camera in whatever socket |
    | `csi://0?size=1920x1080&fps=60&flip=180` | a camera on a Jetson's ribbon cable |
    | `gst://videotestsrc ! appsink` | any GStreamer pipeline |
    | `test://bars?size=640x480&fps=30&frames=100` | a test pattern: `bars`, `box`, `noise` |

    Opening fails fast. Once it has delivered a frame, a live source (network, camera, live
    pipeline) is kept for ever: whenever it breaks off, or is silent for `timeout_s`, it is opened
    again, after waits that grow to 2 s.

    Args:
        uri: see above; also a camera's number as an int, or a sequence of image files. A network
            URL takes options of ours behind `#`, which servers never see: `transport=`,
            `timeout=`, `hardware=`.
        timeout_s: a URL, camera or pipeline that is silent for longer has stalled, in seconds;
            at least 30 s for HLS.
        notices: where reconnects, stalls, damaged packets and changes of format are said.
        hardware: who decodes: `off` (the CPU), `auto` (what works, else the CPU) or a device of
            `edgecv.stream.sources.hardware.hardware_decoders`, such as `cuda`.
        reconnect: False lets a live source that breaks off raise instead.

    Raises:
        SourceError: if there is no such thing or it holds no pictures; the message says what was
            found and what to do, and never shows a password.

    """
    if isinstance(uri, Sequence) and not isinstance(uri, str):
        return ImageSource(uri)
    return _opened(str(uri), timeout_s, notices, hardware, reconnect=reconnect)


def _opened(
    text: str, timeout_s: float, notices: Notices | None, hardware: str, *, reconnect: bool
) -> Source:
    # FFmpeg is imported by what needs it: pictures do not.
    if text == "-":
        from edgecv.stream.sources.video import open_standard_input  # noqa: PLC0415

        return open_standard_input(hardware=hardware, notices=notices)
    if camera := _CAMERA.fullmatch(text):
        from edgecv.stream.sources.camera import open_camera  # noqa: PLC0415

        return open_camera(
            camera["address"] or camera["number"],
            timeout_s=timeout_s,
            notices=notices,
            hardware=hardware,
            reconnect=reconnect,
        )
    if text.startswith("camera:"):
        raise SourceError(
            f"`{text}`: a camera must be a number or a device file. "
            "Write `camera:0`, `camera:0?size=1280x720&fps=30` or `camera:/dev/video0`."
        )
    scheme = scheme_of(text)
    if scheme is not None and scheme != "file":
        return _opened_url(text, scheme, timeout_s, notices, hardware, reconnect=reconnect)
    return _opened_path(text.removeprefix("file://"), notices, hardware)


def _opened_url(
    text: str,
    scheme: str,
    timeout_s: float,
    notices: Notices | None,
    hardware: str,
    *,
    reconnect: bool,
) -> Source:
    address = text[len(scheme) + 3 :]
    if scheme == "test":
        return open_pattern(address, notices=notices)
    if scheme == "csi":
        from edgecv.stream.sources.camera import open_csi  # noqa: PLC0415

        return open_csi(address, timeout_s=timeout_s, notices=notices, reconnect=reconnect)
    if scheme == "gst":
        from edgecv.stream.sources.gstreamer import open_pipeline  # noqa: PLC0415

        return open_pipeline(address, timeout_s=timeout_s, notices=notices, reconnect=reconnect)
    if scheme not in SCHEMES:
        raise SourceError(
            f"`{redacted(text)}`: a URL must begin with one of "
            f"{', '.join(f'{known}://' for known in SCHEMES)}, got `{scheme}://`."
        )
    from edgecv.stream.sources.network import open_network  # noqa: PLC0415

    return open_network(
        text, timeout_s=timeout_s, notices=notices, hardware=hardware, reconnect=reconnect
    )


def _opened_path(text: str, notices: Notices | None, hardware: str) -> Source:
    path = Path(text)
    if path.is_dir():
        return ImageSource(images_of(path), name=text)
    if path.exists():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return ImageSource([path])
        from edgecv.stream.sources.video import open_video  # noqa: PLC0415

        return open_video(path, hardware=hardware, notices=notices)
    if glob.has_magic(text):
        return ImageSource(images_matching(text), name=text)
    raise SourceError(f"`{text}`: there is no such file or folder. Check the path.")
