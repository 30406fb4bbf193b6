"""Tiles of contact sheets: training samples, with everything that is known about them drawn in."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from edgecv.colour import class_colours
from edgecv.data.targets import Target
from edgecv.kernels import blend_labels, draw_boxes
from edgecv.spec import InputSpec

_MASK_WEIGHT = 0.35
_SMALLEST_TILE = 300  # smaller inputs are shown in whole multiples of their size


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
