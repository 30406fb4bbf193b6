"""From FFmpeg's pictures to frames and back, without converting what can be taken as it is."""

from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Plane, planes_of
from edgecv.stream.sources.frame import Frame

# FFmpeg's names of the formats that the kernels read.
_FORMAT_OF: dict[str, FrameFormat] = {
    "yuv420p": "yuv420p",
    "yuvj420p": "yuv420p",  # an older way to say that the range is full
    "nv12": "nv12",
    "yuyv422": "yuyv422",
    "gray": "gray8",
    "rgb24": "rgb24",
    "bgr24": "bgr24",
    "bayer_rggb8": "bayer_rggb8",
    "bayer_bggr8": "bayer_bggr8",
    "bayer_grbg8": "bayer_grbg8",
    "bayer_gbrg8": "bayer_gbrg8",
}
_SUBSAMPLED = ("yuv420p", "nv12")
_YUV = (*_SUBSAMPLED, "yuyv422")
# Others do not survive a quarter turn: it would move yuyv's shared chroma and Bayer's pattern.
_TURNABLE = (*_SUBSAMPLED, "gray8", "rgb24", "bgr24")
_BYTES_PER_PIXEL = {"rgb24": 3, "bgr24": 3, "yuyv422": 2}

# Code points of ITU-T H.273, which FFmpeg's AVColorSpace and AVColorRange are. Its converter
# numbers matrices otherwise, but 1 and 5 are the same.
_MATRIX_OF: dict[int, ColourMatrix] = {1: "bt709", 5: "bt601", 6: "bt601"}
_CODE_OF_MATRIX: dict[ColourMatrix, int] = {"bt709": 1, "bt601": 5}
_UNDECLARED = 2
_NO_MATRIX = (0, _UNDECLARED, 3)  # 0 is RGB, which these formats are not, and 3 is reserved
_CODE_OF_RANGE: dict[ColourRange, int] = {"limited": 1, "full": 2}


class PictureReader:
    """Makes frames of decoded pictures, upright by the display matrix that phones write.

    The planes are the decoder's own and read-only: it predicts the next pictures from them. Only
    a picture to be turned is copied, and only one that no kernel reads (10 bits, 4:4:4, BT.2020,
    …) is converted, by FFmpeg to `bgr24`.
    """

    def __init__(self) -> None:
        """Begin without a converter's tables; they are kept from picture to picture."""
        self._reformatter = VideoReformatter()

    def frame(self, picture: av.VideoFrame, *, index: int, captured_s: float) -> Frame:
        """Return the frame of a picture; the frame's arrays keep the picture alive.

        Args:
            picture: as decoded.
            index: see `Frame`.
            captured_s: see `Frame`.

        Raises:
            av.FFmpegError: if FFmpeg cannot convert its pixel format.

        """
        turns = quarter_turns(picture)
        format = _format_in_place(picture, turns)  # noqa: A001  # the word of the whole package
        if format is None:
            converted = self._reformatter.reformat(picture, format="bgr24")
            (pixels,) = _planes(converted, "bgr24")
            upright = _turned(pixels, turns)
            return Frame(index, upright, "bgr24", picture.time, captured_s=captured_s)
        planes = tuple(_turned(_read_only(plane), turns) for plane in _planes(picture, format))
        is_full = picture.format.name == "yuvj420p" or picture.color_range == _CODE_OF_RANGE["full"]
        return Frame(
            index,
            planes if format in _SUBSAMPLED else planes[0],
            format,
            picture.time,
            captured_s=captured_s,
            matrix=_MATRIX_OF.get(picture.colorspace, "bt601"),
            range="full" if is_full else "limited",
            declares_matrix=picture.colorspace in _MATRIX_OF,
        )


def quarter_turns(picture: av.VideoFrame) -> int:
    """Return by how many quarter turns, counter-clockwise, the picture is to be shown."""
    return round(getattr(picture, "rotation", 0) / 90) % 4


