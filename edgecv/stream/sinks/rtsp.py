"""Video to a media server, from where many can watch it."""

import io
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from edgecv.errors import InputError, OutputError
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.partial_file import close_quietly
from edgecv.stream.sinks.rtsp_client import RtspAddress, RtspPublisher, nal_units
from edgecv.stream.sinks.sink import Sink
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.stream.sinks.encoder import H264Writer

TIMEOUT_S = 5.0

_KEY_FRAME_EVERY_S = 2.0
_PORTS = {"rtsp": 554, "rtsps": 322}


class RtspSink(Sink):
    """Pushes H.264 to a media server by RTSP over TCP (ANNOUNCE and RECORD), as MediaMTX takes it.

    A server that is gone, refuses, closes or takes nothing is an OutputError within `timeout_s`;
    the next result connects again.

    Args:
        url: `rtsp://` or `rtsps://`, with user and password where it needs them.
        fps: see `H264Writer`.
        timeout_s: for connecting, for answers, and for the server to take what is sent.

    Raises:
        InputError: if the URL has no host or its port is none.

    """

    recovers = True

    def __init__(self, url: str, fps: float | None, *, timeout_s: float = TIMEOUT_S) -> None:
        """Take the address apart; the server is first asked with the first frame."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if not parts.hostname or port == 0:
            raise InputError(
                f"`{parts.scheme}://{parts.hostname or ''}`: an RTSP server must have "
                "a host and a port from 1 to 65535. Write rtsp://host:8554/path."
            )
        port = port or _PORTS[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._name = f"{parts.scheme}://{host}:{port}{parts.path}"
        self._address = RtspAddress(
            parts.hostname,
            port,
            self._name + (f"?{parts.query}" if parts.query else ""),
            None if parts.username is None else unquote(parts.username),
            unquote(parts.password or ""),
            is_encrypted=parts.scheme == "rtsps",
        )
        self._fps, self._timeout_s = fps, timeout_s
        self._encoded = io.BytesIO()
        self._writer: H264Writer | None = None
        self._publisher: RtspPublisher | None = None

    @property
    def name(self) -> str:
        """The address without user, password and query."""
        return self._name

    def write(self, result: StreamResult) -> None:
        """Encode and send one frame, see `Sink`."""
        frame = result.frame
        if self._writer is not None and frame.size_hw != self._writer.size_hw:
            self.close()
        try:
            writer = self._writer or self._begin(frame)
            writer.write(frame)
            units = nal_units(self._encoded.getvalue())
            self._encoded.seek(0)
            self._encoded.truncate()
            if not units:  # some encoders hold the first frames back
                return
            if self._publisher is None:
                self._publisher = RtspPublisher(self._address, timeout_s=self._timeout_s)
                self._publisher.announce(units)
            self._publisher.send(units, writer.packet_ticks)
        except (OSError, ValueError) as error:
            self.close()
            if isinstance(error, OutputError):
                raise
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(
                f"`{self._name}`: the server cannot be streamed to: {reason}. "
                "Check address, path, user and password, and that it accepts recordings."
            ) from error

    def close(self) -> None:
        """Say TEARDOWN and disconnect, see `Sink`."""
        writer, self._writer = self._writer, None
        publisher, self._publisher = self._publisher, None
        if writer is not None:
            close_quietly(writer)
        if publisher is not None:
            publisher.close()

    def discard(self) -> None:
        """Disconnect."""
        self.close()

    def interrupt(self, *, is_final: bool) -> None:  # noqa: ARG002  # either way the same
        """Cut the connection, see `Sink`."""
        publisher = self._publisher
        if publisher is not None:
            publisher.interrupt()

    def _begin(self, frame: Frame) -> "H264Writer":
        from edgecv.stream.sinks.encoder import H264Writer  # noqa: PLC0415  # FFmpeg when needed

        self._encoded = io.BytesIO()
        self._writer = H264Writer(
            self._encoded,
            frame,
            self._fps,
            format="h264",
            options={"flush_packets": "1"},
            key_frame_every_s=_KEY_FRAME_EVERY_S,
            is_live=True,
        )
        return self._writer
