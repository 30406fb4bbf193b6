"""Pictures: one, or a folder of them."""

from pathlib import Path

from PIL import Image

from edgecv.errors import InputError
from edgecv.files import replacing
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.sink import Sink
from edgecv.stream.sources import Frame

_JPEG_QUALITY = 92


class ImageSink(Sink):
    """Pictures: one file, or a folder of them named after the source's files or frame numbers.

    Args:
        path: with an image suffix the one picture, else the folder.

    """

    recovers = True

    def __init__(self, path: Path | str) -> None:
        """Name the file or folder; it is made with the first result."""
        self._path = Path(path)
        self._is_folder = self._path.is_dir() or not self._path.suffix
        self._written: set[Path] = set()

    @property
    def name(self) -> str:
        """The file or folder."""
        return str(self._path)

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
        save_picture(frame, target)
        if frame.path is not None or not self._is_folder:  # frame numbers are unique by themselves
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


def save_picture(frame: Frame, path: Path) -> None:
    """Save a frame as the picture that the suffix of `path` asks for, whole or not at all.

    Raises:
        OutputError: if the folder cannot be made or written, or the disk is full.

    """
    with replacing(path) as partial:
        Image.fromarray(frame.to_array("rgb24")).save(partial, quality=_JPEG_QUALITY)
