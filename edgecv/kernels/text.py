"""Masks of words, rendered once by Pillow and kept."""

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont


class WordMask(NamedTuple):
    """A word with a margin: `line_height` rows of `width` bytes, coverage 0..255, row-major."""

    coverage: bytes
    width: int


@lru_cache(maxsize=4096)
def word_mask(word: str, font_size: int) -> WordMask:
    """Return the mask of a word; the margins of two neighbours make the space between them.

    By word, so that the labels of a video, whose scores never rest, are made of known masks.
    """
    from PIL import Image, ImageDraw  # noqa: PLC0415  # slow to import, and most draw no text

    font = _font(font_size)
    margin = _margin(font_size)
    _, top, _, _ = font.getbbox(_EXTREMES)
    width = round(font.getlength(word)) + 2 * margin
    image = Image.new("L", (width, line_height(font_size)))
    ImageDraw.Draw(image).text((margin, margin // 2 - top), word, fill=255, font=font)
    return WordMask(image.tobytes(), width)


@lru_cache(maxsize=64)
def line_height(font_size: int) -> int:
    """Return the height of every word in pixels, so that masks can stand side by side."""
    _, top, _, bottom = _font(font_size).getbbox(_EXTREMES)
    return round(bottom - top) + _margin(font_size)


_EXTREMES = "Agjy0|"  # reach as far up and down as the font does


def _margin(font_size: int) -> int:
    return max(2, font_size // 6)


@lru_cache(maxsize=64)
def _font(font_size: int) -> "FreeTypeFont":
    from PIL import ImageFont  # noqa: PLC0415

    font = ImageFont.load_default(font_size)
    if isinstance(font, ImageFont.ImageFont):
        raise TypeError("draw_boxes: Pillow must have FreeType. Install Pillow from its wheels.")
    return font
