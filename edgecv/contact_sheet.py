"""Contact sheets: pictures side by side under a title and a legend."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK, _FAINT = (18, 20, 24), (236, 238, 242), (140, 146, 156)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GAP = 12
_MARGIN = 20
_ASPECT = 1.4  # of a sheet, width over height, that screens show well


def contact_sheet(
    tiles: Sequence[NDArray[np.uint8]],
    captions: Sequence[str],
    *,
    title: str,
    subtitle: str,
    legend: Sequence[tuple[str, tuple[int, int, int]]],
) -> Image.Image:
    """Return one picture of many, in rows, under a title and a legend of the classes.

    Args:
        tiles: RGB pictures of one size, at least one.
        captions: a line under each.
        title: a line above all.
        subtitle: a fainter line below it.
        legend: names and their colours.

    """
    height, width = tiles[0].shape[:2]
    large, small = ImageFont.load_default(24), ImageFont.load_default(13)
    line = 20
    columns = _num_columns(len(tiles), (height + line + _GAP, width + _GAP))
    rows = math.ceil(len(tiles) / columns)
    inner = max(columns * (width + _GAP) - _GAP, 320)
    lines = _wrapped(legend, small, inner)
    top = _MARGIN + 34 + line + len(lines) * line + _GAP
    size = (inner + 2 * _MARGIN, top + rows * (height + line + _GAP) + _MARGIN - _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN - 6), title, fill=_INK, font=large)
    pen.text((_MARGIN, _MARGIN + 30), subtitle, fill=_FAINT, font=small)
    for index, entries in enumerate(lines):
        y = _MARGIN + 34 + line * (index + 1)
        for x, name, colour in entries:
            left = _MARGIN + x
            pen.rounded_rectangle((left, y + 3, left + 10, y + 13), 3, fill=colour)
            pen.text((left + 16, y), name, fill=_INK, font=small)
    for index, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        x = _MARGIN + index % columns * (width + _GAP)
        y = top + index // columns * (height + line + _GAP)
        sheet.paste(Image.fromarray(tile), (x, y))
        pen.text((x, y + height + 3), _shortened(caption, small, width), fill=_FAINT, font=small)
    return sheet


def _num_columns(count: int, cell_hw: tuple[int, int]) -> int:
    """Return how many columns make a sheet of a pleasant shape with few empty cells."""
    height, width = cell_hw

    def penalty(columns: int) -> float:
        rows = math.ceil(count / columns)
        num_empty = rows * columns - count
        return num_empty / count + abs(math.log(columns * width / (rows * height) / _ASPECT))

    return min(range(1, count + 1), key=penalty)


def _wrapped(
    legend: Sequence[tuple[str, tuple[int, int, int]]], font: _Font, width: int
) -> list[list[tuple[int, str, tuple[int, int, int]]]]:
    """Return the legend in lines no wider than `width`, each entry with where it begins."""
    lines: list[list[tuple[int, str, tuple[int, int, int]]]] = [[]]
    x = 0
    for name, colour in legend:
        extent = 16 + math.ceil(font.getlength(name)) + 18
        if x + extent > width and lines[-1]:
            lines.append([])
            x = 0
        lines[-1].append((x, name, colour))
        x += extent
    return lines


def _shortened(text: str, font: _Font, width: int) -> str:
    """Return `text`, its middle left out where it is wider than `width`."""
    kept = len(text)
    shown = text
    while font.getlength(shown) > width and kept > 2:  # noqa: PLR2004  # a letter at each end
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return shown
