"""A container that FFmpeg keeps open on the network or a device, as a connection."""

import time
from collections.abc import Iterator
from dataclasses import replace

import av
import av.container

from edgecv.errors import SourceError
from edgecv.stream.sources.decoding import Packet, VideoReader, reason_of
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import HealthRecord, Look

# Elementary streams and multipart pictures carry no time: FFmpeg counts at a rate that it assumes.
_TIMELESS_FORMATS = ("mpjpeg", "mjpeg", "mjpeg_2000", "h264", "hevc", "image2pipe", "jpeg_pipe")


class ContainerConnection:
    """The first video stream of an open container, see `Connection`.

    Args:
        container: open; closed by this connection.
        name: of the source.
        record: where damage is counted.
        is_live: whether frames come at their own pace.
        has_clock: whether presentation times are readings of this machine's monotonic clock, at
            the moment of exposure, as V4L2's are.

    Raises:
        SourceError: if there is no video in it; it is closed then.

    """

    def __init__(
        self,
        container: av.container.InputContainer,
        name: str,
        record: HealthRecord,
        *,
        is_live: bool,
        has_clock: bool = False,
    ) -> None:
        """Choose the video stream."""
        self._container, self._name = container, name
        self.is_live, self._has_clock = is_live, has_clock
        try:
            self._reader = VideoReader(container, name, record, is_live=is_live)
        except BaseException:
            container.close()
            raise
        self.fps, self.num_frames = self._reader.fps, self._reader.num_frames
        self.size_hw: tuple[int, int] | None = self._reader.size_hw
        self._is_timeless = is_live and container.format.name in _TIMELESS_FORMATS
        if self._is_timeless:
            self.fps = None
        duration, start = container.duration, container.start_time
        # What the sender announced: a film over RTSP has an end, a camera has none.
        self._end_s = None if duration is None else ((start or 0) + duration) / av.time_base
        self._last_s: float | None = None
        self._is_interrupted = False

    def packets(self) -> Iterator[Packet]:
        """Yield the packets as they arrive."""
        packets = self._reader.packets()
        while not self._is_interrupted:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                # `from None`: the original message holds the whole URL with its password.
                raise SourceError(reason_of(error)) from None
            if packet is None:
                return
            if packet.size:  # the empty one at the end is for `rest`
                yield packet

    def frames(self, packet: Packet, arrived_s: float) -> Iterator[tuple[Frame, Look]]:
        """Yield the frames of a packet; captured as it arrived or as the camera says."""
        return self._frames(self._reader.pictures(packet), arrived_s)

    def rest(self) -> Iterator[tuple[Frame, Look]]:
        """Yield the frames that the decoder still holds at the end."""
        return self._frames(self._reader.pictures(None), time.perf_counter())

    def is_finished(self) -> bool:
        """Whether the end that was announced has been reached."""
        if not self.is_live:
            return True
        if self._end_s is None or self._last_s is None:
            return False
        return self._last_s >= self._end_s - 1.0

    def interrupt(self) -> None:
        """Read no further packet; the call into FFmpeg that waits for one ends by its timeout."""
        self._is_interrupted = True

    def close(self) -> None:
        """Close the container."""
        self._container.close()

    def _frames(
        self, pictures: list[av.VideoFrame], arrived_s: float
    ) -> Iterator[tuple[Frame, Look]]:
        for picture in pictures:
            captured_s = arrived_s
            told_s = picture.time
            # perf_counter is CLOCK_MONOTONIC on Linux, which V4L2 stamps its buffers with.
            if self._has_clock and told_s is not None and 0 <= arrived_s - told_s < 1:
                captured_s = told_s
            frame = self._reader.frame(picture, index=0, captured_s=captured_s)
            if self._is_timeless:
                frame = replace(frame, pts_s=captured_s)
            self._last_s = told_s if told_s is not None else self._last_s
            yield frame, self._reader.look(picture)
