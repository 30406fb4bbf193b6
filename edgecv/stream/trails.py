"""Where tracked objects have been: a line behind each that grows thinner with time."""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from edgecv.colour import CanvasFormat, colours_in
from edgecv.frame_formats import ColourMatrix, ColourRange, Pixels, frame_size_hw
from edgecv.kernels.drawing import canvas_planes
from edgecv.results import Detections
from edgecv.stream.draw import object_colours
from edgecv.stream.places import Anchor, PointXY, anchor_points
from edgecv.stream.strokes import Stroke, paint

_REACH = 1 / 320  # half the width at the object, over the frame's mean side: 3 pixels at 720p
_LEAST_REACH = 1.0


@dataclass
class _Trail:
    points: deque[tuple[float, PointXY]] = field(default_factory=deque)  # with their times


class Trails:
    """The ways of the objects of one source; its memory is that of the last seconds.

    Args:
        length_s: seconds that a trail goes back, above 0.
        anchor: the point of an object's box that leaves it.

    Raises:
        ValueError: if the length is not above 0 and finite.

    Example:
        >>> trails.add(tracked, frame.pts_s)
        >>> trails.draw(canvas.pixels, tracked, format="bgr24")

    """

    def __init__(self, *, length_s: float = 1.5, anchor: Anchor = "bottom") -> None:
        """Begin without any."""
        if not (length_s > 0 and math.isfinite(length_s)):
            raise ValueError(f"Trails: `length_s` must be above 0 and finite, got {length_s}.")
        self.length_s, self.anchor = length_s, anchor
        self._trails: dict[int, _Trail] = {}
        self._last_s = -math.inf

    def add(self, detections: Detections, at_s: float) -> None:
        """Take the next frame in.

        Args:
            detections: with track ids; without, nothing is added.
            at_s: when it was taken, in seconds; where time goes back, all trails end.

        """
        if at_s < self._last_s:
            self._trails.clear()
        self._last_s = at_s
        found = detections.tracked
        if found.track_ids is not None:
            points = anchor_points(found.boxes_xyxy, self.anchor).tolist()
            for track_id, (x, y) in zip(found.track_ids.tolist(), points, strict=True):
                self._trails.setdefault(track_id, _Trail()).points.append((at_s, (x, y)))
        for track_id, trail in list(self._trails.items()):
            while trail.points and trail.points[0][0] < at_s - self.length_s:
                trail.points.popleft()
            if not trail.points:
                del self._trails[track_id]

    def draw(
        self,
        pixels: Pixels,
        detections: Detections,
        *,
        format: CanvasFormat = "bgr24",  # noqa: A002  # the word of the whole package
        matrix: ColourMatrix = "bt601",
        range: ColourRange = "limited",  # noqa: A002
    ) -> None:
        """Draw the trails of the objects of a frame, in the colours that their boxes have.

        Args:
            pixels: one array or a tuple of planes, see `edgecv.frame_formats`; changed in place.
            detections: those that were added last.
            format: of the frame, see `edgecv.kernels.draw_boxes`.
            matrix: of a frame with luma.
            range: of a frame with luma and chroma.

        """
        planes = canvas_planes("Trails.draw", pixels, format, matrix, range)
        found = detections.tracked
        if found.track_ids is None or len(found) == 0:
            return
        height, width = frame_size_hw(planes)
        reach = max(_LEAST_REACH, _REACH * (height * width) ** 0.5)
        strokes = []
        for row, track_id in reversed(list(enumerate(found.track_ids.tolist()))):
            trail = self._trails.get(track_id)
            if trail is not None:
                strokes += self._strokes(trail, reach, row)
        paint(planes, strokes, colours_in(object_colours(found), format, matrix, range))

    def _strokes(self, trail: _Trail, reach: float, colour: int) -> list[Stroke]:
        points = list(trail.points)
        strokes = []
        for (_, begin), (at_s, end) in pairwise(points):
            age = (self._last_s - at_s) / self.length_s
            segment = np.array([*begin, *end])
            strokes.append(Stroke(segment, max(0.75, reach * (1 - age)), colour))
        return strokes
