"""What is drawn of keypoints: a disc for each that the model is sure of, lines for the limbs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecv.colour import CanvasFormat, colours_in, text_colours
from edgecv.frame_formats import ColourMatrix, ColourRange, Pixels, Plane, frame_size_hw
from edgecv.kernels.drawing import canvas_planes
from edgecv.results import Poses

# A heatmap of 56 x 56 cells that knows nothing gives each point a score of 9 / 3136, a seventh.
LEAST_SCORE = 0.02

_RADIUS = 1 / 240  # of a disc, over the frame's mean side: 4 pixels at 720p
_LEAST_RADIUS = 1.5
_RIM = 1.4  # radius of the disc below it in black or white, over that of the disc
_LIMB = 0.5  # half the width of a limb, over the radius


def draw_poses(
    pixels: Pixels,
    poses: Poses,
    *,
    colours: NDArray[np.uint8],
    format: CanvasFormat = "bgr24",  # noqa: A002  # the word of the whole package
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> None:
    """Draw the keypoints of every object into a frame, the first object on top.

    Points whose score is below `LEAST_SCORE` are left out, with the limbs that end in them. As in
    `edgecv.kernels.draw_boxes`, a chroma sample takes the mean of what its pixels become.

    Args:
        pixels: one array or a tuple of planes, see `edgecv.frame_formats`; changed in place.
        poses: keypoints in the pixels of this frame; what sticks out is clipped.
        colours: (N, 3) uint8, red, green and blue of each object, whatever the format is.
        format: of the frame, see `edgecv.kernels.draw_boxes`.
        matrix: of a frame with luma.
        range: of a frame with luma and chroma.

    """
    planes = canvas_planes("draw_poses", pixels, format, matrix, range)
    size_hw = frame_size_hw(planes)
    radius = max(_LEAST_RADIUS, _RADIUS * (size_hw[0] * size_hw[1]) ** 0.5)
    both = np.concatenate([colours, text_colours(colours)])
    ends = np.array(poses.skeleton, np.intp).reshape(-1, 2)
    strokes = []
    for row in reversed(np.arange(len(poses)).tolist()):
        points = poses.keypoints[row]
        is_shown = np.isfinite(points).all(axis=1) & (points[:, 2] >= LEAST_SCORE)
        places = points[:, :2].astype(np.float64)
        limbs = places[ends[is_shown[ends].all(axis=1)]].reshape(-1, 4)
        discs = np.tile(places[is_shown], 2)
        strokes += [_Stroke(limb, _LIMB * radius, row) for limb in limbs]
        strokes += [_Stroke(disc, _RIM * radius, len(poses) + row) for disc in discs]
        strokes += [_Stroke(disc, radius, row) for disc in discs]
    _paint(planes, strokes, colours_in(both, format, matrix, range))


class _Stroke(NamedTuple):
    """All pixels whose centre is at most `reach` from a segment, in the colour of a row."""

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


def _paint(planes: tuple[Plane, ...], strokes: Sequence[_Stroke], codes: NDArray[np.uint8]) -> None:
    """Give the pixels of strokes their colours, the last stroke on top; `codes` as of the frame."""
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
