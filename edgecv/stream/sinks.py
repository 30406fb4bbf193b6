"""Where results go: a video, JSON lines, pictures. Each file appears whole or not at all."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, cast

from PIL import Image

from edgecv.errors import InputError, OutputError, SourceError
from edgecv.files import replacing
from edgecv.images import IMAGE_SUFFIXES
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sources import Frame, Source

if TYPE_CHECKING:
    import av.container
    import av.video.stream
    from typing_extensions import Self

    from edgecv.stream.pictures import PictureWriter

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".ts")
JSONL_SUFFIXES = (".jsonl", ".ndjson")

H264_ENCODERS = ("libx264", "libopenh264", "h264_v4l2m2m", "h264_nvenc", "h264_videotoolbox")

_QUALITY = {"libx264": {"crf": "23", "preset": "veryfast"}}
_BIT_RATE_PER_PIXEL = 0.1  # for encoders without a constant quality: 2.8 Mbit/s at 720p30
_TIME_BASE = Fraction(1, 90_000)  # MPEG's clock: every usual frame rate is whole ticks
_DEFAULT_FPS = 25.0
_JPEG_QUALITY = 92


class Sink(ABC):
    """Something that takes results one by one.

    A sink is left in one of two ways: `close` puts the file in its place, `discard` removes what
    was begun and leaves an older file alone. A sink that was given nothing puts nothing.
    """

    @abstractmethod
    def write(self, result: StreamResult) -> None:
        """Take in one result; its frame's pixels may be annotated already.

        Raises:
            OutputError: if it cannot be written; nothing is left behind.

        """

    @abstractmethod
    def close(self) -> None:
        """Complete the file; twice does no harm.

        Raises:
            OutputError: if it cannot be completed; nothing is left behind.

        """

    @abstractmethod
    def discard(self) -> None:
        """Remove what was begun; after `close` it does nothing."""

    def __enter__(self) -> "Self":
        """Return the sink itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close after the source's end, its breaking off and CTRL-C; discard after the rest."""
        # A day's recording must not be lost because the camera was unplugged in the evening.
        if error is None or isinstance(error, SourceError | KeyboardInterrupt):
            self.close()
        else:
            self.discard()


