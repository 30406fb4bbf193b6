"""Where frames come from: a URI becomes a source, and a source is a stream of frames.

The pictures are here; files, cameras and URLs that FFmpeg reads are in `edgecv.stream.video`.
"""

import glob
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgecv.closing import Closing
from edgecv.errors import InputError, SourceError
from edgecv.frame_formats import (
    ColourMatrix,
    ColourRange,
    FrameFormat,
    Pixels,
    frame_size_hw,
    planes_of,
)
from edgecv.images import IMAGE_SUFFIXES, read_image
from edgecv.kernels import letterbox

ImageFormat = Literal["bgr24", "rgb24"]

URL_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp")
TIMEOUT_S = 10.0

_CAMERA = re.compile(r"(?:camera:)?(\d+)")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source, as the camera or the decoder made it.

    Args:
        index: 0, 1, 2, … in the order of capture; a gap is a frame that was dropped.
        pixels: array or tuple of planes, see `edgecv.frame_formats`. A decoder's planes are
            read-only, because it predicts the next frames from them; see `to_array`, `writable`.
        format: how the pixels lie in memory.
        pts_s: presentation time in seconds as the source tells it, None for pictures.
        path: the file, for pictures.
        captured_s: when the work on it began, in seconds of `time.perf_counter`: a live source's
            data had arrived, a file's data was asked for.
        matrix: of YUV, what its colours mean.
        range: of YUV, whether black and white are 16 and 235 (`limited`) or 0 and 255.
        declares_matrix: False where the source leaves the matrix open. Then `matrix` is `bt601`,
            as FFmpeg's converter and OpenCV take it, and a video made of it leaves it open too.

    """

    index: int
    pixels: Pixels = field(repr=False)
    format: FrameFormat
    pts_s: float | None = None
    path: Path | None = None
    captured_s: float = field(default_factory=time.perf_counter)
    matrix: ColourMatrix = "bt601"
    range: ColourRange = "limited"
    declares_matrix: bool = True

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return frame_size_hw(planes_of("Frame", self.pixels, self.format))

    def to_array(self, format: ImageFormat = "bgr24") -> NDArray[np.uint8]:  # noqa: A002
        """Return the picture as a new array (H, W, 3) uint8, yours to draw in.

        Args:
            format: order of its channels, `bgr24` as OpenCV has it or `rgb24`.

        """
        if self.format == format and not isinstance(self.pixels, tuple):
            return self.pixels.copy(order="C")
        array, _ = letterbox(
            self.pixels,
            self.size_hw,
            format=self.format,
            matrix=self.matrix,
            range=self.range,
            fit="stretch",  # to its own size: only the colours change
            colour="bgr" if format == "bgr24" else "rgb",
            scale=1,
            dtype="uint8",
            layout="hwc",
        )
        return array

    def converted(self, format: ImageFormat) -> "Frame":  # noqa: A002
        """Return the frame with pixels of its own in `format`."""
        return replace(self, pixels=self.to_array(format), format=format)

    def writable(self) -> "Frame":
        """Return the frame itself if its pixels may be changed, else one with a copy of them."""
        planes = self.pixels if isinstance(self.pixels, tuple) else (self.pixels,)
        if all(plane.flags.writeable for plane in planes):
            return self
        copies = tuple(plane.copy(order="C") for plane in planes)
        return replace(self, pixels=copies if isinstance(self.pixels, tuple) else copies[0])


@runtime_checkable
class Source(Closing, Protocol):
    """Frames from one place, to be iterated once and closed."""

    @property
    def name(self) -> str:
        """The file, pattern, camera or URL for messages; never with a password."""

    @property
    def is_live(self) -> bool:
        """Whether frames come at their own pace, so that one not taken in time is dropped."""

    @property
    def fps(self) -> float | None:
        """Frames a second as announced, None where that is unknown or meaningless."""

    @property
    def num_frames(self) -> int | None:
        """How many frames there will be, an estimate for videos, None where unknown."""

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """Height and width of every frame in pixels, None where unknown or changing."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order.

        Raises:
            SourceError: if the next one cannot be read; all before it were yielded.

        """

    def close(self) -> None:
        """Give back the file or the device; twice does no harm."""


def open_source(
    uri: str | int | Path | Sequence[str | Path], *, timeout_s: float = TIMEOUT_S
) -> Source:
    """Open what `uri` names.

    Args:
        uri: a video file; an image file; a folder of images, in natural order (2 before 10); a
            glob pattern of images (`**` descends); an `rtsp://`, `http://`, `udp://` or
            `rtmp://` URL; a camera's number (`0`, `"0"` or `"camera:0"`); or a sequence of
            image files.
        timeout_s: a URL or camera that is silent for longer is an error, in seconds.

    Raises:
        SourceError: if there is no such thing or it holds no pictures; the message says what was
            found and what to do.

    """
    if isinstance(uri, Sequence) and not isinstance(uri, str):
        return ImageSource(uri)
    text = str(uri)
    if scheme := _SCHEME.match(text):
        return _open_url(text, scheme[1].lower(), timeout_s)
    if camera := _CAMERA.fullmatch(text):
        from edgecv.stream.video import open_camera  # noqa: PLC0415  # FFmpeg only when needed

        return open_camera(int(camera[1]), timeout_s=timeout_s)
    path = Path(text)
    if path.is_dir():
        return ImageSource(images_of(path), name=text)
    if path.exists():
        return _open_file(path)
    if glob.has_magic(text):
        return ImageSource(_images_matching(text), name=text)
    raise SourceError(f"`{text}`: there is no such file or folder. Check the path.")


class ImageSource(Closing):
    """Pictures, one after the other, upright and as `rgb24`, see `Source`."""

    is_live = False
    fps: float | None = None
    size_hw: tuple[int, int] | None = None

    def __init__(self, paths: Sequence[str | Path], *, name: str | None = None) -> None:
        """Take the image files `paths`, in this order; they are opened as they are reached.

        Args:
            paths: at least one image file.
            name: what messages call them; the one file, or how many there are.

        Raises:
            SourceError: if `paths` is empty.

        """
        self.paths = [Path(path) for path in paths]
        if not self.paths:
            raise SourceError("the list of images is empty. Name at least one image.")
        only_one = str(self.paths[0]) if len(self.paths) == 1 else f"{len(self.paths)} images"
        self.name = name or only_one
        self.num_frames: int | None = len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yield one frame per file, see `Source`."""
        for index, path in enumerate(self.paths):
            begun_s = time.perf_counter()
            try:
                pixels = read_image(path)
            except InputError as error:
                raise SourceError(str(error).removeprefix("read_image: ")) from error
            yield Frame(index, pixels, "rgb24", path=path, captured_s=begun_s)

    def close(self) -> None:
        """Do nothing: every file was closed when it had been read."""


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Return a sort key by which `frame_2.png` comes before `frame_10.png`."""
    # re.split with a group alternates text and digits, so that like meets like.
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def images_of(folder: Path) -> list[Path]:
    """Return the images that lie directly in `folder`, in natural order."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise SourceError(
            f"`{folder}`: the folder cannot be read: {error.strerror}. Check its permissions."
        ) from error
    images = sorted((path for path in entries if _is_image(path)), key=natural_key)
    if not images:
        raise SourceError(
            f"`{folder}`: a folder must hold images, found {_inventory(entries)}. "
            "Name another folder, a video file, or a pattern such as 'folder/**/*.jpg'."
        )
    return images


