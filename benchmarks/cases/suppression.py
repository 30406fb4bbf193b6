"""Cases of `nms`: boxes of 80 classes crowded into a 640-pixel input."""

from collections.abc import Iterator

import numpy as np
from measure import Case, reading

from edgecv.kernels import nms

OPERATORS = ("nms",)


def cases() -> Iterator[Case]:
    """Yield one case per number of boxes."""
    for count in (300, 1000, 8400, 30000):
        yield _nms(count)


def _nms(count: int) -> Case:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 600, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(8, 160, (count, 2))]).astype(np.float32)
    scores = rng.random(count, np.float32)
    class_ids = rng.integers(0, 80, count, np.int32)

    peers = {}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        from torchvision.ops import batched_nms  # noqa: PLC0415
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        tensors = [torch.from_numpy(array) for array in (boxes, scores, class_ids)]
        peers["torchvision batched_nms"] = lambda: batched_nms(*tensors, 0.45)
    return Case(
        operator="nms",
        size=f"N={count}, 80 classes",
        ours=lambda: nms(boxes, scores, class_ids, iou_threshold=0.45),
        peers=peers,
        floor=reading(count * (16 + 4 + 4)),
        floor_is="read boxes, scores, classes",
    )
