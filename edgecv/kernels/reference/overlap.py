"""The definition of how much two boxes overlap."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Box = Sequence[float] | Array  # one at a time, Python's numbers are the faster ones


def box_iou(
    a_xyxy: NDArray[np.floating], b_xyxy: NDArray[np.floating], *, kind: str = "iou"
) -> Array:
    """Return the overlap of every box of `a_xyxy` with every box of `b_xyxy`."""
    overlap = {"iou": iou, "giou": giou, "diou": diou, "ciou": ciou}[kind]
    out = np.zeros((len(a_xyxy), len(b_xyxy)))
    for i, p in enumerate(a_xyxy.astype(np.float64).tolist()):
        for j, q in enumerate(b_xyxy.astype(np.float64).tolist()):
            out[i, j] = overlap(p, q)
    return out


def iou(p: Box, q: Box) -> float:
    """Return |P ∩ Q| / |P ∪ Q|; 0 if either has no area."""
    if not (has_area(p) and has_area(q)):
        return 0.0
    return _intersection(p, q) / _union(p, q)


def giou(p: Box, q: Box) -> float:
    """Return IoU - (|C| - |P ∪ Q|) / |C|, C the hull of both; -1 if either has no area."""
    if not (has_area(p) and has_area(q)):
        return -1.0
    width, height = _hull(p, q)
    return iou(p, q) - (width * height - _union(p, q)) / (width * height)


def diou(p: Box, q: Box) -> float:
    """Return IoU - (distance of centres / diagonal of hull)²; -1 if either has no area."""
    if not (has_area(p) and has_area(q)):
        return -1.0
    width, height = _hull(p, q)
    x = (p[0] + p[2]) / 2 - (q[0] + q[2]) / 2
    y = (p[1] + p[3]) / 2 - (q[1] + q[3]) / 2
    return iou(p, q) - float((x * x + y * y) / (width * width + height * height))


def ciou(p: Box, q: Box) -> float:
    """Return DIoU - v² / (1 - IoU + v), v the difference of shapes; -1 if either has no area."""
    if not (has_area(p) and has_area(q)):
        return -1.0
    angle_p, angle_q = (math.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (p, q))
    v = 4 / math.pi**2 * (angle_p - angle_q) ** 2
    return diou(p, q) - (v * v / (1 - iou(p, q) + v) if v > 0 else 0.0)


def has_area(p: Box) -> bool:
    """Return whether a box is neither empty nor inverted and all its coordinates are finite."""
    return bool(all(map(math.isfinite, p)) and p[2] > p[0] and p[3] > p[1])


def area(p: Box) -> float:
    """Return the area of a box that has one, in pixels²."""
    return float((p[2] - p[0]) * (p[3] - p[1]))


def _intersection(p: Box, q: Box) -> float:
    shared = max(p[0], q[0]), max(p[1], q[1]), min(p[2], q[2]), min(p[3], q[3])
    return area(shared) if has_area(shared) else 0.0


def _union(p: Box, q: Box) -> float:
    return area(p) + area(q) - _intersection(p, q)


def _hull(p: Box, q: Box) -> tuple[float, float]:
    """Return width and height of the smallest box around both."""
    width = max(p[2], q[2]) - min(p[0], q[0])
    height = max(p[3], q[3]) - min(p[1], q[1])
    return float(width), float(height)
