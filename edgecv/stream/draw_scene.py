"""What is drawn of a scene: lines and zones with their counts, and the ways of who was followed."""

import math
from itertools import pairwise

import numpy as np

from edgecv.colour import CANVAS_FORMATS, CanvasFormat, class_colours, colours_in
from edgecv.frame_formats import frame_size_hw
from edgecv.kernels import draw_boxes
from edgecv.kernels.drawing import canvas_planes
from edgecv.results import Result
from edgecv.results.detections import Detections
from edgecv.stream.places import Points, in_pixels
from edgecv.stream.scene import Scene
from edgecv.stream.sources import Frame
from edgecv.stream.strokes import Stroke, paint
from edgecv.stream.trails import Trails

_REACH = 1 / 640  # half the width of a line, over the frame's mean side
_PIECE = 48.0  # pixels; a stroke looks at all pixels of the box around it


class SceneDrawing:
    """Draws into the frames of one source what its scene watches.

    Args:
        scene: of the source; another thread goes on with it, so that counts may be a frame ahead.

    """

    def __init__(self, scene: Scene) -> None:
        """Begin without trails."""
        self._scene, self._trails = scene, Trails()

    def draw(self, result: Result, frame: Frame, at_s: float) -> None:
        """Draw lines, zones and trails.

        Args:
            result: of the frame, with track ids.
            frame: that can be drawn into, see `edgecv.stream.annotate.annotated`.
            at_s: when it was taken, see `Trails.add`.

        """
        format = next(known for known in CANVAS_FORMATS if known == frame.format)  # noqa: A001
        colours = {"matrix": frame.matrix, "range": frame.range}
        if isinstance(result, Detections):
            self._trails.add(result, at_s)
            self._trails.draw(frame.pixels, result, format=format, **colours)  # type: ignore[arg-type]
        self._draw_places(frame, format)

    def _draw_places(self, frame: Frame, format: CanvasFormat) -> None:  # noqa: A002
        lines, zones = list(self._scene.lines.values()), list(self._scene.zones.values())
        if not lines and not zones:
            return
        planes = canvas_planes("SceneDrawing", frame.pixels, format, frame.matrix, frame.range)
        height, width = frame_hw = frame_size_hw(planes)
        reach = max(1.0, _REACH * math.sqrt(height * width))
        paths, texts = [], []
        for counter in lines:
            line = counter.line
            paths.append(in_pixels((line.start_xy, line.end_xy), line.units, frame_hw))
            texts.append(f"{line.name}: {counter.num_in} in, {counter.num_out} out")
        for monitor in zones:
            zone = monitor.zone
            corners = in_pixels(zone.corners_xy, zone.units, frame_hw)
            paths.append(np.concatenate([corners, corners[:1]]))
            texts.append(f"{zone.name}: {len(monitor.occupants)}")
        palette = class_colours(np.arange(len(paths), dtype=np.int32))
        strokes = [
            Stroke(piece, reach, number)
            for number, path in enumerate(paths)
            for piece in _pieces(path)
        ]
        paint(planes, strokes, colours_in(palette, format, frame.matrix, frame.range))
        starts = np.array([path[0] for path in paths], np.float32)
        draw_boxes(
            frame.pixels,
            np.concatenate([starts, starts + 1], axis=1),
            colours=palette,
            labels=texts,
            format=format,
            line_width=1,
            matrix=frame.matrix,
            range=frame.range,
        )


def _pieces(path: Points) -> list[Points]:
    """Return the segments of a path, long ones in pieces."""
    pieces = []
    for begin, end in pairwise(path):
        count = max(1, math.ceil(float(np.linalg.norm(end - begin)) / _PIECE))
        points = begin + (end - begin) * np.linspace(0, 1, count + 1)[:, None]
        pieces += [np.concatenate(ends) for ends in pairwise(points)]
    return pieces
