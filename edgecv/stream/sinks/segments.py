"""Videos for runs of days: written in place, playable whatever happens, cut into segments."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgecv.errors import InputError, OutputError
from edgecv.files import make_folder, unwritable
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.dated_files import check_limits, dated_path, remove_all_but
from edgecv.stream.sinks.partial_file import close_quietly
from edgecv.stream.sinks.sink import Sink
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.stream.sinks.encoder import H264Writer

_KEY_FRAME_EVERY_S = 2.0
# A fragment is out a second after its first frame: a power cut costs that and what the encoder
# holds back, about another second.
_FRAGMENTED = {
    "movflags": "+empty_moov+default_base_moof",
    "frag_duration": "1000000",
    "flush_packets": "1",
}
_CLUSTERED = {"cluster_time_limit": "1000", "flush_packets": "1"}
_OPTIONS = {
    ".mp4": _FRAGMENTED,
    ".m4v": _FRAGMENTED,
    ".mov": _FRAGMENTED,
    ".mkv": _CLUSTERED,
    ".ts": {"flush_packets": "1"},
}


class SegmentedVideoSink(Sink):
    """H.264 videos that survive a crash, a power cut and a full disk: `out_20260131T235959Z.mp4`.

    Each file is written under its own name from the start, in fragments of a second (MP4, MOV),
    clusters (Matroska) or packets (MPEG-TS), so that it plays up to the last second or two even
    after SIGKILL. A new one begins when the last is full, when the frame size changes, and after
    an error, as soon as there is room again.

    Args:
        path: name of the files, to which the time in UTC is added; its suffix chooses the
            container.
        fps: see `H264Writer`.
        segment_s: seconds of video in a file, None without limit.
        segment_bytes: bytes of video in a file, None without limit.
        keep: files to keep; older ones of the same name are deleted, of earlier runs too. None
            keeps all.

    Raises:
        InputError: if a limit is not positive, or FFmpeg cannot write fragments into such a file.

    """

    recovers = True

    def __init__(
        self,
        path: Path | str,
        fps: float | None,
        *,
        segment_s: float | None = None,
        segment_bytes: int | None = None,
        keep: int | None = None,
    ) -> None:
        """Name the files; the first is opened with the first frame."""
        self._path, self._fps = Path(path), fps
        check_limits(
            "SegmentedVideoSink", segment_s=segment_s, segment_bytes=segment_bytes, keep=keep
        )
        if self._path.suffix.lower() not in _OPTIONS:
            raise InputError(
                f"SegmentedVideoSink: `path` must end in one of {', '.join(_OPTIONS)}, "
                f"got `{path}`. Choose a name that ends in .mp4."
            )
        self._segment_s, self._segment_bytes, self._keep = segment_s, segment_bytes, keep
        self._writer: H264Writer | None = None
        self._num_good_bytes = 0
        self.paths: list[Path] = []
        """The files of this run that are still there, oldest first."""

    @property
    def name(self) -> str:
        """The name without the times."""
        return str(self._path)

    def write(self, result: StreamResult) -> None:
        """Encode one frame, see `Sink`."""
        frame = result.frame
        if self._writer is not None and (
            self._is_full(self._writer) or frame.size_hw != self._writer.size_hw
        ):
            self.close()
        writer = self._writer or self._open(frame)
        try:
            writer.write(frame)
            # Whole fragments: what a full disk takes of the next one is cut off again.
            self._num_good_bytes = self.paths[-1].stat().st_size
        except (OSError, ValueError) as error:
            self._fail(writer, error)

    def close(self) -> None:
        """Complete the file that is being written, see `Sink`."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            writer.finish()
        except (OSError, ValueError) as error:
            self._fail(writer, error)

    def discard(self) -> None:
        """Complete the file: what was recorded stays."""
        self.close()

    def _is_full(self, writer: "H264Writer") -> bool:
        return (self._segment_s is not None and writer.duration_s >= self._segment_s) or (
            self._segment_bytes is not None and writer.num_bytes >= self._segment_bytes
        )

    def _open(self, frame: Frame) -> "H264Writer":
        from edgecv.stream.sinks.encoder import H264Writer  # noqa: PLC0415  # FFmpeg when needed

        make_folder(self._path.parent)
        path = dated_path(self._path)
        try:
            path.touch(exist_ok=False)
            self._writer = H264Writer(
                str(path),
                frame,
                self._fps,
                options=_OPTIONS[path.suffix.lower()],
                key_frame_every_s=_KEY_FRAME_EVERY_S,
            )
        except OutputError:
            raise
        except (OSError, ValueError) as error:
            path.unlink(missing_ok=True)
            raise OutputError(_reason(path, error)) from error
        self.paths.append(path)
        self._num_good_bytes = 0
        if self._keep is not None:
            remove_all_but(self._path, self._keep)
            self.paths = [path for path in self.paths if path.exists()]
        return self._writer

    def _fail(self, writer: "H264Writer", error: OSError | ValueError) -> None:
        """Leave the file as far as it was written and raise."""
        self._writer = None
        close_quietly(writer)
        with suppress(OSError):
            os.truncate(self.paths[-1], self._num_good_bytes)
        raise OutputError(_reason(self.paths[-1], error)) from error


def _reason(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return unwritable(path, error).replace("nothing was left behind", "it plays up to here")
    return f"`{path}`: the encoder failed: {error}. Try a name that ends in .mp4."
