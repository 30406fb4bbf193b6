"""The definitions of labels from logits and of masks in their boxes."""

import numpy as np
from numpy.typing import NDArray

from edgecv.placement import Placement

Array = NDArray[np.float64]

_FARTHEST = 2.0**40  # pixels


def resize_argmax(
    logits: NDArray[np.floating],
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
) -> tuple[NDArray[np.uint8], Array]:
    """Return the class with the largest resized logit, and its softmax probability."""
    values = resized_logits(logits, size_hw, placement=placement)
    values = np.where(np.isnan(values), -np.inf, values)
    labels = values.argmax(axis=0)  # the first of equals
    best = values.max(axis=0)
    with np.errstate(invalid="ignore"):
        probability = 1 / np.exp(values - best).sum(axis=0)
    return labels.astype(np.uint8), np.where(np.isfinite(best), probability, np.nan)


def resized_logits(
    logits: NDArray[np.floating],
    size_hw: tuple[int, int],
    *,
    placement: Placement | None = None,
) -> Array:
    """Return (C, H, W): every class at every pixel of the frame."""
    values = logits.astype(np.float64)
    for axis in (0, 1):
        side, frame_side = values.shape[1 + axis], size_hw[axis]
        in_frame = np.arange(frame_side) + 0.5  # centres, in pixels from the edge
        if placement is None:
            in_logits = in_frame * side / frame_side
        else:
            scale = placement.resized_hw[axis] / placement.frame_hw[axis]
            in_input = in_frame * scale + placement.offset_xy[1 - axis]
            in_logits = in_input * side / placement.size_hw[axis]
        values = _interpolated(values, in_logits, axis=1 + axis)
    return values


def paste_masks(
    masks: NDArray[np.floating],
    boxes_xyxy: NDArray[np.float32],
    size_hw: tuple[int, int],
    *,
    threshold: float = 0.5,
) -> NDArray[np.bool_]:
    """Return which pixels of the frame have a pasted probability above the threshold."""
    return pasted_probabilities(masks, boxes_xyxy, size_hw) > threshold


def pasted_probabilities(
    masks: NDArray[np.floating], boxes_xyxy: NDArray[np.float32], size_hw: tuple[int, int]
) -> Array:
    """Return (N, H, W): each mask, with a border of one zero, stretched over its enlarged box."""
    frames = np.zeros((len(masks), *size_hw))
    for frame, mask, box in zip(frames, masks, boxes_xyxy, strict=True):
        bordered = np.pad(mask.astype(np.float64), 1)
        columns = _pixels_and_nodes(box[0], box[2], len(mask), size_hw[1])
        rows = _pixels_and_nodes(box[1], box[3], len(mask), size_hw[0])
        stretched = _interpolated(_interpolated(bordered, rows[1], axis=0), columns[1], axis=1)
        frame[np.ix_(rows[0], columns[0])] = stretched
    return frames


def paste_masks_rle(
    masks: NDArray[np.floating],
    boxes_xyxy: NDArray[np.float32],
    size_hw: tuple[int, int],
    *,
    threshold: float = 0.5,
) -> list[dict[str, object]]:
    """Return the pasted masks as COCO's compressed run lengths."""
    pasted = paste_masks(masks, boxes_xyxy, size_hw, threshold=threshold)
    return [{"size": list(size_hw), "counts": _counts(mask)} for mask in pasted]


def _interpolated(values: Array, positions: Array, *, axis: int) -> Array:
    """Return `values` at positions in pixels from the edge, linear between the pixels' centres."""
    last = values.shape[axis] - 1
    at = np.clip(positions - 0.5, 0, last)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, last)
    weight = (at - low).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    with np.errstate(invalid="ignore"):  # infinity times zero is NaN, as meant
        blended: Array = values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight
    return blended


def _pixels_and_nodes(
    low: np.float32, high: np.float32, side: int, frame_side: int
) -> tuple[NDArray[np.int64], Array]:
    """Return the frame's pixels within an enlarged box, and where they lie in its mask.

    The corners are computed in float32: which whole pixel they are truncated to is a convention.
    """
    nodes = side + 2
    none = np.zeros(0, np.int64), np.zeros(0)
    with np.errstate(over="ignore", invalid="ignore"):
        half = (high - low) * np.float32(0.5) * np.float32(nodes / side)
        centre = (high + low) * np.float32(0.5)
        corners = np.array([centre - half, centre + half], np.float64)
    if np.isnan(corners).any():
        return none
    first, last = np.trunc(np.clip(corners, -_FARTHEST, _FARTHEST)).astype(np.int64)
    pixels = np.arange(max(first, 0), max(min(last + 1, frame_side), 0), dtype=np.int64)
    size = max(last - first + 1, 1)
    return pixels, (pixels - first + 0.5) * nodes / size


def _counts(mask: NDArray[np.bool_]) -> bytes:
    """Return run lengths down the columns, a run of zeros first, in characters of 5 bits."""
    pixels = mask.ravel(order="F").astype(int)
    ends = [*(np.flatnonzero(np.diff(pixels)) + 1), pixels.size]
    if pixels[0] == 1:
        ends = [0, *ends]
    lengths = [int(b - a) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    text = bytearray()
    for i, length in enumerate(lengths):
        number = length - lengths[i - 2] if i > 2 else length  # noqa: PLR2004  # as COCO has it
        more = True
        while more:
            bits = number & 31
            number >>= 5
            more = number != (-1 if bits & 16 else 0)
            text.append(48 + bits + 32 * more)
    return bytes(text)
