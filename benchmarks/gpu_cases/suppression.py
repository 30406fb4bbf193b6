"""Cases of `edge_nms` on a GPU: the scores of a detector's 640-pixel input, 8400 anchors.

Sixty objects give a dozen anchors each a high score; the rest is the noise of a trained detector.
At a threshold of 0.25 some 780 pairs of an anchor and a class are candidates, at 0.001, as when mAP
is measured, some 12 000.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from gpu_measure import Call, Case, Target
from torchvision.ops import batched_nms

from edgecv.kernels import edge_nms
from edgecv.kernels.cuda.edge_nms import workspace_bytes

OPERATORS = ("edge_nms",)

_NUM_ANCHORS, _NUM_CLASSES, _NUM_OBJECTS = 8400, 80, 60
_IOU, _MAX_DETECTIONS = 0.45, 300


def cases(device: str) -> Iterator[Case]:
    """Yield the cases."""
    peer = {"torchvision batched_nms": 10.0}
    yield _case(device, 1, 0.25, target=Target(most_us=60, least_ratio=peer))
    yield _case(device, 1, 0.001, target=Target())
    yield _case(device, 8, 0.25, target=Target())
    yield _case(device, 64, 0.25, target=Target(most_us=150))


def _scene(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return boxes (N, 4) float32 and scores (C, N) float32."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-9, 1, (_NUM_CLASSES, _NUM_ANCHORS))
    centres = rng.uniform(0, 640, (_NUM_ANCHORS, 2))
    sizes = np.exp(rng.uniform(2.5, 5.5, (_NUM_ANCHORS, 2)))
    near = rng.permutation(_NUM_ANCHORS)[: _NUM_OBJECTS * 13].reshape(_NUM_OBJECTS, 13)
    for anchors in near:
        centres[anchors] = rng.uniform(60, 580, 2) + rng.normal(0, 2, (len(anchors), 2))
        sizes[anchors] = np.exp(rng.uniform(3, 5.5, 2)) * rng.normal(1, 0.03, (len(anchors), 2))
        scores = np.linspace(0.92, 0.26, len(anchors))
        logits[rng.integers(_NUM_CLASSES), anchors] = np.log(scores / (1 - scores))
    boxes = np.hstack([centres - sizes / 2, centres + sizes / 2]).astype(np.float32)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return torch.from_numpy(boxes), torch.from_numpy(scores)


def _case(device: str, count: int, score_threshold: float, *, target: Target) -> Case:
    scenes = [_scene(seed) for seed in range(count)]
    boxes = torch.stack([boxes for boxes, _ in scenes]).to(device)
    scores = torch.stack([scores for _, scores in scenes]).to(device).half()
    options: dict[str, Any] = {
        "score_threshold": torch.tensor(score_threshold, device=device),
        "iou_threshold": torch.tensor(_IOU, device=device),
        "max_detections": _MAX_DETECTIONS,
        "layout": "cn",
    }
    out = edge_nms(boxes, scores, **options)
    num_bytes = workspace_bytes(count, _NUM_ANCHORS, _NUM_CLASSES, _MAX_DETECTIONS)
    workspace = torch.empty(num_bytes, dtype=torch.uint8, device=device)

    def ours() -> None:
        edge_nms(boxes, scores, out=out, workspace=workspace, **options)

    def with_torchvision() -> list[torch.Tensor]:
        kept = []
        for image in range(count):
            classes, anchors = (scores[image] > score_threshold).nonzero(as_tuple=True)
            values = scores[image, classes, anchors].float()
            rows = batched_nms(boxes[image, anchors], values, classes, _IOU)
            kept.append(anchors[rows[:_MAX_DETECTIONS]])
        return kept

    contenders: dict[str, Call] = {"cuda": ours}
    if find_spec("triton") is not None:
        contenders["triton"] = lambda: edge_nms(boxes, scores, implementation="triton", **options)

    def check() -> None:
        ours()
        for image, kept in enumerate(with_torchvision()):
            assert int(out.num_detections[image]) == len(kept)
            found, expected = out.boxes[image, : len(kept)], boxes[image, kept]
            # Equal scores may come in another order.
            assert torch.equal(found.sum(1).sort().values, expected.sum(1).sort().values)

    return Case(
        operator="edge_nms",
        size=f"{count} x {_NUM_ANCHORS}x{_NUM_CLASSES} fp16 above {score_threshold}",
        num_bytes=scores.numel() * 2,
        ours=contenders,
        peers={"torchvision batched_nms": with_torchvision},
        check=check,
        target=target,
    )
