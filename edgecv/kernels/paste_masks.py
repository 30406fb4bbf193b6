"""The masks of an instance segmentation network, from their boxes to the frame."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels._native import paste_masks_cpu, paste_masks_rle_cpu
from edgecv.kernels.arguments import check_fraction, check_masks, check_output

_MAX_SIDE = 2**22


class Rle(TypedDict):
    """A mask as COCO's compressed run lengths, down the columns: `size` is height and width."""

    size: list[int]
    counts: bytes


def paste_masks(
    masks: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    size_hw: tuple[int, int],
    *,
    threshold: float = 0.5,
    out: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return, for each object, which pixels of the frame its mask covers.

    A mask gets a border of one zero and is stretched bilinearly over its box, enlarged alike and
    truncated to whole pixels; a pixel is covered if the value there is greater than `threshold`.
    This is `paste_masks_in_image` of torchvision, followed by the comparison; the two agree except
    where the value is within 1e-5 of the threshold.

    Args:
        masks: (N, M, M) float32, probabilities in [0, 1]. NaN covers nothing.
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in frame pixels. A box may stick out of the
            frame; one that is inverted, outside or has a NaN coordinate covers nothing.
            Coordinates count as at most 2**40 pixels away.
        size_hw: height and width of the frame in pixels, 1 to 2**22 each.
        threshold: in [0, 1].
        out: (N, H, W) bool, C-contiguous: where to write the masks instead of allocating them.
            Every pixel is written, which for large frames takes most of the time; without `out`
            the system's fresh zero pages are used.

    Returns:
        (N, H, W) bool, `out` itself if given.

    Raises:
        ValueError: if a shape, a size or the threshold is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        He et al., "Mask R-CNN", ICCV 2017, section 3.1; the conventions are those of
        `torchvision.models.detection.roi_heads`.

    """
    height, width = _check("paste_masks", masks, boxes_xyxy, size_hw, threshold)
    shape = (len(masks), height, width)
    is_zero = out is None
    if out is None:
        out = np.zeros(shape, np.bool_)
    else:
        check_output("paste_masks", "out", out, np.bool_, shape)
    paste_masks_cpu(
        np.ascontiguousarray(masks),
        np.ascontiguousarray(boxes_xyxy),
        threshold=threshold,
        is_zero=is_zero,
        out=out.view(np.uint8),
    )
    return out


def paste_masks_rle(
    masks: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    size_hw: tuple[int, int],
    *,
    threshold: float = 0.5,
) -> list[Rle]:
    """Return what `paste_masks` returns as COCO run lengths, without making the frames.

    Args:
        masks: see `paste_masks`.
        boxes_xyxy: see `paste_masks`.
        size_hw: see `paste_masks`.
        threshold: see `paste_masks`.

    Returns:
        N dicts of `size`, [H, W], and `counts`, bytes, as `pycocotools.mask.encode` returns them.

    Raises:
        ValueError: if a shape, a size or the threshold is not as described.
        TypeError: if an array has another dtype; nothing is converted silently.

    Source:
        See `paste_masks`; the compressed form is that of the COCO API, `maskApi.c`, `rleToString`.

    """
    height, width = _check("paste_masks_rle", masks, boxes_xyxy, size_hw, threshold)
    counts = paste_masks_rle_cpu(
        np.ascontiguousarray(masks),
        np.ascontiguousarray(boxes_xyxy),
        height=height,
        width=width,
        threshold=threshold,
    )
    return [{"size": [height, width], "counts": text} for text in counts]


def _check(
    function: str,
    masks: NDArray[np.float32],
    boxes_xyxy: NDArray[np.float32],
    size_hw: tuple[int, int],
    threshold: float,
) -> tuple[int, int]:
    """Refuse wrong arguments and return the frame's height and width."""
    check_masks(function, masks, boxes_xyxy)
    height, width = size_hw
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise ValueError(f"{function}: `size_hw` must be 1 to 2**22 each, got {size_hw}.")
    check_fraction(function, "threshold", threshold)
    return height, width
