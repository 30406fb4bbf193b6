"""Any GStreamer pipeline as a source: `gst://videotestsrc ! appsink`.

The pipeline runs in a `gst-launch-1.0` of its own and sends its frames through a pipe, in
GStreamer's data protocol. Its Python binding would save that copy, but belongs to the system's
Python: a virtual environment has none without a compiler and GStreamer's headers. A process of its
own also survives a vendor's element that crashes or hangs: it is killed and started again.
"""

import os
import re
import select
import shlex
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.gdp import (
    BUFFER,
    CAPS,
    FORMAT_OF,
    HEADER_BYTES,
    VideoCaps,
    parse_caps,
    parse_header,
)
from edgecv.stream.sources.health import HealthRecord, Look
from edgecv.stream.sources.live import ConnectedSource
from edgecv.stream.sources.uri import redacted_words

_LAUNCHER = "gst-launch-1.0"
_PIPE_BYTES = 1 << 20  # the most that an ordinary user may ask for: fewer system calls
_KILL_AFTER_S = 0.5
_INSTALL = (
    "Install it: `apt install gstreamer1.0-tools gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-bad`."
)
_REMEDY = "Try the pipeline with `gst-launch-1.0`."

# `videoconvert` passes a format of the list through untouched, and converts others to the first.
_TAIL = [
    "videoconvert",
    "!",
    f"video/x-raw,format=(string){{{','.join(FORMAT_OF)}}}",
    "!",
    "gdppay",
    "!",
    "fdsink",
    "sync=false",
]

GStreamerPacket = tuple[VideoCaps, float | None, NDArray[np.uint8]]


def open_pipeline(
    pipeline: str,
    *,
    name: str | None = None,
    timeout_s: float,
    notices: Notices | None = None,
    reconnect: bool = True,
    remedy: str = _REMEDY,
) -> ConnectedSource[GStreamerPacket]:
    """Open a GStreamer pipeline.

    Args:
        pipeline: as `gst-launch-1.0` takes it, quotes included; ends in `! appsink`, whose
            properties are ignored, or in the element before it.
        name: for messages; the pipeline without its passwords if None.
        timeout_s: silence for longer is a stall.
        notices: where to say what happens.
        reconnect: whether a live pipeline that ends or breaks is started again.
        remedy: what to do when it cannot be started.

    Raises:
        SourceError: if GStreamer is not installed, an element is missing, or nothing comes.

    """
    shown = name or redacted_words(f"gst://{pipeline.strip()}")
    elements = pipeline_elements(pipeline, shown)
    launcher = shutil.which(_LAUNCHER)
    if launcher is None:
        raise SourceError(f"`{shown}`: needs GStreamer's `{_LAUNCHER}`, found none. {_INSTALL}")
    record = HealthRecord(shown, notices)
    return ConnectedSource(
        shown,
        lambda: GStreamerConnection([launcher, *elements], shown, timeout_s, remedy),
        record=record,
        timeout_s=timeout_s,
        reconnects=reconnect,
        remedy=remedy,
    )


def pipeline_elements(pipeline: str, name: str) -> list[str]:
    """Return a pipeline as a shell would split it, without its `appsink`.

    Raises:
        SourceError: if it is empty or a quote is left open.

    """
    try:
        words = shlex.split(pipeline)
    except ValueError as error:
        raise SourceError(f"`{name}`: {error}. Close the quotes of the pipeline.") from None
    sinks = [position for position, word in enumerate(words) if word == "appsink"]
    if sinks:
        words = words[: sinks[-1]]
    while words and words[-1] == "!":
        words.pop()
    if not words:
        raise SourceError(
            f"`{name}`: a pipeline must hold elements, found none. "
            "Write `gst://videotestsrc ! appsink`."
        )
    return words


