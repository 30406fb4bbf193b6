"""Showing a result in its frame: the one place that knows how each task is drawn."""

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from edgecv.colour import CANVAS_FORMATS, CanvasFormat, class_colours
from edgecv.kernels import draw_boxes
from edgecv.kernels.text import line_height
from edgecv.results import Classification, Detections, Result
from edgecv.stream.draw import draw_detections
from edgecv.stream.sources import Frame

_TOP = 3  # classes that are written over a picture
_SHARE = 0.4  # of the frame's height that they may cover
_PLATE_MARGIN = 0.012  # of the frame's mean side, between a caption and the frame's corner


@singledispatch
def annotated(result: Result, frame: Frame, classes: Sequence[str]) -> Frame:
    """Return the frame with its result drawn in.

    A frame that may be changed is; of a decoder's, which it predicts the next frames from, a copy
    is drawn into. One in a format that cannot be drawn in (`yuyv422`, Bayer) becomes `bgr24`.

    Args:
        result: of any task that is registered here.
        frame: that it is of.
        classes: the name of each class id.

    """
    del frame, classes
    raise TypeError(f"annotated: nothing is known of how a {type(result).__name__} is drawn.")


@annotated.register
def _(result: Detections, frame: Frame, classes: Sequence[str]) -> Frame:
    frame, format = _canvas(frame)  # noqa: A001  # the word of the whole package
    draw_detections(
        frame.pixels,
        result,
        classes,
        format=format,
        matrix=frame.matrix,
        range=frame.range,
    )
    return frame


@annotated.register
def _(result: Classification, frame: Frame, classes: Sequence[str]) -> Frame:
    """Write the most probable classes into the upper left corner, a line each."""
    frame, format = _canvas(frame)  # noqa: A001
    height, width = frame.size_hw
    side = (height * width) ** 0.5
    font_size = max(10, round(side / 36))
    num_lines = int(_SHARE * height / line_height(font_size))
    top = result.top(min(max(num_lines, 1), _TOP))  # one at least, on the smallest thumbnail too
    margin = round(_PLATE_MARGIN * side)
    # A label stands on the upper edge of its box: of a pixel each, a line below the other.
    corners = [(margin, margin + line_height(font_size) * line) for line in range(1, len(top) + 1)]
    draw_boxes(
        frame.pixels,
        np.array([(x, y, x + 1, y + 1) for x, y in corners], np.float32),
        colours=class_colours(np.array([class_id for class_id, _ in top], np.int32)),
        labels=[f"{classes[class_id]} {score:.2f}" for class_id, score in top],
        format=format,
        line_width=1,
        font_size=font_size,
        matrix=frame.matrix,
        range=frame.range,
    )
    return frame


def _canvas(frame: Frame) -> tuple[Frame, CanvasFormat]:
    """Return a frame that can be drawn into, and its format."""
    format = next((known for known in CANVAS_FORMATS if known == frame.format), None)  # noqa: A001
    frame = frame.converted("bgr24") if format is None else frame.writable()
    return frame, format or "bgr24"
