"""Drawing into frames in place, in the format they are in: boxes, labels, masks and label maps.

A frame is one array or a tuple of planes, see `edgecv.frame_formats`. In `yuv420p` and `nv12` a
sample of the chroma planes stands for up to 2 x 2 pixels and takes the mean of what they become;
luma is exact for every pixel, as every pixel of the other formats is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.colour import CANVAS_FORMATS, CanvasFormat, colours_in, text_colours
from edgecv.frame_formats import (
    COLOUR_MATRICES,
    COLOUR_RANGES,
    ColourMatrix,
    ColourRange,
    Pixels,
    Plane,
    frame_size_hw,
    planes_of,
)
from edgecv.kernels._native import (
    blend_labels_cpu,
    colorize_cpu,
    draw_boxes_cpu,
    draw_masks_cpu,
)
from edgecv.kernels.arguments import (
    check_array,
    check_at_least,
    check_choice,
    check_fraction,
    check_masks,
)
from edgecv.kernels.text import line_height, word_mask

_MAX_COLOURS = 256
_MAX_SIZE = 4096  # of a line or a font: larger than any frame needs, small enough to rasterise


def draw_boxes(
    frame: Pixels,
    boxes_xyxy: NDArray[np.float32],
    *,
    colours: NDArray[np.uint8],
    labels: Sequence[str] | None = None,
    format: CanvasFormat = "bgr24",  # noqa: A002
    line_width: int | None = None,
    font_size: int | None = None,
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> None:
    """Draw boxes and their labels into a frame, the first box on top.

    An outline lies inside its box. A label stands on a filled plate on the box's upper edge, or
    below that edge where the frame has no room above; it is moved into the frame, and its text is
    black or white, whichever is the more legible. Labels are drawn after all outlines. A box that
    is empty, once rounded and clipped to the frame, or that has a NaN is left out with its label.

    Args:
        frame: changed in place. Its planes must be writeable views.
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels, rounded to the nearest whole pixel,
            halves to even; what sticks out of the frame is clipped.
        colours: (N, 3) uint8, red, green and blue of each box, whatever the format is.
        labels: N lines of text; an empty one has no plate. If None, no box has a label. The masks
            of their words are kept, so that a word costs only once.
        format: of `frame`: bgr24, rgb24, gray8, yuv420p or nv12.
        line_width: of the outlines in pixels, 1..4096; by default 2 at 720p, growing with the
            frame's sides.
        font_size: in pixels, 1..4096; by default 17 at 720p, growing with the frame's sides, and
            never less than 10, to be legible on thumbnails too.
        matrix: of a frame with luma, bt601 or bt709.
        range: of `yuv420p` and `nv12`, limited or full; gray is always full.

    Raises:
        ValueError: if a shape or an option is not as described, or a plane cannot be written to.
        TypeError: if an array has another dtype; nothing is converted silently.

    """
    planes = canvas_planes("draw_boxes", frame, format, matrix, range)
    check_array("draw_boxes", "boxes_xyxy", boxes_xyxy, np.float32, ("N", 4))
    count = len(boxes_xyxy)
    check_array("draw_boxes", "colours", colours, np.uint8, (count, 3))
    if labels is not None and len(labels) != count:
        raise ValueError(
            f"draw_boxes: `labels` must have one text per box, {count}, got {len(labels)}."
        )
    height, width = frame_size_hw(planes)
    side = (height * width) ** 0.5
    line_width = max(1, round(side / 420)) if line_width is None else line_width
    font_size = max(10, round(side / 58)) if font_size is None else font_size
    _check_size("line_width", line_width)
    _check_size("font_size", font_size)
    if count == 0:
        return

    words = [label.split() for label in labels] if labels is not None else [[]] * count
    masks = [word_mask(word, font_size) for text in words for word in text]
    both = np.concatenate([colours, text_colours(colours)])
    pairs = colours_in(both, format, matrix, range).reshape(2, count, 3).swapaxes(0, 1)
    draw_boxes_cpu(
        planes,
        np.ascontiguousarray(boxes_xyxy),
        np.ascontiguousarray(pairs),
        line_width=line_width,
        num_words=np.array([len(text) for text in words], np.int32),
        word_widths=np.array([mask.width for mask in masks], np.int32),
        masks=np.frombuffer(b"".join([mask.coverage for mask in masks]), np.uint8),
        mask_height=line_height(font_size) if masks else 0,
    )


def draw_masks(
    frame: Pixels,
    masks: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    *,
    colours: NDArray[np.uint8],
    alpha: float = 0.45,
    threshold: float = 0.5,
    format: CanvasFormat = "bgr24",  # noqa: A002
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> None:
    """Blend the masks of objects over a frame, the first on top.

    Args:
        frame: changed in place. Its planes must be writeable views.
        masks: (N, M, M) float32, probabilities over each box; the pixels that a mask covers are
            those of `edgecv.kernels.paste_masks`, whose frames are not made.
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in frame pixels, see `paste_masks`.
        colours: (N, 3) uint8, red, green and blue of each mask, whatever the format is.
        alpha: weight of the colour, in [0, 1], rounded to whole 256ths.
        threshold: a pixel is covered if its probability is greater, in [0, 1].
        format: of `frame`: bgr24, rgb24, gray8, yuv420p or nv12.
        matrix: of a frame with luma, bt601 or bt709.
        range: of `yuv420p` and `nv12`, limited or full; gray is always full.

    Raises:
        ValueError: if a shape or an option is not as described, or a plane cannot be written to.
        TypeError: if an array has another dtype; nothing is converted silently.

    """
    planes = canvas_planes("draw_masks", frame, format, matrix, range)
    check_masks("draw_masks", masks, boxes_xyxy)
    check_array("draw_masks", "colours", colours, np.uint8, (len(masks), 3))
    check_fraction("draw_masks", "alpha", alpha)
    check_fraction("draw_masks", "threshold", threshold)
    draw_masks_cpu(
        planes,
        np.ascontiguousarray(masks),
        np.ascontiguousarray(boxes_xyxy),
        np.ascontiguousarray(colours_in(colours, format, matrix, range)),
        threshold=threshold,
        alpha_256=round(alpha * 256),
    )


def colorize(
    labels: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    *,
    format: CanvasFormat = "bgr24",  # noqa: A002
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
    out: Pixels | None = None,
) -> Pixels:
    """Return a map of labels as a picture in which each label has its colour.

    Args:
        labels: (H, W) uint8, at least 1 pixel; rows may have any stride.
        palette: (K, 3) uint8, red, green and blue of each label, 1..256 of them, whatever the
            format is.
        format: of the picture: bgr24, rgb24, gray8, yuv420p or nv12.
        matrix: of a picture with luma, bt601 or bt709.
        range: of `yuv420p` and `nv12`, limited or full; gray is always full.
        out: a frame of `format` to write to; its planes must be writeable views.

    Returns:
        `out`, or a new frame: (H, W, 3) for the packed formats, (H, W) for gray, a tuple of planes
        for `yuv420p` and `nv12`.

    Raises:
        ValueError: if a shape or an option is not as described, a label has no colour, or a plane
            cannot be written to.
        TypeError: if an array has another dtype; nothing is converted silently.

    """
    labels = _label_map("colorize", labels, None)
    _check_palette("colorize", palette)
    if out is None:
        check_choice("colorize", "format", format, CANVAS_FORMATS)
        out = _new_frame(labels.shape, format)
    planes = canvas_planes("colorize", out, format, matrix, range, name="out")
    if frame_size_hw(planes) != labels.shape:
        raise ValueError(
            f"colorize: `out` must have the size of `labels`, {labels.shape}, "
            f"got {frame_size_hw(planes)}."
        )
    largest = colorize_cpu(labels, colours_in(palette, format, matrix, range), planes)
    _check_largest("colorize", largest, palette)
    return out


def blend_labels(
    frame: Pixels,
    labels: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    *,
    alpha: float = 0.5,
    format: CanvasFormat = "bgr24",  # noqa: A002
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
    ignore: int | Sequence[int] | None = None,
) -> None:
    """Blend the colours of a map of labels over a frame.

    Args:
        frame: changed in place. Its planes must be writeable views.
        labels: (H, W) uint8, a label for each pixel of the frame; rows may have any stride.
        palette: (K, 3) uint8, red, green and blue of each label, 1..256 of them, whatever the
            format is.
        alpha: weight of the palette's colour, in [0, 1], rounded to whole 256ths.
        format: of `frame`: bgr24, rgb24, gray8, yuv420p or nv12.
        matrix: of a frame with luma, bt601 or bt709.
        range: of `yuv420p` and `nv12`, limited or full; gray is always full.
        ignore: a label or labels, 0..255, whose pixels stay as they are, such as the background;
            they need no colour.

    Raises:
        ValueError: if a shape or an option is not as described, a label has no colour, or a plane
            cannot be written to. The frame is then as it was.
        TypeError: if an array has another dtype; nothing is converted silently.

    """
    planes = canvas_planes("blend_labels", frame, format, matrix, range)
    labels = _label_map("blend_labels", labels, frame_size_hw(planes))
    _check_palette("blend_labels", palette)
    check_fraction("blend_labels", "alpha", alpha)
    ignored = () if ignore is None else (ignore,) if isinstance(ignore, int) else ignore
    is_ignored = np.zeros(256, np.uint8)
    for label in ignored:
        if not 0 <= label <= 255:  # noqa: PLR2004  # labels are bytes
            raise ValueError(f"blend_labels: `ignore` must hold labels in 0..255, got {label}.")
        is_ignored[label] = 1
    largest = blend_labels_cpu(
        planes,
        labels,
        colours_in(palette, format, matrix, range),
        is_ignored,
        alpha_256=round(alpha * 256),
    )
    _check_largest("blend_labels", largest, palette)


def canvas_planes(
    function: str,
    frame: Pixels,
    format: CanvasFormat,  # noqa: A002
    matrix: ColourMatrix,
    range: ColourRange,  # noqa: A002
    *,
    name: str = "frame",
) -> tuple[Plane, ...]:
    """Return the planes of a frame that can be drawn into, in the native functions' order."""
    check_choice(function, "format", format, CANVAS_FORMATS)
    check_choice(function, "matrix", matrix, COLOUR_MATRICES)
    check_choice(function, "range", range, COLOUR_RANGES)
    planes = planes_of(function, frame, format)
    given = frame if isinstance(frame, tuple) else (frame,)
    given = given * len(planes) if len(given) == 1 else given
    for plane, source in zip(planes, given, strict=True):
        if plane is not source and not np.may_share_memory(plane, source):
            raise ValueError(
                f"{function}: `{name}` must hold the pixels of each row densely, got strides "
                f"{source.strides}. Draw into a copy: `np.ascontiguousarray({name})`."
            )
        if not plane.flags.writeable:
            raise ValueError(
                f"{function}: `{name}` must be writeable, got a read-only array. "
                f"Draw into a copy: `{name}.copy()`."
            )
    return planes


