"""The definition of drawing: boxes with labels, masks and label maps, into the planes of a frame.

Frames are tuples of planes; each function returns the planes of a new frame. All sums are of whole
numbers, so that the one division before rounding is exact where it matters: at halves.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.colour import CanvasFormat, colours_in, text_colours
from edgecv.frame_formats import ColourMatrix, ColourRange, Plane
from edgecv.kernels.reference.segmentation import paste_masks
from edgecv.kernels.text import line_height, word_mask

Array = NDArray[np.float64]
Rectangle = tuple[int, int, int, int]
Change = Callable[[Array, int], Array]  # of the pixels of a channel


def draw_boxes(
    frame: tuple[Plane, ...],
    boxes_xyxy: NDArray[np.float32],
    *,
    colours: NDArray[np.uint8],
    labels: Sequence[str] | None = None,
    format: CanvasFormat = "bgr24",  # noqa: A002
    line_width: int,
    font_size: int = 10,
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> tuple[Plane, ...]:
    """Paint every outline, last box first, then every label, last box first."""
    height, width = frame[0].shape[:2]
    fills = colours_in(colours, format, matrix, range).astype(np.float64)
    texts = colours_in(text_colours(colours), format, matrix, range).astype(np.float64)
    visible = []
    for i, box in enumerate(boxes_xyxy):
        if not np.isnan(box).any():
            limits = np.array([width, height, width, height], np.float64)
            x1, y1, x2, y2 = np.rint(np.clip(box, 0, limits)).astype(int).tolist()
            if x1 < x2 and y1 < y2:
                visible.append((i, (x1, y1, x2, y2)))
    for i, box in reversed(visible):
        frame = _painted(frame, _outline(box, line_width, (height, width)), fills[i], texts[i])
    for i, box in reversed(visible):
        mask = _text(labels[i] if labels is not None else "", font_size)
        coverage = _placed(mask, box, line_width, (height, width))
        frame = _painted(frame, coverage, fills[i], texts[i])
    return frame


def draw_masks(
    frame: tuple[Plane, ...],
    masks: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    *,
    colours: NDArray[np.uint8],
    alpha: float = 0.45,
    threshold: float = 0.5,
    format: CanvasFormat = "bgr24",  # noqa: A002
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> tuple[Plane, ...]:
    """Mix each pixel that a mask covers with the mask's colour, last mask first."""
    weight = round(alpha * 256)
    covered = paste_masks(masks, boxes_xyxy, frame[0].shape[:2], threshold=threshold)
    fills = colours_in(colours, format, matrix, range).astype(np.float64)
    for is_covered, fill in zip(covered[::-1], fills[::-1], strict=True):

        def mixed(
            pixel: Array, channel: int, where: NDArray[np.bool_] = is_covered, paint: Array = fill
        ) -> Array:
            blend = pixel * (256 - weight) + paint[channel] * weight
            return np.where(where, blend, 256 * pixel)

        frame = _changed(frame, mixed, scale=256)
    return frame


def colorize(
    labels: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    *,
    format: CanvasFormat = "bgr24",  # noqa: A002
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
) -> tuple[Plane, ...]:
    """Look up each pixel's colour, and average where samples are fewer."""
    pixels = colours_in(palette, format, matrix, range)[labels].astype(np.float64)
    if format in ("bgr24", "rgb24"):
        return (pixels.astype(np.uint8),)
    luma, cb, cr = np.moveaxis(pixels, 2, 0)
    if format == "gray8":
        return (luma.astype(np.uint8),)
    halves = _rounded(_sampled(cb, 2)), _rounded(_sampled(cr, 2))
    chroma = (np.stack(halves, axis=2),) if format == "nv12" else halves
    return (luma.astype(np.uint8), *chroma)


