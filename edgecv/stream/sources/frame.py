"""One picture of a source, and what is known of it."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.frame_formats import (
    ColourMatrix,
    ColourRange,
    FrameFormat,
    Pixels,
    frame_size_hw,
    planes_of,
)
from edgecv.kernels import letterbox

ImageFormat = Literal["bgr24", "rgb24"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source, as the camera or the decoder made it.

    Args:
        index: 0, 1, 2, … in the order of capture; a gap is a frame that was dropped.
        pixels: array or tuple of planes, see `edgecv.frame_formats`. A decoder's planes are
            read-only, because it predicts the next frames from them; see `to_array`, `writable`.
        format: how the pixels lie in memory.
        pts_s: presentation time in seconds as the source tells it, None for pictures.
        path: the file, for pictures.
        captured_s: when the work on it began, in seconds of `time.perf_counter`: a live source's
            data had arrived, a file's data was asked for.
        matrix: of YUV, what its colours mean.
        range: of YUV, whether black and white are 16 and 235 (`limited`) or 0 and 255.
        declares_matrix: False where the source leaves the matrix open. Then `matrix` is `bt601`,
            as FFmpeg's converter and OpenCV take it, and a video made of it leaves it open too.

    """

    index: int
    pixels: Pixels = field(repr=False)
    format: FrameFormat
    pts_s: float | None = None
    path: Path | None = None
    captured_s: float = field(default_factory=time.perf_counter)
    matrix: ColourMatrix = "bt601"
    range: ColourRange = "limited"
    declares_matrix: bool = True

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return frame_size_hw(planes_of("Frame", self.pixels, self.format))

    def to_array(self, format: ImageFormat = "bgr24") -> NDArray[np.uint8]:  # noqa: A002
        """Return the picture as a new array (H, W, 3) uint8, yours to draw in.

        Args:
            format: order of its channels, `bgr24` as OpenCV has it or `rgb24`.

        """
        if self.format == format and not isinstance(self.pixels, tuple):
            return self.pixels.copy(order="C")
        array, _ = letterbox(
            self.pixels,
            self.size_hw,
            format=self.format,
            matrix=self.matrix,
            range=self.range,
            fit="stretch",  # to its own size: only the colours change
            colour="bgr" if format == "bgr24" else "rgb",
            scale=1,
            dtype="uint8",
            layout="hwc",
        )
        return array

    def converted(self, format: ImageFormat) -> "Frame":  # noqa: A002
        """Return the frame with pixels of its own in `format`."""
        return replace(self, pixels=self.to_array(format), format=format)

    def writable(self) -> "Frame":
        """Return the frame itself if its pixels may be changed, else one with a copy of them."""
        planes = self.pixels if isinstance(self.pixels, tuple) else (self.pixels,)
        if all(plane.flags.writeable for plane in planes):
            return self
        copies = tuple(plane.copy(order="C") for plane in planes)
        return replace(self, pixels=copies if isinstance(self.pixels, tuple) else copies[0])
