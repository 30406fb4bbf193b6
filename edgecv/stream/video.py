"""Videos, network cameras and local cameras, decoded by FFmpeg through PyAV."""

import math
import re
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import av
import av.container

from edgecv.closing import Closing
from edgecv.errors import SourceError
from edgecv.stream.pictures import PictureReader, quarter_turns
from edgecv.stream.sources import Frame

# A camera's stream is joined in the middle: until the first key frame packets may not decode.
_MAX_UNDECODABLE = 250

Timed: TypeAlias = tuple[av.VideoFrame, float]  # and when its data had arrived

_CREDENTIALS = re.compile(r"(?<=://).*@", re.DOTALL)


def open_video(path: Path) -> "VideoSource":
    """Open a video file.

    Raises:
        SourceError: if FFmpeg cannot read it or nothing in it decodes.

    """
    if path.stat().st_size == 0:
        raise SourceError(f"`{path}`: the file is empty (0 bytes). Copy or record it again.")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise SourceError(
            f"`{path}`: FFmpeg cannot read it as a video ({_reason(error)}); it is something else, "
            "or was cut off before its index was written. Copy or record it again."
        ) from error
    return VideoSource(container, str(path), path=path)


def open_url(url: str, *, timeout_s: float) -> "VideoSource":
    """Open a network stream.

    Raises:
        SourceError: if the server cannot be reached within `timeout_s` or refuses; the message
            never shows the password in `url`.

    """
    name = redacted(url)
    # Not `fflags=nobuffer`, however often it is recommended: it throws away the packets that were
    # read to learn the format, the key frame among them, and the next one may be 8 s away.
    options = {}
    if url.lower().startswith("rtsp"):
        options = {
            "rtsp_transport": "tcp",  # a lost UDP packet smears until the next key frame
            "timeout": str(round(timeout_s * 1e6)),
            "fpsprobesize": "0",  # do not collect 20 frames to guess the rate: 0.1 s, not 0.8 s
        }
    try:
        container = av.open(url, options=options, timeout=timeout_s)
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, av.ExitError):  # FFmpeg's word for "the interrupt callback said stop"
            reason = f"no answer within {timeout_s:g} s"
        else:
            reason = _reason(error)
        # `from None`: the original message holds the whole URL with its password.
        raise SourceError(
            f"`{name}`: the stream cannot be opened: {reason}. "
            "Check address, port, path, user and password, and that the camera is on."
        ) from None
    is_live = not url.lower().startswith("http") or container.duration is None
    return VideoSource(container, name, is_live=is_live)


def open_camera(number: int, *, timeout_s: float) -> "VideoSource":
    """Open the camera `/dev/video<number>`.

    Raises:
        SourceError: if there is none or it delivers nothing; the message lists those there are.

    """
    device = f"/dev/video{number}"
    try:
        container = av.open(device, format="v4l2", timeout=timeout_s)
    except (av.FFmpegError, ValueError) as error:
        present = ", ".join(map(str, camera_numbers())) or "none"
        raise SourceError(
            f"camera {number} (`{device}`) cannot be opened: {_reason(error)}; cameras on this "
            f"machine: {present}. Plug it in, choose another number, or free it elsewhere."
        ) from error
    return VideoSource(container, f"camera {number}", is_live=True)


