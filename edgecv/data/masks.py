"""Masks of objects, drawn at the size at which they are needed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def draw_polygons(
    objects: Sequence[tuple[NDArray[np.float64], NDArray[np.int32]]], size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the mask of each object, exactly as COCO's mask API draws its polygons.

    Args:
        objects: of each, the corners (P, 2) in pixels and how many belong to each polygon, see
            `edgecv.data.segments.Polygons`. Corners may lie outside.
        size_hw: height and width of the masks in pixels.

    Returns:
        (K, H, W), C-contiguous.

    """
    from faster_coco_eval.core import mask as mask_api  # noqa: PLC0415  # an extra

    height, width = size_hw
    merged = []
    for corners_xy, sizes in objects:
        rings = np.split(corners_xy, np.cumsum(sizes)[:-1])
        flat = [ring.ravel().tolist() for ring in rings]
        merged.append(mask_api.merge(mask_api.frPyObjects(flat, height, width)))
    if not merged:
        return np.zeros((0, height, width), np.bool_)
    masks: NDArray[np.uint8] = mask_api.decode(merged)  # (H, W, K), in Fortran's order
    return np.ascontiguousarray(masks.transpose(2, 0, 1)).view(np.bool_)


def resample_masks(
    masks: NDArray[np.bool_],
    size_hw: tuple[int, int],
    scale_xy: NDArray[np.float64],
    offset_xy: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return masks moved by `input = frame * scale + offset`; the nearest pixel decides.

    Args:
        masks: (K, h, w) over the frame.
        size_hw: height and width of the input.
        scale_xy: (2,) input pixels per frame pixel; never 0.
        offset_xy: (2,) in input pixels.

    Returns:
        (K, H, W), False where no frame pixel lies.

    """
    axes = []
    for side, frame_side, scale, offset in zip(
        size_hw, masks.shape[1:], scale_xy[::-1], offset_xy[::-1], strict=True
    ):
        nearest = np.floor((np.arange(side) + 0.5 - offset) / scale).astype(np.intp)
        axes.append((nearest.clip(0, frame_side - 1), (nearest >= 0) & (nearest < frame_side)))
    (rows, is_row), (columns, is_column) = axes
    moved: NDArray[np.bool_] = masks[:, rows[:, None], columns]
    moved &= is_row[:, None] & is_column
    return moved