def open_sink(path: Path | str, source: Source, classes: Sequence[str]) -> Sink:
    """Return the sink that the suffix of `path` asks for.

    Args:
        path: `.jsonl` for JSON lines; `.mp4`, `.mkv`, … for a video; an image suffix for one
            picture; no suffix, or an existing folder, for a folder of pictures.
        source: what the results come from.
        classes: the model's class names.

    Raises:
        InputError: if the suffix is none of these.

    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir() or not suffix or suffix in IMAGE_SUFFIXES:
        return ImageSink(path)
    if suffix in JSONL_SUFFIXES:
        return JsonlSink(path, classes)
    if suffix in VIDEO_SUFFIXES:
        return VideoSink(path, source.fps)
    known = ", ".join((*VIDEO_SUFFIXES, *JSONL_SUFFIXES, *sorted(IMAGE_SUFFIXES)))
    raise InputError(
        f"`{path}`: an output must end in one of {known}, or be a folder, got `{path.suffix}`."
    )


class _PartialFile:
    """A temporary file that becomes `path` on `commit`: `replacing`, entered and left by hand."""

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self.path = self._stack.enter_context(replacing(path))

    def commit(self) -> None:
        self._stack.close()

    def abandon(self, error: OSError) -> None:
        """Remove the file and raise what `replacing` makes of `error`."""
        self._stack.__exit__(type(error), error, error.__traceback__)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._stack.pop_all()  # nothing to rename any more


class JsonlSink(Sink):
    """One line of JSON per frame: frame, pts_s, path (of pictures) and result.

    Args:
        path: the file, replaced when the sink is closed.
        classes: the model's class names.

    """

    def __init__(self, path: Path | str, classes: Sequence[str]) -> None:
        """Name the file; it is opened with the first result."""
        self._path, self._classes = Path(path), tuple(classes)
        self._partial: _PartialFile | None = None
        self._file: TextIO

    def write(self, result: StreamResult) -> None:
        """Append the line of one frame, see `Sink`."""
        line = json.dumps(as_record(result, self._classes), ensure_ascii=False)
        if self._partial is None:
            partial = _PartialFile(self._path)
            self._file = partial.path.open("w", encoding="utf-8", newline="\n")
            self._partial = partial
        try:
            self._file.write(f"{line}\n")
        except OSError as error:
            self._fail(self._partial, error)

    def close(self) -> None:
        """Put the file in its place, see `Sink`."""
        if self._partial is None:
            return
        partial, self._partial = self._partial, None
        try:
            self._file.close()
        except OSError as error:
            self._fail(partial, error)
        partial.commit()

    def discard(self) -> None:
        """Remove the file, see `Sink`."""
        if self._partial is not None:
            partial, self._partial = self._partial, None
            _close_quietly(self._file)
            partial.remove()

    def _fail(self, partial: _PartialFile, error: OSError) -> None:
        self._partial = None
        _close_quietly(self._file)
        partial.abandon(error)
        raise error


def as_record(result: StreamResult, classes: Sequence[str]) -> dict[str, Any]:
    """Return one result as a dictionary for JSON."""
    record: dict[str, Any] = {"frame": result.frame.index}
    pts_s = result.frame.pts_s
    record["pts_s"] = None if pts_s is None else round(pts_s, 6)
    if result.frame.path is not None:
        record["path"] = str(result.frame.path)
    record[result.result.KEY] = result.result.to_records(classes)
    return record


class VideoSink(Sink):
    """An H.264 video of the frames as they arrive, with the source's timestamps and colours.

    A `yuv420p` frame, which is what nearly every decoder makes, goes to the encoder as it is.

    Args:
        path: the file, replaced when the sink is closed; its suffix chooses the container.
        fps: rate of a source that has no timestamps (pictures), and what players show; None
            stands for 25.

    """

    def __init__(self, path: Path | str, fps: float | None) -> None:
        """Name the file; it is opened with the first frame, which sets the size."""
        self._path, self._fps = Path(path), fps or _DEFAULT_FPS
        self._partial: _PartialFile | None = None
        self._container: av.container.OutputContainer
        self._stream: av.video.stream.VideoStream
        self._size_hw = (0, 0)
        self._pictures: PictureWriter
        self._origin_ticks: int | None = None
        self._ticks = -1

    def write(self, result: StreamResult) -> None:
        """Encode one frame, see `Sink`.

        Raises:
            InputError: if its size differs from the first frame's.
            OutputError: if the disk is full.

        """
        frame = result.frame
        if self._partial is None:
            self._open(frame)
        elif frame.size_hw != self._size_hw:
            height, width = frame.size_hw
            raise InputError(
                f"`{self._path}`: every frame of a video must be as large as the first, "
                f"{self._size_hw[1]}x{self._size_hw[0]}, got {width}x{height} "
                f"({frame.path or f'frame {frame.index}'}). Write pictures instead: name a folder."
            )
        picture = self._pictures.picture(frame)
        picture.pts, picture.time_base = self._next_ticks(frame.pts_s), _TIME_BASE
        self._encode(picture)

    def close(self) -> None:
        """Flush the encoder and put the file in its place, see `Sink`."""
        if self._partial is None:
            return
        self._encode(None)
        partial, self._partial = self._partial, None
        try:
            self._container.close()
        except OSError as error:
            partial.abandon(error)
            raise
        partial.commit()

    def discard(self) -> None:
        """Remove the file, see `Sink`."""
        if self._partial is not None:
            partial, self._partial = self._partial, None
            _close_quietly(self._container)
            partial.remove()

    def _open(self, frame: Frame) -> None:
        import av  # noqa: PLC0415  # FFmpeg only when needed

        from edgecv.stream.pictures import PictureWriter  # noqa: PLC0415  # so is this

        codec = h264_encoder()
        partial = _PartialFile(self._path)
        height, width = frame.size_hw
        try:
            container = av.open(str(partial.path), "w")
            rate = Fraction(self._fps).limit_denominator(1001)  # 29.97 is 30000 / 1001
            stream = cast(
                "av.video.stream.VideoStream",
                container.add_stream(codec, rate=rate, options=_QUALITY.get(codec, {})),
            )
        except (av.FFmpegError, ValueError) as error:
            partial.remove()
            raise OutputError(
                f"`{self._path}`: FFmpeg cannot begin a video here: {error}. "
                "Choose a name that ends in .mp4."
            ) from error
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"  # what every player reads
        stream.codec_context.time_base = _TIME_BASE
        pictures = PictureWriter(frame)
        pictures.declare(stream.codec_context)
        if codec not in _QUALITY:
            stream.bit_rate = round(_BIT_RATE_PER_PIXEL * width * height * self._fps)
        self._partial, self._container, self._stream = partial, container, stream
        self._size_hw, self._pictures = (height, width), pictures

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

    def _encode(self, picture: "av.VideoFrame | None") -> None:
        import av  # noqa: PLC0415  # FFmpeg only when needed

        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            partial, self._partial = self._partial, None
            _close_quietly(self._container)
            if partial is not None and isinstance(error, OSError):
                partial.abandon(error)
            if partial is not None:
                partial.remove()
            raise OutputError(
                f"`{self._path}`: the encoder failed: {error}. Try a name that ends in .mp4."
            ) from error


def h264_encoder() -> str:
    """Return the name of the H.264 encoder to use.

    Raises:
        OutputError: if this FFmpeg was built without any.

    """
    import av  # noqa: PLC0415  # FFmpeg only when needed

    for name in H264_ENCODERS:
        if name in av.codecs_available:
            return name
    raise OutputError(
        "this FFmpeg has no H.264 encoder. Install PyAV's own: `pip install --force-reinstall av`."
    )


class ImageSink(Sink):
    """Pictures: one file, or a folder of them named after the source's files or frame numbers.

    Args:
        path: with an image suffix the one picture, else the folder.

    """

    def __init__(self, path: Path | str) -> None:
        """Name the file or folder; it is made with the first result."""
        self._path = Path(path)
        self._is_folder = self._path.is_dir() or not self._path.suffix
        self._written: set[Path] = set()

    def write(self, result: StreamResult) -> None:
        """Save one picture, see `Sink`.

        Raises:
            InputError: if a single picture was named and this is the second frame.
            OutputError: if the disk is full.

        """
        frame = result.frame
        if not self._is_folder and self._written:
            raise InputError(
                f"`{self._path}`: one picture holds one frame, got a second one. "
                "Name a folder or a video."
            )
        target = self._path / self._name(frame) if self._is_folder else self._path
        with replacing(target) as partial:
            Image.fromarray(frame.to_array("rgb24")).save(partial, quality=_JPEG_QUALITY)
        self._written.add(target)

    def close(self) -> None:
        """Do nothing: every picture is complete already."""

    def discard(self) -> None:
        """Do nothing: every picture is complete already."""

    def _name(self, frame: Frame) -> str:
        if frame.path is None:
            return f"frame_{frame.index:06}.jpg"
        if self._path / frame.path.name not in self._written:
            return frame.path.name
        return f"{frame.path.stem}_{frame.index}{frame.path.suffix}"  # of another folder


def _close_quietly(file: "TextIO | av.container.OutputContainer") -> None:
    """Close a file whose contents are given up; a full disk makes that fail once more."""
    with suppress(OSError, ValueError):  # FFmpeg's errors are the one or the other
        file.close()
