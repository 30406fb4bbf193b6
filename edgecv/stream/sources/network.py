"""Network streams that FFmpeg reads: RTSP, RTMP, HTTP (files, MJPEG, HLS) and UDP."""

import time
from typing import Any
from urllib.parse import urlsplit

import av
import av.container

from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources.connection import GRACE_S
from edgecv.stream.sources.container import ContainerConnection
from edgecv.stream.sources.decoding import Packet, reason_of
from edgecv.stream.sources.hardware import Hardware, accelerated
from edgecv.stream.sources.health import HealthRecord
from edgecv.stream.sources.live import ConnectedSource
from edgecv.stream.sources.uri import Options, redacted, scheme_of, without_fragment

URL_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp")

_HLS_TIMEOUT_S = 30.0  # frames come by the segment, and a segment lasts 2 to 10 s
_UDP_BUFFER_BYTES = 4 << 20
_REMEDY = "Check address, port, path, user and password, and that the camera is on."


def open_network(
    uri: str,
    *,
    timeout_s: float,
    notices: Notices | None = None,
    hardware: Hardware = "off",
    reconnect: bool = True,
) -> ConnectedSource[Packet]:
    """Open a network stream.

    Args:
        uri: a URL of one of `URL_SCHEMES`. Behind `#`, which the server never sees:
            `transport=tcp` or `udp` for RTSP, `timeout=` in seconds, `hardware=`.
        timeout_s: silence for longer is a stall; for HLS at least 30 s, unless the URL
            itself says otherwise.
        notices: where to say what happens.
        hardware: see `edgecv.stream.sources.hardware`.
        reconnect: whether a live stream that breaks is opened again.

    Raises:
        SourceError: if the server cannot be reached within `timeout_s` or refuses; the message
            never shows the password in `uri`.

    """
    url, name, options = _parsed(uri)
    scheme = scheme_of(url)
    transport = options.word("transport", ("tcp", "udp")) or "tcp"
    if urlsplit(url).path.lower().endswith(".m3u8"):
        timeout_s = max(timeout_s, _HLS_TIMEOUT_S)
    timeout_s = options.seconds("timeout") or timeout_s
    record = HealthRecord(name, notices)
    arguments = accelerated(options.text("hardware") or hardware, record)
    arguments["options"] = _ffmpeg_options(scheme, transport, timeout_s)
    return ConnectedSource(
        name,
        lambda: _connected(url, name, record, timeout_s, arguments),
        record=record,
        timeout_s=timeout_s,
        reconnects=reconnect,
        remedy=_REMEDY,
    )


def check_network(uri: str) -> str:
    """Return the name of a network stream without connecting to it.

    Raises:
        SourceError: if the host is missing or an option is wrong.

    """
    url, name, options = _parsed(uri)
    options.word("transport", ("tcp", "udp"))
    options.seconds("timeout")
    if not urlsplit(url).netloc.rpartition("@")[2]:
        raise SourceError(f"`{name}`: the host is missing. Write it behind `://`.")
    return name


def _parsed(uri: str) -> tuple[str, str, Options]:
    """Return the URL for the server, its name for messages, and our options."""
    url, fragment = without_fragment(uri)
    name = redacted(url)
    is_rtsp = scheme_of(url) in ("rtsp", "rtsps")
    known = (*(("transport",) if is_rtsp else ()), "hardware", "timeout")
    return url, name, Options(name, fragment, known)


def _ffmpeg_options(scheme: str | None, transport: str, timeout_s: float) -> dict[str, str]:
    # Not `fflags=nobuffer`, however often it is recommended: it throws away the packets that were
    # read to learn the format, the key frame among them, and the next one may be 8 s away.
    if scheme in ("rtsp", "rtsps"):
        options = {
            "rtsp_transport": transport,  # a lost UDP packet smears until the next key frame
            "timeout": str(round((timeout_s + GRACE_S) * 1e6)),
            "fpsprobesize": "0",  # do not collect 20 frames to guess the rate: 0.1 s, not 0.8 s
        }
        return options | ({"buffer_size": str(_UDP_BUFFER_BYTES)} if transport == "udp" else {})
    if scheme == "udp":
        return {"buffer_size": str(_UDP_BUFFER_BYTES), "overrun_nonfatal": "1"}
    return {}


def _connected(
    url: str, name: str, record: HealthRecord, timeout_s: float, arguments: dict[str, Any]
) -> ContainerConnection:
    begin_s = time.monotonic()
    try:
        # Reading gives up a little later than the watchdog, so that a stall is always its find.
        container = av.open(url, timeout=(timeout_s, timeout_s + GRACE_S), **arguments)
    except (av.FFmpegError, OSError, ValueError) as error:
        # What FFmpeg says of an answer that it gave up waiting for is often another error's word.
        is_late = time.monotonic() - begin_s >= timeout_s
        reason = f"no answer within {timeout_s:g} s" if is_late else reason_of(error)
        # `from None`: the original message holds the whole URL with its password.
        raise SourceError(f"`{name}`: the stream cannot be opened: {reason}. {_REMEDY}") from None
    is_file = url.lower().startswith("http") and (
        container.duration is not None or _has_length(container)
    )
    return ContainerConnection(container, name, record, is_live=not is_file)


def _has_length(container: av.container.InputContainer) -> bool:
    """Return whether the server told how long the answer is, which no camera can.

    The answer to HLS is a list of segments, whose length says nothing.
    """
    is_list = container.format.name.startswith("hls")
    return not is_list and container.size is not None and container.size > 0
