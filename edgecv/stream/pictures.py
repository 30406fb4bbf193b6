"""From FFmpeg's pictures to frames and back, without converting what can be taken as it is."""

from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Plane, planes_of
from edgecv.stream.sources import Frame

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

# Code points of ITU-T H.273, which FFmpeg's AVColorSpace and AVColorRange are.
_MATRIX_OF: dict[int, ColourMatrix] = {1: "bt709", 5: "bt601", 6: "bt601"}
_CODE_OF_MATRIX: dict[ColourMatrix, int] = {"bt709": 1, "bt601": 5}
_UNDECLARED = 2
_NO_MATRIX = (0, _UNDECLARED, 3)  # 0 is RGB, which these formats are not, and 3 is reserved
_CODE_OF_RANGE: dict[ColourRange, int] = {"limited": 1, "full": 2}
_SWSCALE_MATRIX: dict[ColourMatrix, str] = {"bt709": "ITU709", "bt601": "ITU601"}


def frame_of(picture: av.VideoFrame, *, index: int, captured_s: float) -> Frame:
    """Return a decoded picture as a frame, upright by the display matrix that phones write.

    The planes are the decoder's own and read-only: it predicts the next pictures from them. Only
    a picture to be turned is copied, and only one that no kernel reads (10 bits, 4:4:4, BT.2020,
    …) is converted, by FFmpeg to `bgr24`.

    Args:
        picture: as decoded; the frame's arrays keep it alive.
        index: see `Frame`.
        captured_s: see `Frame`.

    Raises:
        av.FFmpegError: if FFmpeg cannot convert its pixel format.

    """
    turns = quarter_turns(picture)
    format = _format_in_place(picture, turns)  # noqa: A001  # the word of the whole package
    if format is None:
        pixels = _turned(_converted(picture), turns)
        return Frame(index, pixels, "bgr24", picture.time, captured_s=captured_s)
    planes = tuple(_turned(plane, turns) for plane in _planes(picture, format))
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


def encoder_colours(frame: Frame) -> tuple[ColourMatrix, ColourRange]:
    """Return the colours of a video of such frames: their own if they are YUV, else BT.601's."""
    return (frame.matrix, frame.range) if frame.format in _YUV else ("bt601", "limited")


def declare_colours(context: VideoCodecContext, frame: Frame) -> None:
    """Write the colours of a video of such frames into its header, before the first of them.

    A matrix that the source does not declare is left open, as it was: players guess it by the
    size of the picture, and the answer stays what it was for the source.
    """
    matrix, range = encoder_colours(frame)  # noqa: A001  # the word of the whole package
    is_known = frame.declares_matrix or frame.format not in _YUV
    context.colorspace = _CODE_OF_MATRIX[matrix] if is_known else _UNDECLARED
    context.color_range = _CODE_OF_RANGE[range]


def yuv420p_of(frame: Frame, matrix: ColourMatrix, range: ColourRange) -> av.VideoFrame:  # noqa: A002
    """Return a frame as an encoder's picture, `yuv420p` with even sides.

    A `yuv420p` frame of these colours is copied plane by plane, bit for bit; FFmpeg converts
    others. Where a side is odd, the last row or column is repeated.

    Args:
        frame: of any format and size.
        matrix: of the result.
        range: of the result.

    """
    if frame.format.startswith("bayer"):
        frame = frame.converted("bgr24")
    picture = _picture(frame)
    if frame.format in _YUV:
        _declare(picture, frame.matrix, frame.range)
        if frame.format == "yuv420p" and (frame.matrix, frame.range) == (matrix, range):
            return picture
    converted = picture.reformat(
        format="yuv420p",
        dst_colorspace=_SWSCALE_MATRIX[matrix],
        dst_color_range=_CODE_OF_RANGE[range],
        interpolation="BILINEAR",
    )
    _declare(converted, matrix, range)
    return converted


def _declare(picture: av.VideoFrame, matrix: ColourMatrix, range: ColourRange) -> None:  # noqa: A002
    picture.colorspace = _CODE_OF_MATRIX[matrix]
    picture.color_range = _CODE_OF_RANGE[range]


def _format_in_place(picture: av.VideoFrame, turns: int) -> FrameFormat | None:
    """Return the format in which the kernels read the planes as they lie, None if they cannot."""
    format = _FORMAT_OF.get(picture.format.name)  # noqa: A001
    is_odd = bool(picture.width % 2), bool(picture.height % 2)
    if (
        format is None
        or min(plane.line_size for plane in picture.planes) <= 0  # stored bottom-up
        or (format in _YUV and picture.colorspace not in (*_MATRIX_OF, *_NO_MATRIX))
        or (format == "yuyv422" and is_odd[0])
        or (turns and format not in _TURNABLE)
        # The chroma of an odd last column would come to lie on the first two.
        or (turns and format in _SUBSAMPLED and any(is_odd))
    ):
        return None
    return format


def _planes(picture: av.VideoFrame, format: FrameFormat) -> tuple[Plane, ...]:  # noqa: A002
    """Return read-only views of the picture's planes, shaped as `edgecv.frame_formats` says."""
    views = []
    for position, plane in enumerate(picture.planes):
        num_bytes = 2 if format == "nv12" and position else _BYTES_PER_PIXEL.get(format, 1)
        view = _rows(plane)[:, : plane.width * num_bytes]
        view.flags.writeable = False
        is_deep = num_bytes > 1
        views.append(view.reshape(plane.height, plane.width, num_bytes) if is_deep else view)
    return tuple(views)


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    """Return the bytes of every row with what lies between the rows."""
    # The buffer protocol, which PyAV's stubs do not declare.
    whole = np.frombuffer(cast("memoryview", plane), np.uint8)
    return whole.reshape(plane.height, plane.line_size)


def _converted(picture: av.VideoFrame) -> NDArray[np.uint8]:
    # Nothing is scaled: the word only spares swscale the set-up of its bicubic default, 1 ms.
    return cast("NDArray[np.uint8]", picture.to_ndarray(format="bgr24", interpolation="BILINEAR"))


def _turned(plane: Plane, turns: int) -> Plane:
    return np.ascontiguousarray(np.rot90(plane, turns)) if turns else plane


def _picture(frame: Frame) -> av.VideoFrame:
    """Return a copy of a frame in its own format, its sides made even."""
    height, width = frame.size_hw
    name = "gray" if frame.format == "gray8" else frame.format
    picture = av.VideoFrame(width + width % 2, height + height % 2, name)
    planes = planes_of("yuv420p_of", frame.pixels, frame.format)
    for target, plane in zip(picture.planes, planes, strict=True):
        num_bytes = plane[0, 0].size
        pixels = _rows(target)[:, : target.width * num_bytes].reshape(
            target.height, target.width, -1
        )
        rows, columns = plane.shape[:2]
        pixels[:rows, :columns] = plane.reshape(rows, columns, -1)
        pixels[rows:, :columns] = pixels[rows - 1 : rows, :columns]
        pixels[:, columns:] = pixels[:, columns - 1 : columns]
    return picture
