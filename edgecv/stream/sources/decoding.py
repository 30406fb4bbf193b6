"""The video stream of an open container: packets, pictures, frames; damage is stepped over."""

import math
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import av
import av.container

from edgecv.errors import SourceError
from edgecv.provenance import num_cores
from edgecv.stream.pictures import PictureReader, quarter_turns
from edgecv.stream.sources.frame import Frame
from edgecv.stream.sources.health import HealthRecord, Look

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

    Packet: TypeAlias = av.Packet[av.VideoStream]
else:
    Packet = av.Packet  # has no parameters at run time

_MOST_HELD_BACK = 64  # packets in a decoder: 16 of H.264's reordering, one for each frame thread
_MOST_THREADS = 16  # of a decoder: FFmpeg warns of more
_MAX_UNREADABLE = 1000  # in a row: what is behind them is no video any more


class VideoReader:
    """The first video stream of a container.

    `packets` touches the container alone and `pictures` the decoder alone, so that each may have
    a thread of its own.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        name: str,
        record: HealthRecord,
        *,
        is_live: bool,
    ) -> None:
        """Choose the stream; the container stays the caller's.

        Raises:
            SourceError: if there is no video in it.

        """
        self._container, self._name, self._record = container, name, record
        self._pictures = PictureReader()
        self._is_live, self._has_begun = is_live, False
        # Times of packets that were counted, whose pictures may still come out.
        self._counted: deque[int | None] = deque(maxlen=_MOST_HELD_BACK)
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise SourceError(f"`{name}`: must hold a video, found {kinds}. Name another file.")
        self.stream = stream = container.streams.video[0]
        self._time_base = stream.time_base
        self._context: VideoCodecContext = stream.codec_context
        # Frame threads are the fastest and hold back as many frames as there are threads. FFmpeg's
        # own choice is one more than cores, which takes more of them and is slower.
        self._context.thread_type = "SLICE" if is_live else "AUTO"
        self._context.thread_count = min(num_cores(), _MOST_THREADS)
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate else None
        self.num_frames = None if is_live else stream.frames or self._frames_by_duration()
        self.size_hw = stream.height, stream.width

    def packets(self) -> Iterator[Packet]:
        """Yield the packets, with an empty one at the end; those that cannot be read are counted.

        Raises:
            av.FFmpegError: if the container breaks off.

        """
        num_unreadable = 0  # counted once something comes behind them: the end is no damage
        while True:
            packets = self._container.demux(self.stream)  # one that has raised is over
            try:
                for packet in packets:
                    if num_unreadable:
                        self._record.corrupt(num_unreadable)
                        num_unreadable = 0
                    yield packet
            except av.InvalidDataError:
                num_unreadable += 1
                if num_unreadable > _MAX_UNREADABLE:
                    raise
            except IndexError:  # PyAV's: a stream began in mid-file, none of ours
                continue
            else:
                return

    def pictures(self, packet: Packet | None) -> list[av.VideoFrame]:
        """Return what the decoder makes of a packet; of None, what it still holds.

        A damaged packet is counted once, whether the container marks it (the decoder still makes
        of it what it can, for those that follow refer to it), it does not decode at all, or its
        picture comes out mended from the one before; the latter two not if a live stream was just
        joined: it begins with packets whose key frame was sent before. With a file's frame threads
        PyAV loses the sound picture that comes out together with the error.
        """
        is_damaged = packet is not None and packet.is_corrupt
        pictures: list[av.VideoFrame] = []
        try:
            pictures = self._context.decode(packet)
        except av.EOFError:
            return []  # drained before
        except av.FFmpegError:
            is_damaged = is_damaged or self._has_begun or not self._is_live
        if is_damaged:
            self._record.corrupt()
            self._counted.append(None if packet is None else packet.pts)
        for picture in pictures:
            if packet is None:  # PyAV takes their unit of time from the packet
                picture.time_base = self._time_base
            if not picture.is_corrupt:
                self._has_begun = True
            elif picture.pts not in self._counted and (self._has_begun or not self._is_live):
                self._record.corrupt()
        return pictures

    def frame(self, picture: av.VideoFrame, *, index: int, captured_s: float) -> Frame:
        """Return the frame of a picture, see `PictureReader`.

        Raises:
            SourceError: if FFmpeg cannot convert its pixel format.

        """
        try:
            return self._pictures.frame(picture, index=index, captured_s=captured_s)
        except (av.FFmpegError, ValueError) as error:
            raise SourceError(
                f"`{self._name}`: FFmpeg cannot convert its pixel format "
                f"`{picture.format.name}` ({reason_of(error)}). "
                "Convert it: `ffmpeg -i INPUT -pix_fmt yuv420p OUTPUT.mp4`."
            ) from error

    def look(self, picture: av.VideoFrame) -> Look:
        """Return what of a picture may change in mid-stream."""
        return picture.width, picture.height, picture.format.name, self._context.name

    def upright_hw(self, picture: av.VideoFrame) -> tuple[int, int]:
        """Return height and width of a picture in pixels, as it is to be shown."""
        size_hw = picture.height, picture.width
        return size_hw[::-1] if quarter_turns(picture) % 2 else size_hw

    def _frames_by_duration(self) -> int | None:
        """Return the number of frames that duration and rate suggest."""
        if self._container.duration is None or self.fps is None:
            return None
        return math.ceil(self._container.duration / av.time_base * self.fps)


def reason_of(error: Exception) -> str:
    """Return what FFmpeg says, without the file name or URL that `str(error)` would repeat."""
    if isinstance(error, av.ExitError):  # FFmpeg's word for "the interrupt callback said stop"
        return "nothing came before the timeout"
    return getattr(error, "strerror", None) or type(error).__name__