class GStreamerConnection:
    """One run of a pipeline, see `Connection`.

    Args:
        command: the launcher and the pipeline without its sink.
        name: of the source.
        timeout_s: for the first frame to come.
        remedy: what to do when it does not.

    Raises:
        SourceError: if it ends before its first frame, with GStreamer's reason, or none comes.

    """

    num_frames: int | None = None

    def __init__(self, command: list[str], name: str, timeout_s: float, remedy: str) -> None:
        """Start it and wait for the first frame."""
        self._words: deque[str] = deque(maxlen=50)  # what it prints
        self._caps: VideoCaps | None = None
        self._has_ended = False
        # Not its standard output: elements of vendors print to that.
        self._frames_end, write_end = os.pipe()
        _widen(self._frames_end)
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the user's own pipeline, no shell
                [*command, "!", *_TAIL, f"fd={write_end}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
                env=os.environ | {"LC_ALL": "C"},  # its words are read
            )
        except OSError as error:
            os.close(self._frames_end)
            raise SourceError(f"`{name}`: {error.strerror}. {_INSTALL}") from error
        finally:
            os.close(write_end)
        try:
            first = self._read_frame(time.perf_counter() + timeout_s)
        except BaseException:
            self.close()
            raise
        if first is None:
            reason = self._reason() if self._has_ended else f"none within {timeout_s:g} s"
            self.close()
            raise SourceError(f"`{name}`: the pipeline made no frame: {reason}. {remedy}")
        self._first: GStreamerPacket | None = first
        caps = first[0]
        self.is_live = any("is live" in line for line in self._words)
        self.fps = None if caps.fps is None else float(caps.fps)
        self.size_hw: tuple[int, int] | None = caps.size_hw

    def packets(self) -> Iterator[GStreamerPacket]:
        """Yield the frames as they arrive.

        Raises:
            SourceError: if the pipeline fails.

        """
        frame, self._first = self._first, None
        while frame is not None:
            yield frame
            frame = self._read_frame()
        if self._process.wait() != 0:
            raise SourceError(self._reason())

    def frames(self, packet: GStreamerPacket, arrived_s: float) -> Iterator[tuple[Frame, Look]]:
        """Yield the one frame of a packet; its pixels are views of what was read."""
        caps, pts_s, data = packet
        frame = Frame(
            0,
            caps.pixels(data),
            caps.format,
            pts_s,
            captured_s=arrived_s,
            matrix=caps.matrix,
            range=caps.range,
            declares_matrix=caps.declares_matrix,
        )
        yield frame, (caps.size_hw[1], caps.size_hw[0], caps.format, "raw")

    def rest(self) -> Iterator[tuple[Frame, Look]]:
        """Yield nothing: frames are sent as they are made."""
        return iter(())

    def is_finished(self) -> bool:
        """Whether the end of the pipeline is the end of a film."""
        return not self.is_live

    def interrupt(self) -> None:
        """Kill the pipeline, which ends the read that waits for it."""
        self._process.kill()

    def close(self) -> None:
        """End the pipeline and wait for it."""
        self._process.terminate()
        try:
            self._process.wait(_KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._frames_end)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read_frame(self, deadline_s: float | None = None) -> GStreamerPacket | None:
        """Return the next frame; None at the end, or at the deadline."""
        while (start := self._read(HEADER_BYTES, deadline_s)) is not None:
            header = parse_header(start.tobytes())
            payload = self._read(header.num_bytes, deadline_s)
            if payload is None:
                return None
            if header.type == CAPS:
                self._caps = parse_caps(payload.tobytes().decode("utf-8", "replace"))
            elif header.type == BUFFER and self._caps is not None:
                return self._caps, header.pts_s, payload
        return None

    def _read(self, num_bytes: int, deadline_s: float | None) -> NDArray[np.uint8] | None:
        """Return so many bytes; None at the end, or at the deadline. Listens to its words too."""
        data = np.empty(num_bytes, np.uint8)
        left = data.data
        printed = self._process.stdout
        while left:
            inputs: list[IO[bytes] | int] = [self._frames_end]
            if printed is not None and not printed.closed:
                inputs.append(printed)
            wait_s = None if deadline_s is None else max(deadline_s - time.perf_counter(), 0.0)
            ready, _, _ = select.select(inputs, [], [], wait_s)
            if not ready:
                return None
            if printed is not None and printed in ready:
                self._listen()
            if self._frames_end in ready:
                count = os.readv(self._frames_end, [left])
                if count == 0:
                    self._has_ended = True
                    return None
                left = left[count:]
        return data

    def _listen(self) -> None:
        """Keep what the pipeline prints; without a reader it would block one day."""
        printed = self._process.stdout
        if printed is None or printed.closed:
            return
        text = os.read(printed.fileno(), 1 << 16).decode("utf-8", "replace")
        if text:
            self._words.extend(line.strip() for line in text.splitlines() if line.strip())
        else:
            printed.close()

    def _reason(self) -> str:
        """Return why the pipeline ended, in its own words."""
        while self._process.stdout is not None and not self._process.stdout.closed:
            self._listen()
        for mark in ("ERROR: from element", "WARNING: erroneous pipeline:", "ERROR", "WARNING"):
            for line in self._words:
                if line.startswith(mark):
                    told = redacted_words(line.partition(": ")[2])
                    return re.sub(r"^from element \S*[:/](\w+): ", r"\1: ", told).rstrip(".")
        return f"it ended with exit code {self._process.wait()}"


def _widen(pipe: int) -> None:
    """Let a pipe hold a whole frame, where the system allows."""
    import fcntl  # noqa: PLC0415  # not on Windows

    with suppress(OSError):  # the user's pipes hold enough already: slower, not wrong
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
