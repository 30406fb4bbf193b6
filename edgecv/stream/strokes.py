"""Lines and discs in frames of every format that can be drawn in."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecv.frame_formats import Plane, frame_size_hw


class Stroke(NamedTuple):
    """All pixels whose centre is at most `reach` from a segment.

    Args:
        segment_xyxy: (4,) float64, both ends in pixels; a disc where they are one.
        reach: in pixels.
        colour: row of the colours that `paint` is given.

    """

    segment_xyxy: NDArray[np.float64]
    reach: float
    colour: int

    def pixels(self, size_hw: tuple[int, int]) -> NDArray[np.int64]:
        """Return the numbers of its pixels inside a frame, counted row by row."""
        (x1, y1), (x2, y2) = corners = self.segment_xyxy.reshape(2, 2)
        limit = size_hw[::-1]
        low = np.clip(np.floor(corners.min(axis=0) - self.reach), 0, limit).astype(np.int64)
        high = np.clip(np.ceil(corners.max(axis=0) + self.reach), 0, limit).astype(np.int64)
        columns, rows = np.arange(low[0], high[0]), np.arange(low[1], high[1])[:, None]
        x, y = columns + 0.5 - x1, rows + 0.5 - y1
        along_x, along_y = x2 - x1, y2 - y1
        length = along_x**2 + along_y**2
        share = np.clip((x * along_x + y * along_y) / length, 0, 1) if length else 0.0
        is_near = (x - share * along_x) ** 2 + (y - share * along_y) ** 2 <= self.reach**2
        numbers: NDArray[np.int64] = (rows * size_hw[1] + columns)[is_near]
        return numbers


def paint(planes: tuple[Plane, ...], strokes: Sequence[Stroke], codes: NDArray[np.uint8]) -> None:
    """Give the pixels of strokes their colours, the last stroke on top.

    As in `edgecv.kernels.draw_boxes`, a chroma sample takes the mean of what its pixels become.

    Args:
        planes: of the frame, changed in place.
        strokes: what sticks out of the frame is clipped.
        codes: (K, 3) uint8, colours as the frame has them, see `edgecv.colour.colours_in`.

    """
    height, width = size_hw = frame_size_hw(planes)
    covered = [stroke.pixels(size_hw) for stroke in strokes]
    if sum(map(len, covered)) == 0:
        return
    owners = np.repeat([stroke.colour for stroke in strokes], [len(part) for part in covered])
    # The first of equal numbers is kept: from the last stroke to the first.
    numbers, kept = np.unique(np.concatenate(covered)[::-1], return_index=True)
    values = codes[owners[::-1][kept]]
    rows, columns = np.divmod(numbers, width)
    is_packed = planes[0].ndim == 3  # noqa: PLR2004
    planes[0][rows, columns] = values if is_packed else values[:, 0]
    if len(planes) == 1:
        return
    # Each sample takes the mean of what its pixels become, 2 x 2 of them but at odd edges.
    samples, of_sample = np.unique(rows // 2 * width + columns // 2, return_inverse=True)
    row, column = np.divmod(samples, width)
    whole = np.minimum(2, height - 2 * row) * np.minimum(2, width - 2 * column)
    untouched = whole - np.bincount(of_sample)
    chroma = planes[1:] if len(planes) == 3 else np.moveaxis(planes[1], 2, 0)  # noqa: PLR2004
    for plane, value in zip(chroma, values[:, 1:].T, strict=True):
        total = np.bincount(of_sample, weights=value).astype(np.int64)
        plane[row, column] = (total + untouched * plane[row, column] + whole // 2) // whole
