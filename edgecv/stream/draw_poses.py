"""What is drawn of keypoints: a disc for each that the model is sure of, lines for the limbs."""

import numpy as np
from numpy.typing import NDArray

from edgecv.colour import CanvasFormat, colours_in, text_colours
from edgecv.frame_formats import ColourMatrix, ColourRange, Pixels, frame_size_hw
from edgecv.kernels.drawing import canvas_planes
from edgecv.results import Poses
from edgecv.stream.strokes import Stroke, paint

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
        strokes += [Stroke(limb, _LIMB * radius, row) for limb in limbs]
        strokes += [Stroke(disc, _RIM * radius, len(poses) + row) for disc in discs]
        strokes += [Stroke(disc, radius, row) for disc in discs]
    paint(planes, strokes, colours_in(both, format, matrix, range))
