"""Video files and standard input, decoded by FFmpeg through PyAV."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import av
import av.container

from edgecv.closing import Closing
from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources.decoding import VideoReader, reason_of
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.hardware import Hardware, accelerated
from edgecv.stream.sources.health import Health, HealthRecord
from edgecv.stream.sources.standard_input import STANDARD_INPUT, PipedInput

_Picture: TypeAlias = av.VideoFrame

_STEP_S = 0.9  # longer than a frame takes, unless the disk hangs


def open_video(
    path: Path, *, hardware: Hardware = "off", notices: Notices | None = None
) -> "VideoSource":
    """Open a video file.

    Raises:
        SourceError: if FFmpeg cannot read it or nothing in it decodes.

    """
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"`{path}`: the file is empty (0 bytes). Copy or record it again.")
    record = HealthRecord(str(path), notices)
    try:
        container = av.open(str(path), **accelerated(hardware, record))
    except (av.FFmpegError, OSError) as error:
        raise SourceError(
            f"`{path}`: FFmpeg cannot read it as a video ({reason_of(error)}); it is something "
            "else, or was cut off before its index was written. Copy or record it again."
        ) from error
    return VideoSource(container, str(path), path=path, record=record)


def open_standard_input(
    *, hardware: Hardware = "off", notices: Notices | None = None
) -> "VideoSource":
    """Open the encoded video that is piped into this process.

    Raises:
        SourceError: if standard input is a terminal, or holds nothing that FFmpeg can read.

    """
    record = HealthRecord(STANDARD_INPUT, notices)
    pipe = PipedInput.of_standard_input()
    try:
        container = av.open(pipe, mode="r", **accelerated(hardware, record))
    except (av.FFmpegError, OSError) as error:
        pipe.close()
        raise SourceError(
            f"{STANDARD_INPUT}: FFmpeg cannot read it as a video ({reason_of(error)}). Pipe in "
            "MPEG-TS, Matroska, MJPEG or H.264, such as `ffmpeg -i INPUT -f mpegts - | …`; "
            "an MP4 needs `-movflags frag_keyframe+empty_moov`."
        ) from error
    return VideoSource(container, STANDARD_INPUT, record=record, pipe=pipe)


class VideoSource(Closing):
    """The first video stream of an open container that is read at the consumer's pace."""

    is_live = False

    def __init__(
        self,
        container: av.container.InputContainer,
        name: str,
        *,
        path: Path | None = None,
        pipe: PipedInput | None = None,
        record: HealthRecord | None = None,
    ) -> None:
        """Take over `container`.

        Args:
            container: open, and closed by this source.
            name: see `Source`.
            path: the file behind it, where there is one.
            pipe: what it reads, where that can block; closed by this source.
            record: where to count; one of its own if None.

        Raises:
            SourceError: if it has no video stream, or the first frame does not decode.

        """
        self.name = name
        self._container, self._path, self._pipe = container, path, pipe
        self._record = record or HealthRecord(name)
        self._lock = threading.Lock()  # held by whoever touches the container
        self._is_closing = self._is_closed = False
        self._first: _Picture | None = None
        self._pictures = self._decode()
        self.size_hw: tuple[int, int] | None = None
        self.num_frames: int | None = None
        try:
            self._reader = VideoReader(container, name, self._record, is_live=False)
            self._peek()
        except BaseException:
            self.close()
            raise
        self.fps, self.num_frames = self._reader.fps, self._reader.num_frames

    @property
    def health(self) -> Health:
        """See `Source`."""
        return self._record.snapshot()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, upright by the display matrix that phones write; see `Source`."""
        index = 0
        while True:
            begun_s = time.perf_counter()
            frame = self._guarded(partial(self._next, index, begun_s))
            if frame is None:
                return
            yield frame
            index += 1

    def close(self) -> None:
        """Close the container, or leave that to the thread which is decoding a frame just now."""
        self._is_closing = True
        if self._pipe is not None:
            self._pipe.interrupt()
        if self._lock.acquire(timeout=_STEP_S):
            try:
                self._close_container()
            finally:
                self._lock.release()

    def _guarded(self, read: Callable[[], Frame | None]) -> Frame | None:
        with self._lock:
            try:
                return None if self._is_closing else read()
            finally:
                if self._is_closing:
                    self._close_container()

    def _close_container(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._first = None
            self._pictures.close()  # it holds this source, and so the decoder with its pictures
            self._container.close()
            if self._pipe is not None:
                self._pipe.close()

    def _next(self, index: int, begun_s: float) -> Frame | None:
        picture, self._first = self._first or next(self._pictures, None), None
        if picture is None:
            return None
        frame = self._reader.frame(picture, index=index, captured_s=begun_s)
        self.size_hw = frame.size_hw
        self._record.frame(self._reader.look(picture))
        return frame

    def _peek(self) -> None:
        """Decode the first frame: the file proves itself, and its rotation is known."""
        self._first = next(self._pictures, None)
        if self._first is None:
            raise SourceError(
                f"`{self.name}`: the video holds no frame that decodes. Copy or record it again."
            )
        self.size_hw = self._reader.upright_hw(self._first)

    def _decode(self) -> Generator[_Picture, None, None]:
        packets = self._reader.packets()
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                yield from self._reader.pictures(None)  # the whole ones that are held back
                raise self._broken(error) from None
            if packet is None:
                break
            yield from self._reader.pictures(packet)
        self._refuse_cut()

    def _refuse_cut(self) -> None:
        """Raise if the index promises data beyond the end of the file: a copy that broke off."""
        entries = getattr(self._reader.stream, "index_entries", None)  # PyAV < 17 shows none
        if self._path is None or not entries:
            return
        promised = max(entry.pos + entry.size for entry in entries)
        present = self._path.stat().st_size
        if promised > present:
            raise SourceError(
                f"`{self.name}`: the video breaks off after frame {self._num_read} of "
                f"{self.num_frames}: the file has {present} of at least {promised} bytes. "
                "Copy it again."
            )

    @property
    def _num_read(self) -> int:
        return self._record.snapshot().num_frames

    def _broken(self, error: Exception) -> SourceError:
        reached = f"after frame {self._num_read}"
        if self.num_frames:
            reached += f" of {self.num_frames}"
        remedy = "Check what is piped in." if self._path is None else "Copy it again."
        return SourceError(
            f"`{self.name}`: the video breaks off {reached}: {reason_of(error)}. {remedy}"
        )
