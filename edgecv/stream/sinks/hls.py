"""Video for browsers: an HLS playlist that any web server hands out."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgecv.errors import InputError, OutputError
from edgecv.files import make_folder, unwritable
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.partial_file import close_quietly
from edgecv.stream.sinks.sink import Sink

if TYPE_CHECKING:
    from edgecv.stream.sinks.encoder import H264Writer

HLS_SUFFIX = ".m3u8"

_FOR_WRITING = 2  # FFmpeg's AVIO_FLAG_WRITE


class HlsSink(Sink):
    """An HLS playlist with MPEG-TS segments beside it, for any web server to hand out.

    Playlist and segments are renamed into place when they are whole. A frame of another size, an
    error and a new run go on in the same playlist, behind a mark of discontinuity.

    Args:
        path: the playlist, `.m3u8`; its segments are `<stem><number>.ts`.
        fps: see `H264Writer`.
        segment_s: seconds of a segment.
        keep: segments in the playlist; older ones are deleted. 0 keeps all.

    """

    recovers = True

    def __init__(
        self, path: Path | str, fps: float | None, *, segment_s: float = 2.0, keep: int = 6
    ) -> None:
        """Name the playlist; it is written with the first segment."""
        if segment_s <= 0 or keep < 0:
            raise InputError(
                f"HlsSink: `segment_s` must be greater than 0 and `keep` at least 0, got "
                f"{segment_s:g} and {keep}. Leave them out for 2 and 6."
            )
        self._path, self._fps = Path(path), fps
        self._segment_s, self._keep = segment_s, keep
        self._writer: H264Writer | None = None

    @property
    def name(self) -> str:
        """The playlist."""
        return str(self._path)

    def write(self, result: StreamResult) -> None:
        """Encode one frame, see `Sink`."""
        frame = result.frame
        if self._writer is not None and frame.size_hw != self._writer.size_hw:
            self.close()
        try:
            if self._writer is None:
                from edgecv.stream.sinks.encoder import H264Writer  # noqa: PLC0415  # FFmpeg

                make_folder(self._path.parent)
                flags = "temp_file+independent_segments+program_date_time"
                if self._path.exists():
                    flags += "+append_list"
                if self._keep:
                    flags += "+delete_segments"
                self._writer = H264Writer(
                    str(self._path),
                    frame,
                    self._fps,
                    format="hls",
                    options={
                        "hls_time": str(self._segment_s),
                        "hls_list_size": str(self._keep),
                        "hls_flags": flags,
                    },
                    key_frame_every_s=self._segment_s,
                    is_live=True,
                    io_open=_opened,
                )
            self._writer.write(frame)
        except (OSError, ValueError) as error:
            self._fail(error)

    def close(self) -> None:
        """Complete the last segment and the playlist, see `Sink`."""
        if self._writer is None:
            return
        try:
            self._writer.finish()
        except (OSError, ValueError) as error:
            self._fail(error)
        self._writer = None

    def discard(self) -> None:
        """Close it: the segments are out already."""
        self.close()

    def _fail(self, error: OSError | ValueError) -> None:
        if self._writer is not None:
            close_quietly(self._writer)
            self._writer = None
        if isinstance(error, OutputError):
            raise error
        if isinstance(error, OSError):
            told = unwritable(self._path, error).replace(
                "nothing was left behind", "whole segments are kept"
            )
            raise OutputError(told) from error
        raise OutputError(f"`{self._path}`: the encoder failed: {error}.") from error


def _opened(path: str, flags: int, _options: object) -> object:
    """Open a file for FFmpeg's muxer, which by itself goes on when the disk is full."""
    return Path(path).open("wb" if flags & _FOR_WRITING else "rb")