def blend_labels(
    frame: tuple[Plane, ...],
    labels: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    *,
    alpha: float = 0.5,
    format: CanvasFormat = "bgr24",  # noqa: A002
    matrix: ColourMatrix = "bt601",
    range: ColourRange = "limited",  # noqa: A002
    ignore: Sequence[int] = (),
) -> tuple[Plane, ...]:
    """Mix each pixel with its label's colour unless the label is ignored."""
    weight = round(alpha * 256)
    is_ignored = np.isin(labels, list(ignore))
    colours = colours_in(palette, format, matrix, range).astype(np.float64)
    pixels = colours[np.where(is_ignored, 0, labels)]

    def mixed(pixel: Array, channel: int) -> Array:
        blend = pixel * (256 - weight) + pixels[..., channel] * weight
        return np.where(is_ignored, 256 * pixel, blend)

    return _changed(frame, mixed, scale=256)


def _outline(box: Rectangle, line_width: int, size_hw: tuple[int, int]) -> Array:
    """Return 0, no text, on the outline and NaN elsewhere."""
    x1, y1, x2, y2 = box
    coverage = np.full(size_hw, np.nan)
    coverage[y1:y2, x1:x2] = 0
    inside = slice(y1 + line_width, y2 - line_width), slice(x1 + line_width, x2 - line_width)
    if min(x2 - x1, y2 - y1) > 2 * line_width:
        coverage[inside] = np.nan
    return coverage


def _text(label: str, font_size: int) -> Array:
    """Return the coverage 0..255 of a line of text: its words side by side."""
    height = line_height(font_size)
    masks = [word_mask(word, font_size) for word in label.split()]
    blocks = [np.frombuffer(m.coverage, np.uint8).reshape(height, m.width) for m in masks]
    return np.hstack([np.zeros((height, 0)), *blocks])


def _placed(mask: Array, box: Rectangle, line_width: int, size_hw: tuple[int, int]) -> Array:
    """Return the mask on the box's upper edge, within the frame, and NaN elsewhere."""
    x1, y1, _, _ = box
    top = y1 + line_width - len(mask)  # it ends where the outline's upper edge does
    y = max(min(top if top >= 0 else y1, size_hw[0] - mask.shape[0]), 0)
    x = max(min(x1, size_hw[1] - mask.shape[1]), 0)
    coverage = np.full(size_hw, np.nan)
    target = coverage[y : y + mask.shape[0], x : x + mask.shape[1]]
    target[:] = mask[: target.shape[0], : target.shape[1]]
    return coverage


def _painted(
    frame: tuple[Plane, ...], coverage: Array, fill: Array, text: Array
) -> tuple[Plane, ...]:
    """Mix fill and text where `coverage` is a number."""
    is_covered = ~np.isnan(coverage)
    share = np.nan_to_num(coverage)

    def mixed(pixel: Array, channel: int) -> Array:
        paint = fill[channel] * (255 - share) + text[channel] * share
        return np.where(is_covered, paint, 255 * pixel)

    return _changed(frame, mixed, scale=255)


def _changed(frame: tuple[Plane, ...], change: Change, scale: int) -> tuple[Plane, ...]:
    """Apply `change` to the value of every pixel and take the mean over each sample's pixels.

    `change` takes the pixels of one channel, (H, W), and returns `scale` times their new values.
    """
    height, width = frame[0].shape[:2]
    changed, channel = [], 0
    for index, plane in enumerate(frame):
        step = 1 if index == 0 else 2
        samples = plane.reshape(*plane.shape[:2], -1).astype(np.float64)
        pixels = samples.repeat(step, axis=0).repeat(step, axis=1)[:height, :width]
        channels = np.arange(samples.shape[2]).tolist()
        values = [_sampled(change(pixels[..., c], channel + c), step, scale) for c in channels]
        changed.append(_rounded(np.stack(values, axis=2)).reshape(plane.shape))
        channel += samples.shape[2]
    return tuple(changed)


def _sampled(values: Array, step: int, scale: int = 1) -> Array:
    """Return the mean of each block of step x step pixels, or of what the frame has of it."""

    def total(pixels: Array) -> Array:
        rows = np.add.reduceat(pixels, np.arange(0, len(pixels), step), axis=0)
        sums: Array = np.add.reduceat(rows, np.arange(0, pixels.shape[1], step), axis=1)
        return sums

    return total(values) / (scale * total(np.ones_like(values)))


def _rounded(values: Array) -> Plane:
    """Round to the nearest, halves up."""
    return np.floor(values + 0.5).astype(np.uint8)
