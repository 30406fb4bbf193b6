"""Frames into H.264 in a container: what every video, file or broadcast, is made of."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Protocol, cast

import av
import av.container
import av.video.stream

from edgecv.errors import OutputError
from edgecv.stream.pictures import PictureWriter
from edgecv.stream.sources import Frame

H264_ENCODERS = ("libx264", "libopenh264", "h264_v4l2m2m", "h264_nvenc", "h264_videotoolbox")

_QUALITY = {"libx264": {"crf": "23", "preset": "veryfast"}}
_AT_ONCE = {"libx264": {"tune": "zerolatency"}}
_BIT_RATE_PER_PIXEL = 0.1  # for encoders without a constant quality: 2.8 Mbit/s at 720p30
_TIME_BASE = Fraction(1, 90_000)  # MPEG's clock: every usual frame rate is whole ticks
_DEFAULT_FPS = 25.0


class SupportsWrite(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take them."""


class H264Writer:
    """An H.264 video of frames of one size, with the source's timestamps and colours.

    A `yuv420p` frame, which is what nearly every decoder makes, goes to the encoder as it is.

    Args:
        target: file, or something with `write`.
        first: the first frame, which sets size and colours; it is not written yet.
        fps: rate of a source that has no timestamps (pictures), and what players show; None
            stands for 25.
        format: FFmpeg's name of the container, None for what the suffix of `target` says.
        options: of FFmpeg's muxer.
        key_frame_every_s: longest time between two key frames in seconds, None for the encoder's.
        io_open: opens the files that the muxer writes, None for FFmpeg itself.
        is_live: whether each frame leaves the encoder at once, at a tenth more bits.

    Raises:
        OutputError: if this FFmpeg has no H.264 encoder.
        av.FFmpegError, ValueError: if the container cannot be begun.

    """

    def __init__(
        self,
        target: str | SupportsWrite,
        first: Frame,
        fps: float | None,
        *,
        format: str | None = None,  # noqa: A002  # the word of PyAV
        options: Mapping[str, str] | None = None,
        key_frame_every_s: float | None = None,
        is_live: bool = False,
        io_open: Callable[[str, int, object], object] | None = None,
    ) -> None:
        """Open the container; its header is written with the first packet."""
        codec = h264_encoder()
        self._fps = fps or _DEFAULT_FPS
        self.size_hw = height, width = first.size_hw
        self.num_bytes = 0
        self.packet_ticks = 0
        """Time of the packet that was muxed last, in 1 / 90000 s."""
        self._ticks, self._origin_ticks = -1, cast("int | None", None)
        tuning = _QUALITY.get(codec, {}) | (_AT_ONCE.get(codec, {}) if is_live else {})
        self._container: av.container.OutputContainer = av.open(
            target, "w", format=format, options=dict(options or {}), io_open=io_open
        )
        try:
            rate = Fraction(self._fps).limit_denominator(1001)  # 29.97 is 30000 / 1001
            self._stream = cast(
                "av.video.stream.VideoStream",
                self._container.add_stream(codec, rate=rate, options=tuning),
            )
            stream = self._stream
            stream.width, stream.height = width + width % 2, height + height % 2
            stream.pix_fmt = "yuv420p"  # what every player reads
            stream.codec_context.time_base = _TIME_BASE
            if key_frame_every_s is not None:
                stream.codec_context.gop_size = max(1, round(key_frame_every_s * self._fps))
            if is_live:
                stream.codec_context.max_b_frames = 0
            self._pictures = PictureWriter(first)
            self._pictures.declare(stream.codec_context)
            if codec not in _QUALITY:
                stream.bit_rate = round(_BIT_RATE_PER_PIXEL * width * height * self._fps)
        except BaseException:
            self._container.close()
            raise

    @property
    def duration_s(self) -> float:
        """Time of the last frame, from the first."""
        return float(max(self._ticks, 0) * _TIME_BASE)

    def write(self, frame: Frame) -> None:
        """Encode one frame, as large as the first.

        Raises:
            av.FFmpegError, OSError: if the disk is full or the server gone.

        """
        picture = self._pictures.picture(frame)
        picture.pts, picture.time_base = self._next_ticks(frame.pts_s), _TIME_BASE
        self._mux(picture)

    def finish(self) -> None:
        """Flush the encoder and close the container.

        Raises:
            av.FFmpegError, OSError: if the disk is full or the server gone.

        """
        self._mux(None)
        self._container.close()

    def close(self) -> None:
        """Close the container as it is.

        Raises:
            av.FFmpegError, OSError: if the disk is full or the server gone.

        """
        self._container.close()

    def _mux(self, picture: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(picture):
            self.packet_ticks = packet.pts or 0
            self.num_bytes += packet.size
            self._container.mux(packet)

    def _next_ticks(self, pts_s: float | None) -> int:
        """Return the timestamp in ticks: from 0, and later than the one before, come what may."""
        ticks = 0 if self._ticks < 0 else self._ticks + round(1 / (self._fps * _TIME_BASE))
        if pts_s is not None:
            source_ticks = round(pts_s / _TIME_BASE)
            if self._origin_ticks is None:  # RTSP tells no time for the very first frame
                self._origin_ticks = source_ticks - ticks
            ticks = max(source_ticks - self._origin_ticks, self._ticks + 1)
        self._ticks = ticks
        return ticks


def h264_encoder() -> str:
    """Return the name of the H.264 encoder to use.

    Raises:
        OutputError: if this FFmpeg was built without any.

    """
    for name in H264_ENCODERS:
        if name in av.codecs_available:
            return name
    raise OutputError(
        "this FFmpeg has no H.264 encoder. Install PyAV's own: `pip install --force-reinstall av`."
    )