def _images_matching(pattern: str) -> list[Path]:
    """Return the images that `pattern` matches, in natural order."""
    entries = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207  # may be absolute
    images = sorted((path for path in entries if _is_image(path)), key=natural_key)
    if not images:
        found = f"only {_inventory(entries)}" if entries else "nothing"
        raise SourceError(
            f"`{pattern}`: the pattern must match images, it matches {found}. "
            "Check the folder and the suffix; upper and lower case differ."
        )
    return images


def _inventory(entries: Sequence[Path]) -> str:
    """Return what `entries` are, such as `3 .txt, 1 folder`."""
    kinds = Counter(
        "folder" if path.is_dir() else path.suffix.lower() or "without suffix" for path in entries
    )
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4)) or "it empty"


def _open_file(path: Path) -> Source:
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource([path])
    from edgecv.stream.video import open_video  # noqa: PLC0415  # FFmpeg only when needed

    return open_video(path)


def _open_url(url: str, scheme: str, timeout_s: float) -> Source:
    from edgecv.stream.video import open_url, redacted  # noqa: PLC0415  # FFmpeg only when needed

    if scheme not in URL_SCHEMES:
        raise SourceError(
            f"`{redacted(url)}`: a URL must begin with one of "
            f"{', '.join(f'{known}://' for known in URL_SCHEMES)}, got `{scheme}://`."
        )
    return open_url(url, timeout_s=timeout_s)
