"""Cases of `nms` and `soft_nms`: crowds spread evenly over 640 pixels, and what a head emits."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from measure import Call, Case, reading
from numpy.typing import NDArray

from edgecv.kernels import nms, soft_nms

OPERATORS = ("nms", "soft_nms")

Candidates = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]

_NUM_CLASSES = 80
_SIDE = 640.0


def cases() -> Iterator[Case]:
    """Yield, for each crowd, growing numbers of boxes, then one class, then a limit."""
    for name, crowd in (("even", _even), ("head", _head)):
        for count in (300, 1000, 8400, 30000):
            yield _nms(name, crowd(count))
        for count in (1000, 8400, 30000):
            yield _nms(name, crowd(count), agnostic=True)
        for count in (8400, 30000):
            yield _nms(name, crowd(count), limit=300)
    for name, crowd in (("even", _even), ("head", _head)):
        for count, limit in ((300, None), (1000, None), (8400, 300)):
            yield _soft_nms(name, crowd(count), limit)


def _even(count: int) -> Candidates:
    """Return boxes, scores and classes that know nothing of each other."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 600, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(8, 160, (count, 2))]).astype(np.float32)
    return boxes, rng.random(count, np.float32), rng.integers(0, _NUM_CLASSES, count, np.int32)


def _head(count: int) -> Candidates:
    """Return boxes around objects, worse scores for worse boxes, few classes frequent."""
    rng = np.random.default_rng(0)
    num_objects = int(np.clip(count // 28, 60, 300))
    centres = rng.uniform(0, _SIDE, (num_objects, 2))
    sizes = np.exp(rng.uniform(np.log(12), np.log(300), (num_objects, 2)))
    frequency = 1 / np.arange(1, _NUM_CLASSES + 1)  # Zipf's law
    classes = rng.choice(_NUM_CLASSES, num_objects, p=frequency / frequency.sum())
    certainty = rng.beta(2, 2, num_objects)

    owner = rng.integers(0, num_objects, count)
    error = rng.exponential(0.12, count)  # how far a candidate misses its object
    centre = centres[owner] + sizes[owner] * error[:, None] * rng.normal(size=(count, 2))
    size = sizes[owner] * np.exp(error[:, None] * rng.normal(size=(count, 2)))
    low = (centre - size / 2).clip(0, _SIDE - 1)
    boxes = np.hstack([low, (centre + size / 2).clip(low + 1, _SIDE)])
    scores = certainty[owner] * np.exp(-3 * error) * rng.uniform(0.9, 1, count)
    confused = rng.random(count) < 0.1  # noqa: PLR2004  # of another class than the object
    class_ids = np.where(confused, rng.integers(0, _NUM_CLASSES, count), classes[owner])
    return boxes.astype(np.float32), scores.astype(np.float32), class_ids.astype(np.int32)


def _nms(
    crowd: str, candidates: Candidates, *, agnostic: bool = False, limit: int | None = None
) -> Case:
    boxes, scores, class_ids = candidates
    rows = "" if limit is None else f", best {limit}"
    classes = None if agnostic else class_ids
    return Case(
        operator="nms",
        size=f"{crowd}, N={len(boxes)}, {1 if agnostic else _NUM_CLASSES} classes{rows}",
        ours=lambda: nms(boxes, scores, classes, iou_threshold=0.45, max_detections=limit),
        peers=_torchvision(candidates, agnostic=agnostic, limit=limit),
        floor=reading(len(boxes) * (16 + 4 + (0 if agnostic else 4))),
        floor_is="read what is given",
    )


def _torchvision(candidates: Candidates, *, agnostic: bool, limit: int | None) -> dict[str, Call]:
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        from torchvision import ops  # noqa: PLC0415
    except ImportError:
        return {}
    torch.set_num_threads(1)
    boxes, scores, class_ids = (torch.from_numpy(array) for array in candidates)
    call: Callable[..., Any] = ops.nms if agnostic else ops.batched_nms
    arguments = (boxes, scores) if agnostic else (boxes, scores, class_ids)
    name = f"torchvision {call.__name__}"
    return {name: lambda: call(*arguments, 0.45)[:limit]}


def _soft_nms(crowd: str, candidates: Candidates, limit: int | None) -> Case:
    boxes, scores, class_ids = candidates
    peers: dict[str, Call] = {"NumPy, vectorised": lambda: _soft_nms_numpy(candidates, limit)}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        tensors = tuple(torch.from_numpy(array) for array in candidates)
        peers["torch, vectorised"] = lambda: _soft_nms_torch(tensors, limit)
    return Case(
        operator="soft_nms",
        size=f"{crowd}, N={len(boxes)}" + ("" if limit is None else f", best {limit}"),
        ours=lambda: soft_nms(boxes, scores, class_ids, max_detections=limit),
        peers=peers,
        floor=reading(len(boxes) * (16 + 4 + 4)),
        floor_is="read what is given",
    )


def _soft_nms_numpy(candidates: Candidates, limit: int | None) -> list[int]:
    """Gaussian with sigma 0.5, all classes at once by shifting them apart."""
    boxes, scores, class_ids = candidates
    x1, y1, x2, y2 = (boxes + class_ids[:, None] * np.float32(boxes.max() + 1)).T.copy()
    areas = (x2 - x1) * (y2 - y1)
    left = np.flatnonzero(scores > 0.001)  # noqa: PLR2004  # the default threshold
    scores = scores[left]
    kept: list[int] = []
    while len(left) and len(kept) != limit:
        best = int(scores.argmax())
        i = int(left[best])
        kept.append(i)
        scores[best] = 0
        width = np.minimum(x2[i], x2[left]) - np.maximum(x1[i], x1[left])
        height = np.minimum(y2[i], y2[left]) - np.maximum(y1[i], y1[left])
        inter = width.clip(0) * height.clip(0)
        iou = inter / (areas[i] + areas[left] - inter)
        scores = scores * np.exp(-(iou * iou) / 0.5)
        alive = scores > 0.001  # noqa: PLR2004
        left, scores = left[alive], scores[alive]
    return kept


def _soft_nms_torch(candidates: tuple[Any, ...], limit: int | None) -> list[int]:
    """As `_soft_nms_numpy`."""
    boxes, scores, class_ids = candidates
    x1, y1, x2, y2 = (boxes + class_ids[:, None] * (boxes.max() + 1)).T.contiguous()
    areas = (x2 - x1) * (y2 - y1)
    left = (scores > 0.001).nonzero()[:, 0]  # noqa: PLR2004
    scores = scores[left]
    kept: list[int] = []
    while len(left) and len(kept) != limit:
        best = int(scores.argmax())
        i = int(left[best])
        kept.append(i)
        scores[best] = 0
        width = x2[left].minimum(x2[i]) - x1[left].maximum(x1[i])
        height = y2[left].minimum(y2[i]) - y1[left].maximum(y1[i])
        inter = width.clamp_(0) * height.clamp_(0)
        iou = inter / (areas[i] + areas[left] - inter)
        scores = scores * (iou * iou / -0.5).exp_()
        alive = scores > 0.001  # noqa: PLR2004
        left, scores = left[alive], scores[alive]
    return kept
