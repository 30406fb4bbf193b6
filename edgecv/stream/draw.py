"""Boxes and labels drawn into a frame, fast enough to do it for every frame of a video."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgecv.results import Detections
from edgecv.stream.sources import PixelFormat

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Neighbours differ in hue as well as in lightness, so that classes 0, 1, 2 are told apart first.
PALETTE_RGB: tuple[Colour, ...] = (
    (46, 134, 255),  # azure
    (255, 159, 28),  # orange
    (46, 204, 113),  # emerald
    (239, 71, 111),  # raspberry
    (255, 221, 51),  # sun
    (155, 93, 229),  # violet
    (0, 206, 209),  # turquoise
    (255, 99, 72),  # tomato
    (163, 230, 53),  # lime
    (244, 114, 208),  # pink
    (20, 110, 160),  # petrol
    (176, 116, 56),  # bronze
    (0, 133, 86),  # pine
    (150, 150, 255),  # lavender
    (176, 32, 50),  # crimson
    (255, 190, 152),  # peach
    (104, 70, 180),  # indigo
    (128, 148, 20),  # olive
    (120, 220, 190),  # mint
    (150, 160, 175),  # slate
)

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
# WCAG 2.1: contrast is (L1 + 0.05) / (L2 + 0.05); here black and white text are equally legible.
_DARK_BELOW = (1.05 * 0.05) ** 0.5 - 0.05


def draw_detections(
    pixels: Pixels,
    detections: Detections,
    classes: Sequence[str],
    *,
    format: PixelFormat = "bgr24",  # noqa: A002  # the word of the whole package
) -> None:
    """Draw every detection into `pixels`, the best score on top.

    Args:
        pixels: (H, W, 3) uint8, changed in place.
        detections: boxes in the pixels of this frame; what sticks out is clipped.
        classes: the name of each class id.
        format: order of the channels of `pixels`, `bgr24` or `rgb24`.

    """
    line, font_size = _line_and_font_size(pixels.shape[0], pixels.shape[1])
    boxes = np.rint(detections.boxes_xyxy).astype(np.int64).tolist()
    rows = list(zip(boxes, detections.scores.tolist(), detections.class_ids.tolist(), strict=True))
    for box, _, class_id in reversed(rows):
        _draw_box(pixels, box, line, class_colours(class_id, format)[0])
    for box, score, class_id in reversed(rows):  # labels last: no outline crosses a text
        name_mask = _text_mask(classes[class_id], font_size)
        score_mask = _text_mask(f"{score:.2f}", font_size)
        ramp = _ramp(*class_colours(class_id, format))
        _draw_label(pixels, box, line, (name_mask, score_mask), ramp)


@lru_cache(maxsize=256)
def class_colours(class_id: int, format: PixelFormat) -> tuple[Colour, Colour]:  # noqa: A002
    """Return the colour of a class and that of text on it, in the channel order of `format`."""
    red, green, blue = PALETTE_RGB[class_id % len(PALETTE_RGB)]
    linear = [(value / 255) ** 2.2 for value in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    colour = (red, green, blue) if format == "rgb24" else (blue, green, red)
    return colour, _WHITE if luminance < _DARK_BELOW else _BLACK


def _line_and_font_size(height: int, width: int) -> tuple[int, int]:
    """Return line width and font size in pixels: 2 and 16 at 720p, legible on thumbnails too."""
    side = (height * width) ** 0.5
    return max(1, round(side / 420)), max(10, round(side / 58))


def _draw_box(pixels: Pixels, box_xyxy: list[int], line: int, colour: Colour) -> None:
    """Draw the outline of a box, `line` pixels wide, inside the box."""
    height, width = pixels.shape[:2]
    x1, x2 = (min(max(x, 0), width) for x in box_xyxy[0::2])
    y1, y2 = (min(max(y, 0), height) for y in box_xyxy[1::2])
    if x2 <= x1 or y2 <= y1:
        return
    pixels[y1 : min(y1 + line, y2), x1:x2] = colour
    pixels[max(y2 - line, y1) : y2, x1:x2] = colour
    pixels[y1:y2, x1 : min(x1 + line, x2)] = colour
    pixels[y1:y2, max(x2 - line, x1) : x2] = colour


def _draw_label(
    pixels: Pixels, box_xyxy: list[int], line: int, masks: tuple[Pixels, Pixels], ramp: Pixels
) -> None:
    """Draw the filled plate with name and score on the box's upper edge, inside the frame.

    Args:
        pixels: (H, W, 3) uint8, changed in place.
        box_xyxy: the box in whole pixels.
        line: the outline's width.
        masks: coverage 0..255 of the name and of the score, equally high.
        ramp: (256, 3) uint8, the pixel for each coverage.

    """
    height, width = pixels.shape[:2]
    plate_h, plate_w = masks[0].shape[0], masks[0].shape[1] + masks[1].shape[1]
    x = max(min(box_xyxy[0], width - plate_w), 0)
    above = box_xyxy[1] - plate_h + line
    y = above if above >= 0 else box_xyxy[1]  # no room above: inside the box
    y = max(min(y, height - plate_h), 0)
    for mask in masks:
        target = pixels[y : y + plate_h, x : x + mask.shape[1]]
        if target.size:
            target[:] = ramp[mask[: target.shape[0], : target.shape[1]]]
        x += mask.shape[1]


@lru_cache(maxsize=1024)
def _text_mask(text: str, font_size: int) -> Pixels:
    """Return the coverage 0..255 of a line of text with a margin, (h, w) uint8.

    The height depends on the font alone, so that masks can stand side by side.
    """
    font = ImageFont.load_default(font_size)
    margin = max(2, font_size // 6)
    _, top, _, bottom = font.getbbox("Agjy0|")
    width = round(font.getlength(text)) + 2 * margin
    height = round(bottom - top) + margin
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((margin, margin // 2 - top), text, fill=255, font=font)
    mask: Pixels = np.asarray(image)
    return mask


@lru_cache(maxsize=256)
def _ramp(background: Colour, text: Colour) -> Pixels:
    """Return the (256, 3) uint8 mixtures of two colours by coverage."""
    coverage = np.linspace(0, 1, 256)[:, None]
    mixture = (1 - coverage) * np.array(background) + coverage * np.array(text)
    ramp: Pixels = np.rint(mixture).astype(np.uint8)
    return ramp
