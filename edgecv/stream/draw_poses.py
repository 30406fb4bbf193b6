"""What is drawn of keypoints: a disc for each that the model is sure of, lines for the limbs."""

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


class _Region(NamedTuple):
    """Pixels of a frame: those that `mask` covers of the window that begins at (top, left)."""

    top: int
    left: int
    mask: NDArray[np.bool_]


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
    rims = text_colours(colours)
    codes = (colours_in(wanted, format, matrix, range) for wanted in (colours, rims))
    ends = np.array(poses.skeleton, np.intp).reshape(-1, 2)
    for points, code, rim in reversed([*zip(poses.keypoints, *codes, strict=True)]):
        is_shown = np.isfinite(points).all(axis=1) & (points[:, 2] >= LEAST_SCORE)
        places = points[:, :2].astype(np.float64)
        limbs = places[ends[is_shown[ends].all(axis=1)]].reshape(-1, 4)
        discs = np.tile(places[is_shown], 2)
        for segments, reach, value in (
            (limbs, _LIMB * radius, code),
            (discs, _RIM * radius, rim),
            (discs, radius, code),
        ):
            region = _near(segments, reach, size_hw)
            if region is not None:
                _fill(planes, region, value)


def _near(
    segments_xyxy: NDArray[np.float64], reach: float, size_hw: tuple[int, int]
) -> _Region | None:
    """Return the pixels whose centre is at most `reach` from a segment, None if there are none.

    The window begins at an even row and column: with a sample of the chroma planes.
    """
    windows = [_window(segment, reach, size_hw) for segment in segments_xyxy]
    seen = [
        (segment, window)
        for segment, window in zip(segments_xyxy, windows, strict=True)
        if (window[2:] > window[:2]).all()
    ]
    if not seen:
        return None
    inner = np.array([window for _, window in seen])
    left, top = inner[:, :2].min(axis=0) // 2 * 2
    right, bottom = inner[:, 2:].max(axis=0)
    mask = np.zeros((bottom - top, right - left), bool)
    for (x1, y1, x2, y2), (x_from, y_from, x_to, y_to) in seen:
        x = np.arange(x_from, x_to) + 0.5 - x1
        y = np.arange(y_from, y_to)[:, None] + 0.5 - y1
        along_x, along_y = x2 - x1, y2 - y1
        length = along_x**2 + along_y**2
        share = np.clip((x * along_x + y * along_y) / length, 0, 1) if length else 0.0
        is_near = (x - share * along_x) ** 2 + (y - share * along_y) ** 2 <= reach**2
        mask[y_from - top : y_to - top, x_from - left : x_to - left] |= is_near
    return _Region(int(top), int(left), mask)


def _window(
    segment_xyxy: NDArray[np.float64], reach: float, size_hw: tuple[int, int]
) -> NDArray[np.int64]:
    """Return x1, y1, x2, y2 in whole pixels, inside the frame, around a segment and its reach."""
    corners = segment_xyxy.reshape(2, 2)
    limit = size_hw[::-1]
    low = np.clip(np.floor(corners.min(axis=0) - reach), 0, limit)
    high = np.clip(np.ceil(corners.max(axis=0) + reach), 0, limit)
    return np.concatenate([low, high]).astype(np.int64)


def _fill(planes: tuple[Plane, ...], region: _Region, code: NDArray[np.uint8]) -> None:
    """Give the pixels of a region a colour, as `edgecv.colour.colours_in` returns it."""
    top, left, mask = region
    height, width = mask.shape
    first = planes[0][top : top + height, left : left + width]
    first[mask] = code if first.ndim == 3 else code[0]  # noqa: PLR2004  # packed
    if len(planes) == 1:
        return
    # How many of the pixels that a sample stands for, 2 x 2 but at odd edges, become the colour.
    covered, whole = (_per_sample(of) for of in (mask, np.ones_like(mask)))
    chroma = planes[1:] if len(planes) == 3 else np.moveaxis(planes[1], 2, 0)  # noqa: PLR2004
    half = np.s_[top // 2 : top // 2 + len(covered), left // 2 : left // 2 + covered.shape[1]]
    for plane, value in zip(chroma, code[1:].tolist(), strict=True):
        old = plane[half]
        old[:] = (covered * value + (whole - covered) * old + whole // 2) // whole


def _per_sample(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many pixels of each 2 x 2 are set."""
    height, width = mask.shape
    even = np.pad(mask, ((0, height % 2), (0, width % 2)))
    counts: NDArray[np.int64] = even.reshape(-(-height // 2), 2, -(-width // 2), 2).sum(axis=(1, 3))
    return counts
