"""Showing a result in its frame: the one place that knows how each task is drawn."""

from collections.abc import Mapping, Sequence
from functools import singledispatch

import numpy as np

from edgecv.colour import CANVAS_FORMATS, CanvasFormat, class_colours
from edgecv.kernels import blend_labels, draw_boxes
from edgecv.kernels.text import line_height
from edgecv.results import Classification, Detections, ModelResults, Result, Segmentation
from edgecv.stream.draw import draw_detections
from edgecv.stream.sources import Frame

_BACKGROUND = "background"  # and "__background__": what is left over between the other classes
_TOP = 3  # classes that are written over a picture
_TINT = 0.55  # weight of a class's colour over the picture
_SMALLEST_SHARE = 0.005  # of the frame, that a class must have to be named
_SHARE = 0.4  # of the frame's height that they may cover
_CAPTION, _LEGEND = 1 / 36, 1 / 48  # of the frame's mean side, a line's font
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
    top = result.top(min(_num_lines(frame, _CAPTION), _TOP))
    texts = {class_id: f"{classes[class_id]} {score:.2f}" for class_id, score in top}
    _write_lines(frame, format, texts, _CAPTION)
    return frame


@annotated.register
def _(result: Segmentation, frame: Frame, classes: Sequence[str]) -> Frame:
    """Tint every pixel in its class's colour, and write which of the largest has which.

    The background, where a class is called so, stays as it is. The lines are in the order of the
    classes, so that they stand still in a video.
    """
    frame, format = _canvas(frame)  # noqa: A001
    unpainted = [i for i, name in enumerate(classes) if name.strip("_").lower() == _BACKGROUND]
    blend_labels(
        frame.pixels,
        result.labels,
        class_colours(np.arange(len(classes), dtype=np.int32)),
        alpha=_TINT,
        format=format,
        matrix=frame.matrix,
        range=frame.range,
        ignore=unpainted,
    )
    seen = [
        (class_id, share)
        for class_id, share in result.shares()
        if share >= _SMALLEST_SHARE and class_id not in unpainted
    ]
    shown = sorted(seen[: _num_lines(frame, _LEGEND)])
    texts = {class_id: f"{classes[class_id]} {share:.0%}" for class_id, share in shown}
    _write_lines(frame, format, texts, _LEGEND)
    return frame


@annotated.register
def _(result: ModelResults, frame: Frame, classes: Sequence[str]) -> Frame:
    """Draw what each model found, the first model's on top."""
    del classes  # each model's own are meant
    for name, own in reversed(list(result.results.items())):
        frame = annotated(own, frame, result.classes[name])
    return frame


def _font_size(frame: Frame, scale: float) -> int:
    height, width = frame.size_hw
    side: float = (height * width) ** 0.5
    return max(10, round(scale * side))


def _num_lines(frame: Frame, scale: float) -> int:
    """Return for how many lines there is room: one at least, on the smallest thumbnail too."""
    height_px: int = line_height(_font_size(frame, scale))
    return max(1, int(_SHARE * frame.size_hw[0] / height_px))


def _write_lines(
    frame: Frame,
    format: CanvasFormat,  # noqa: A002
    texts: Mapping[int, str],
    scale: float,
) -> None:
    """Write a line for each class into the upper left corner.

    Args:
        frame: to draw into.
        format: of the frame.
        texts: by class id.
        scale: of the font's size to the frame's mean side.

    """
    height, width = frame.size_hw
    font_size = _font_size(frame, scale)
    margin = round(_PLATE_MARGIN * (height * width) ** 0.5)
    # A label stands on the upper edge of its box: of a pixel each, a line below the other.
    first = margin + line_height(font_size)
    corners = [(margin, first + line_height(font_size) * line) for line in range(len(texts))]
    boxes = [(x, y, x + 1, y + 1) for x, y in corners]
    draw_boxes(
        frame.pixels,
        np.array(boxes, np.float32).reshape(-1, 4),
        colours=class_colours(np.array(list(texts), np.int32)),
        labels=list(texts.values()),
        format=format,
        line_width=1,
        font_size=font_size,
        matrix=frame.matrix,
        range=frame.range,
    )


def _canvas(frame: Frame) -> tuple[Frame, CanvasFormat]:
    """Return a frame that can be drawn into, and its format."""
    format = next((known for known in CANVAS_FORMATS if known == frame.format), None)  # noqa: A001
    frame = frame.converted("bgr24") if format is None else frame.writable()
    return frame, format or "bgr24"