def camera_numbers() -> list[int]:
    """Return the numbers of this machine's cameras, `/dev/video<number>`."""
    names = (path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
    return sorted(int(name) for name in names if name.isdigit())


def redacted(url: str) -> str:
    """Return `url` without user, password and query, for messages and results.

    A password that should have been percent-encoded may hold `/`, `?` or `@`: everything up to
    the last `@` goes, rather too much than too little.
    """
    return _CREDENTIALS.sub("***@", url).partition("?")[0]


class VideoSource(Closing):
    """The first video stream of an open container, see `Source` and `PictureReader`."""

    def __init__(
        self,
        container: av.container.InputContainer,
        name: str,
        *,
        is_live: bool = False,
        path: Path | None = None,
    ) -> None:
        """Take over `container`; `path` is the file behind it, where there is one.

        Raises:
            SourceError: if it has no video stream, or a file's first frame does not decode.

        """
        self.name, self.is_live = name, is_live
        self._container, self._path = container, path
        self._reader = PictureReader()
        self._num_decoded = 0
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            container.close()
            raise SourceError(f"`{name}`: must hold a video, found {kinds}. Name another file.")
        self._stream = stream = container.streams.video[0]
        # Frame threads are the fastest and hold back as many frames as there are threads.
        stream.thread_type = "SLICE" if is_live else "AUTO"
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate else None
        self.num_frames = None if is_live else stream.frames or self._frames_by_duration()
        self.size_hw: tuple[int, int] | None = stream.height, stream.width
        self._frames = self._decode()
        self._first: Timed | None = None
        if not is_live:
            self._peek()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, upright by the display matrix that phones write; see `Source`."""
        index = 0
        begun_s = time.perf_counter()
        while True:
            decoded, arrived_s = self._first or next(self._frames, (None, 0.0))
            self._first = None
            if decoded is None:
                return
            captured_s = arrived_s if self.is_live else begun_s
            yield self._frame(decoded, index, captured_s)
            index += 1
            begun_s = time.perf_counter()

    def close(self) -> None:
        """Close the container; not while another thread iterates."""
        self._frames.close()
        self._container.close()

    def _frame(self, decoded: av.VideoFrame, index: int, captured_s: float) -> Frame:
        try:
            return self._reader.frame(decoded, index=index, captured_s=captured_s)
        except (av.FFmpegError, ValueError) as error:
            raise SourceError(
                f"`{self.name}`: FFmpeg cannot convert its pixel format "
                f"`{decoded.format.name}` ({_reason(error)}). "
                "Convert it: `ffmpeg -i INPUT -pix_fmt yuv420p OUTPUT.mp4`."
            ) from error

    def _peek(self) -> None:
        """Decode the first frame: the file proves itself, and its rotation is known."""
        try:
            self._first = next(self._frames, None)
        except SourceError:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise SourceError(
                f"`{self.name}`: the video holds no frame that decodes. Copy or record it again."
            )
        if quarter_turns(self._first[0]) % 2:
            self.size_hw = self._stream.width, self._stream.height

    def _decode(self) -> Generator[Timed, None, None]:
        """Yield decoded frames, each with the time at which its last packet had arrived."""
        packets = self._container.demux(self._stream)
        num_undecodable = 0
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                yield from self._counted(self._held_back())
                raise self._broken(error) from None
            arrived_s = time.perf_counter()
            if packet is None:
                break
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                num_undecodable += 1
                if self.is_live and num_undecodable <= _MAX_UNDECODABLE:
                    continue
                yield from self._counted(self._held_back())
                raise self._broken(error) from None
            num_undecodable = 0
            yield from self._counted((frame, arrived_s) for frame in frames)
        self._refuse_cut()

    def _counted(self, frames: Iterable[Timed]) -> Iterator[Timed]:
        for frame in frames:
            self._num_decoded += 1
            yield frame

    def _held_back(self) -> Iterator[Timed]:
        """Yield the whole frames that the decoder's threads still hold after an error."""
        now_s = time.perf_counter()
        try:
            for frame in self._stream.codec_context.decode(None):
                yield frame, now_s
        except av.FFmpegError:
            return  # the error that counts is raised already

    def _refuse_cut(self) -> None:
        """Raise if the index promises data beyond the end of the file: a copy that broke off."""
        entries = getattr(self._stream, "index_entries", None)  # PyAV < 17 does not show it
        if self._path is None or not entries:
            return
        promised = max(entry.pos + entry.size for entry in entries)
        present = self._path.stat().st_size
        if promised > present:
            raise SourceError(
                f"`{self.name}`: the video breaks off after frame {self._num_decoded} of "
                f"{self.num_frames}: the file has {present} of at least {promised} bytes. "
                "Copy it again."
            )

    def _broken(self, error: Exception) -> SourceError:
        reached = f"after frame {self._num_decoded}"
        if self.num_frames:
            reached += f" of {self.num_frames}"
        if isinstance(error, av.ExitError):
            reason = "nothing came before the timeout"
        else:
            reason = _reason(error)
        remedy = "Check camera and network." if self._path is None else "Copy it again."
        return SourceError(f"`{self.name}`: the video breaks off {reached}: {reason}. {remedy}")

    def _frames_by_duration(self) -> int | None:
        """Return the number of frames that duration and rate suggest."""
        if self._container.duration is None or self.fps is None:
            return None
        return math.ceil(self._container.duration / av.time_base * self.fps)


def _reason(error: Exception) -> str:
    """Return what FFmpeg says, without the file name or URL that `str(error)` would repeat."""
    return getattr(error, "strerror", None) or type(error).__name__