class PictureWriter:
    """Makes an encoder's pictures of frames: `yuv420p` with even sides, all of the same colours.

    A `yuv420p` frame is copied plane by plane, bit for bit; FFmpeg converts others. Where a side
    is odd, the last row or column is repeated.

    Args:
        first: the frame that sets the colours: its own if it is YUV, else BT.601's.

    """

    def __init__(self, first: Frame) -> None:
        """Begin without a converter's tables; they are kept from frame to frame."""
        is_yuv = first.format in _YUV
        self.matrix: ColourMatrix = first.matrix if is_yuv else "bt601"
        self.range: ColourRange = first.range if is_yuv else "limited"
        self._declares_matrix = first.declares_matrix or not is_yuv
        self._reformatter = VideoReformatter()

    def declare(self, context: VideoCodecContext) -> None:
        """Write the colours into a video's header, before its first frame is encoded.

        A matrix that the source left open stays open: players guess it by the size of the picture,
        and so guess the same as for the source.
        """
        code = _CODE_OF_MATRIX[self.matrix] if self._declares_matrix else _UNDECLARED
        context.colorspace, context.color_range = code, _CODE_OF_RANGE[self.range]

    def picture(self, frame: Frame) -> av.VideoFrame:
        """Return the picture of a frame of any format and size."""
        if frame.format.startswith("bayer"):
            frame = frame.converted("bgr24")
        picture = _copied(frame)
        if frame.format in _YUV:
            _declare(picture, frame.matrix, frame.range)
            has_colours = (frame.matrix, frame.range) == (self.matrix, self.range)
            if frame.format == "yuv420p" and has_colours:
                return picture
        converted = self._reformatter.reformat(
            picture,
            format="yuv420p",
            dst_colorspace=_CODE_OF_MATRIX[self.matrix],
            dst_color_range=_CODE_OF_RANGE[self.range],
        )
        _declare(converted, self.matrix, self.range)
        return converted


def _declare(picture: av.VideoFrame, matrix: ColourMatrix, range: ColourRange) -> None:  # noqa: A002
    picture.colorspace = _CODE_OF_MATRIX[matrix]
    picture.color_range = _CODE_OF_RANGE[range]


def _format_in_place(picture: av.VideoFrame, turns: int) -> FrameFormat | None:
    """Return the format in which the kernels read the planes as they lie, None if they cannot."""
    format = _FORMAT_OF.get(picture.format.name)  # noqa: A001
    has_odd_width, has_odd_height = picture.width % 2 == 1, picture.height % 2 == 1
    if (
        format is None
        or (format in _YUV and picture.colorspace not in (*_MATRIX_OF, *_NO_MATRIX))
        or (format == "yuyv422" and has_odd_width)
        or (turns and format not in _TURNABLE)
        # The chroma of an odd last column would come to lie on the first two.
        or (turns and format in _SUBSAMPLED and (has_odd_width or has_odd_height))
    ):
        return None
    return format


def _planes(picture: av.VideoFrame, format: FrameFormat) -> tuple[Plane, ...]:  # noqa: A002
    """Return views of the picture's planes, shaped as `edgecv.frame_formats` says."""
    views = []
    for position, plane in enumerate(picture.planes):
        num_bytes = 2 if format == "nv12" and position else _BYTES_PER_PIXEL.get(format, 1)
        pixels = _rows(plane)[:, : plane.width * num_bytes]
        is_deep = num_bytes > 1
        views.append(pixels.reshape(plane.height, plane.width, num_bytes) if is_deep else pixels)
    return tuple(views)


def _rows(plane: VideoPlane) -> Plane:
    """Return the bytes of every row, with those that lie between the rows."""
    # PyAV's stubs do not declare that a plane is a buffer.
    whole = np.frombuffer(cast("memoryview", plane), np.uint8)
    rows = whole.reshape(plane.height, abs(plane.line_size))
    return rows if plane.line_size > 0 else rows[::-1]  # Windows stores RGB bottom-up


def _read_only(plane: Plane) -> Plane:
    plane.flags.writeable = False
    return plane


def _turned(plane: Plane, turns: int) -> Plane:
    return np.ascontiguousarray(np.rot90(plane, turns)) if turns else plane


def _copied(frame: Frame) -> av.VideoFrame:
    """Return a copy of a frame in its own format, its sides made even."""
    height, width = frame.size_hw
    name = "gray" if frame.format == "gray8" else frame.format
    picture = av.VideoFrame(width + width % 2, height + height % 2, name)
    sources = planes_of("PictureWriter", frame.pixels, frame.format)
    for target, source in zip(_planes(picture, frame.format), sources, strict=True):
        rows, columns = source.shape[:2]
        # As rows of bytes: NumPy copies 2 or 3 channels one by one, at a fifth of the speed.
        _flat(target[:rows, :columns])[:] = _flat(source)
        target[rows:, :columns] = target[rows - 1 : rows, :columns]
        target[:, columns:] = target[:, columns - 1 : columns]
    return picture


def _flat(plane: Plane) -> Plane:
    """Return a view (H, W * channels) of a plane whose rows are dense."""
    return plane.reshape(len(plane), -1)