def _new_frame(size_hw: tuple[int, int], format: CanvasFormat) -> Pixels:  # noqa: A002
    height, width = size_hw
    if format == "gray8":
        return np.empty((height, width), np.uint8)
    if format in ("bgr24", "rgb24"):
        return np.empty((height, width, 3), np.uint8)
    half = (height + 1) // 2, (width + 1) // 2
    chroma = ((*half, 2),) if format == "nv12" else (half, half)
    return tuple(np.empty(shape, np.uint8) for shape in ((height, width), *chroma))


def _label_map(
    function: str, labels: NDArray[np.uint8], size_hw: tuple[int, int] | None
) -> NDArray[np.uint8]:
    check_array(function, "labels", labels, np.uint8, size_hw or ("H", "W"))
    if labels.size == 0:
        raise ValueError(f"{function}: `labels` must hold at least 1 pixel, got {labels.shape}.")
    return labels if labels[:1].flags.c_contiguous else np.ascontiguousarray(labels)


def _check_palette(function: str, palette: NDArray[np.uint8]) -> None:
    check_array(function, "palette", palette, np.uint8, ("K", 3))
    if not 1 <= len(palette) <= _MAX_COLOURS:
        raise ValueError(
            f"{function}: `palette` must hold 1 to {_MAX_COLOURS} colours, got {len(palette)}."
        )


def _check_largest(function: str, largest: int, palette: NDArray[np.uint8]) -> None:
    if largest >= len(palette):
        raise ValueError(
            f"{function}: `labels` must be below the number of colours, {len(palette)}, "
            f"got {largest}. Give `palette` a colour for every label."
        )


def _check_size(name: str, value: int) -> None:
    check_at_least("draw_boxes", name, value, 1)
    if value > _MAX_SIZE:
        raise ValueError(f"draw_boxes: `{name}` must be at most {_MAX_SIZE}, got {value}.")
