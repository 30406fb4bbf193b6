"""A video that appears whole when the run ends, or not at all: for runs of minutes."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgecv.errors import InputError, OutputError
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.partial_file import PartialFile, close_quietly
from edgecv.stream.sinks.sink import Sink
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.stream.sinks.encoder import H264Writer

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".ts")


class VideoSink(Sink):
    """An H.264 video of the frames as they arrive, see `H264Writer`.

    Args:
        path: the file, replaced when the sink is closed; its suffix chooses the container.
        fps: rate of a source that has no timestamps (pictures), and what players show; None
            stands for 25.

    """

    def __init__(self, path: Path | str, fps: float | None) -> None:
        """Name the file; it is opened with the first frame, which sets the size."""
        self._path, self._fps = Path(path), fps
        self._partial: PartialFile | None = None
        self._writer: H264Writer

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    def write(self, result: StreamResult) -> None:
        """Encode one frame, see `Sink`.

        Raises:
            InputError: if its size differs from the first frame's.
            OutputError: if the disk is full.

        """
        frame = result.frame
        if self._partial is None:
            self._open(frame)
        elif frame.size_hw != self._writer.size_hw:
            height, width = frame.size_hw
            first_height, first_width = self._writer.size_hw
            raise InputError(
                f"`{self._path}`: every frame of a video must be as large as the first, "
                f"{first_width}x{first_height}, got {width}x{height} "
                f"({frame.path or f'frame {frame.index}'}). Write pictures instead: name a folder."
            )
        try:
            self._writer.write(frame)
        except (OSError, ValueError) as error:
            self._fail(error)

    def close(self) -> None:
        """Flush the encoder and put the file in its place, see `Sink`."""
        if self._partial is None:
            return
        try:
            self._writer.finish()
        except (OSError, ValueError) as error:
            self._fail(error)
        partial, self._partial = self._partial, None
        partial.commit()

    def discard(self) -> None:
        """Remove the file, see `Sink`."""
        if self._partial is not None:
            partial, self._partial = self._partial, None
            close_quietly(self._writer)
            partial.remove()

    def _open(self, frame: Frame) -> None:
        from edgecv.stream.sinks.encoder import H264Writer  # noqa: PLC0415  # FFmpeg when needed

        partial = PartialFile(self._path)
        try:
            self._writer = H264Writer(str(partial.path), frame, self._fps)
        except (OSError, ValueError) as error:
            partial.remove()
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"`{self._path}`: FFmpeg cannot begin a video here: {error}. "
                "Choose a name that ends in .mp4."
            ) from error
        self._partial = partial

    def _fail(self, error: OSError | ValueError) -> None:
        """Give the file up; FFmpeg's errors are the one or the other."""
        partial, self._partial = self._partial, None
        close_quietly(self._writer)
        if partial is not None:
            if isinstance(error, OSError):
                partial.abandon(error)
            with suppress(OSError):
                partial.remove()
        raise OutputError(
            f"`{self._path}`: the encoder failed: {error}. Try a name that ends in .mp4."
        ) from error
