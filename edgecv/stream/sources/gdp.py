"""GStreamer's data protocol, version 1.0: caps and buffers with their times, through a pipe.

Every packet is a header of 62 bytes, big-endian, and a payload:

| byte | |
|---|---|
| 0, 1 | version, 1 and 0 |
| 4 | type, 16 bits: 1 a buffer, 2 caps, 64 and up an event |
| 6 | bytes of the payload, 32 bits |
| 10 | presentation time in nanoseconds, 64 bits, all ones for none |

Caps are text, `video/x-raw, format=(string)NV12, width=(int)640, …`.

Source: GStreamer, `docs/random/gdp` and the element `gdppay`; the layout of raw video from
"Raw Video Media Types" of its design documents.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import SourceError
from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Pixels

HEADER_BYTES = 62
BUFFER, CAPS = 1, 2

# GStreamer's names of the formats that the kernels read, those that cost nothing first.
FORMAT_OF: dict[str, FrameFormat] = {
    "NV12": "nv12",
    "I420": "yuv420p",
    "YUY2": "yuyv422",
    "BGR": "bgr24",
    "RGB": "rgb24",
    "GRAY8": "gray8",
}
_NO_TIME = 2**64 - 1
_FIELD = re.compile(r"([a-z][a-z0-9-]*)=\((\w+)\)(\"[^\"]*\"|[^,;]+)")

# range:matrix:transfer:primaries, or a word for all four; 1 is full range, 3 BT.709.
_MATRIX_OF_WORD: dict[str, ColourMatrix] = {"bt601": "bt601", "bt709": "bt709"}
_MATRIX_OF_CODE: dict[str, ColourMatrix] = {"3": "bt709", "4": "bt601"}


@dataclass(frozen=True)
class Header:
    """What is before a payload: its type, its length, and the time of a buffer."""

    type: int
    num_bytes: int
    pts_s: float | None


def parse_header(header: bytes) -> Header:
    """Return what the 62 bytes before a payload say.

    Raises:
        SourceError: if they are of another protocol.

    """
    if header[:2] != b"\x01\x00":
        raise SourceError(f"GStreamer speaks version {header[0]}.{header[1]} of its data protocol")
    pts_ns = int.from_bytes(header[10:18], "big")
    return Header(
        int.from_bytes(header[4:6], "big"),
        int.from_bytes(header[6:10], "big"),
        None if pts_ns == _NO_TIME else pts_ns / 1e9,
    )


@dataclass(frozen=True)
class VideoCaps:
    """How the pixels of a buffer lie in memory.

    Args:
        format: of the frames.
        size_hw: height and width in pixels.
        fps: frames a second, None where they come as they like.
        matrix: of YUV, what its colours mean.
        range: of YUV.
        declares_matrix: whether the caps name a matrix.

    """

    format: FrameFormat
    size_hw: tuple[int, int]
    fps: Fraction | None
    matrix: ColourMatrix
    range: ColourRange
    declares_matrix: bool

    @property
    def num_bytes(self) -> int:
        """How many bytes a buffer has."""
        return sum(rows * stride for rows, stride in self._planes())

    def pixels(self, data: NDArray[np.uint8]) -> Pixels:
        """Return a buffer's planes, as views of it.

        Args:
            data: (num_bytes,) uint8.

        Raises:
            SourceError: if it has another length.

        """
        if len(data) != self.num_bytes:
            height, width = self.size_hw
            raise SourceError(
                f"GStreamer sent {len(data)} bytes for a frame of {self.num_bytes} "
                f"({width}x{height} {self.format})"
            )
        height, width = self.size_hw
        half_hw = (height + 1) // 2, (width + 1) // 2
        by_format: dict[str, list[tuple[int, ...]]] = {
            "nv12": [(height, width), (*half_hw, 2)],
            "yuv420p": [(height, width), half_hw, half_hw],
            "yuyv422": [(height, width // 2 * 2, 2)],  # an odd last column has no chroma of its own
            "gray8": [(height, width)],
        }
        shapes = by_format.get(self.format, [(height, width, 3)])
        views, begin = [], 0
        for shape, (rows, stride) in zip(shapes, self._planes(), strict=True):
            plane = data[begin : begin + rows * stride].reshape(rows, stride)
            begin += rows * stride
            views.append(plane[: shape[0], : math.prod(shape[1:])].reshape(shape))
        return tuple(views) if len(views) > 1 else views[0]

    def _planes(self) -> list[tuple[int, int]]:
        """Return rows and stride in bytes of each plane as they are sent, by GStreamer's default.

        Strides are multiples of 4, and the luma of 4:2:0 has an even number of rows.
        """
        height, width = self.size_hw
        half = (height + 1) // 2
        if self.format == "nv12":
            return [(2 * half, _up4(width)), (half, _up4(width))]
        if self.format == "yuv420p":
            chroma = (half, _up4((width + 1) // 2))
            return [(2 * half, _up4(width)), chroma, chroma]
        depth = {"yuyv422": 2, "gray8": 1}.get(self.format, 3)
        return [(height, _up4(width * depth))]


def parse_caps(text: str) -> VideoCaps:
    """Return what caps say of raw video.

    Raises:
        SourceError: if they are none, or in a format that no kernel reads.

    """
    text = text.rstrip("\0; ")
    fields = {key: value.strip().strip('"') for key, _, value in _FIELD.findall(text)}
    name = text.partition(",")[0]
    format = FORMAT_OF.get(fields.get("format", ""))  # noqa: A001  # the word of the whole package
    if name != "video/x-raw" or format is None or not {"width", "height"} <= set(fields):
        raise SourceError(f"GStreamer sent `{text[:120]}`, which is no raw video")
    rate = Fraction(fields.get("framerate", "0/1"))
    words = fields.get("colorimetry", "").split(":")
    matrix = _MATRIX_OF_WORD.get(words[0])
    is_full = False
    if len(words) == 4:  # noqa: PLR2004  # range, matrix, transfer, primaries
        matrix = _MATRIX_OF_CODE.get(words[1])
        is_full = words[0] == "1"
    return VideoCaps(
        format,
        (int(fields["height"]), int(fields["width"])),
        rate or None,
        matrix or "bt601",
        "full" if is_full else "limited",
        declares_matrix=matrix is not None,
    )


def _up4(num_bytes: int) -> int:
    return (num_bytes + 3) // 4 * 4
