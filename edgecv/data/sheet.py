"""Contact sheets: training samples side by side, with everything that is known about them."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from edgecv.colour import class_colours
from edgecv.data.targets import Target
from edgecv.kernels import blend_labels, draw_boxes
from edgecv.spec import InputSpec

_PAPER, _INK, _FAINT = (18, 20, 24), (236, 238, 242), (140, 146, 156)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GAP = 12
_MARGIN = 20
_MASK_WEIGHT = 0.35
_SMALLEST_TILE = 300  # smaller inputs are shown in whole multiples of their size
_ASPECT = 1.4  # of a sheet, width over height, that screens show well


def shown_pixels(image: Tensor, wanted: InputSpec) -> NDArray[np.uint8]:
    """Return an input of the network as a picture, (H, W, 3): the normalisation undone.

    Args:
        image: float32 [3, H, W], as a batch holds it.
        wanted: the network's input.

    """
    mean, std = (torch.tensor(values)[:, None, None] for values in (wanted.mean, wanted.std))
    levels = ((image * std + mean) * 255).round_().clamp_(0, 255).to(torch.uint8)
    pixels: NDArray[np.uint8] = levels.permute(1, 2, 0).contiguous().numpy()
    return pixels


def draw_target(
    pixels: NDArray[np.uint8], target: Target, classes: Sequence[str], *, enlarged: int = 1
) -> NDArray[np.uint8]:
    """Return a picture with masks, keypoints, boxes and class names drawn over it.

    Args:
        pixels: (H, W, 3) RGB, left as it is.
        target: in its pixels.
        classes: the name of each class id.
        enlarged: whole factor by which the picture is enlarged before it is drawn on.

    """
    drawn = np.repeat(np.repeat(pixels, enlarged, axis=0), enlarged, axis=1)
    class_ids = target.class_ids.numpy().astype(np.int32)
    colours = class_colours(class_ids)
    if target.masks is not None:
        masks = target.masks.numpy().repeat(enlarged, axis=1).repeat(enlarged, axis=2)
        _draw_masks(drawn, masks, colours)
    if target.keypoints is not None:
        _draw_keypoints(drawn, target.keypoints.numpy(), colours, enlarged)
    boxes = target.boxes_xyxy.numpy() * np.float32(enlarged)
    smallest_first = np.argsort((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), kind="stable")
    draw_boxes(
        drawn,
        boxes[smallest_first],
        colours=colours[smallest_first],
        labels=[classes[class_id] for class_id in class_ids[smallest_first]],
        format="rgb24",
    )
    return drawn


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


def enlargement(size_hw: tuple[int, int]) -> int:
    """Return the whole factor at which an input is large enough to look at."""
    return max(1, math.ceil(_SMALLEST_TILE / max(size_hw)))


def _draw_masks(
    drawn: NDArray[np.uint8], masks: NDArray[np.bool_], colours: NDArray[np.uint8]
) -> None:
    """Tint every object and draw its outline, the largest at the bottom."""
    largest_first = np.argsort(-masks.sum(axis=(1, 2)), kind="stable")
    for index in largest_first:
        mask, palette = masks[index].view(np.uint8), np.stack([colours[index]] * 2)
        blend_labels(drawn, mask, palette, alpha=_MASK_WEIGHT, format="rgb24", ignore=0)
        inner = masks[index].copy()
        inner[1:] &= masks[index][:-1]
        inner[:-1] &= masks[index][1:]
        inner[:, 1:] &= masks[index][:, :-1]
        inner[:, :-1] &= masks[index][:, 1:]
        drawn[masks[index] & ~inner] = colours[index]


def _draw_keypoints(
    drawn: NDArray[np.uint8],
    keypoints: NDArray[np.float32],
    colours: NDArray[np.uint8],
    enlarged: int,
) -> None:
    """Draw a disc for each keypoint that is visible and a ring for each that is hidden."""
    picture = Image.fromarray(drawn)
    pen = ImageDraw.Draw(picture)
    radius = 3
    for points, colour in zip(keypoints, colours.tolist(), strict=True):
        for x, y, visibility in points.tolist():
            if visibility:
                centre = x * enlarged, y * enlarged
                fill = tuple(colour) if visibility > 1 else None
                rim = (255, 255, 255) if visibility > 1 else tuple(colour)
                pen.circle(centre, radius, fill=fill, outline=rim)
    drawn[:] = np.asarray(picture)


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
