"""Cases of `box_iou`: every kind at the sizes of matching, assignment and evaluation."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from measure import Call, Case, copying
from numpy.typing import NDArray

from edgecv.kernels import box_iou
from edgecv.kernels.box_iou import OverlapKind

OPERATORS = ("box_iou",)

_PEERS: dict[OverlapKind, str] = {
    "iou": "box_iou",
    "giou": "generalized_box_iou",
    "diou": "distance_box_iou",
    "ciou": "complete_box_iou",
}


def cases() -> Iterator[Case]:
    """Yield, for each kind: tracking, objects against anchors, a crowd against itself."""
    for kind in _PEERS:
        for n, m in ((100, 100), (50, 8400), (1000, 1000)):
            yield _box_iou(kind, n, m)


def _box_iou(kind: OverlapKind, n: int, m: int) -> Case:
    rng = np.random.default_rng(0)
    a, b = _boxes(n, rng), _boxes(m, rng)
    out = np.empty((n, m), np.float32)
    peers: dict[str, Call] = {}
    try:
        import torch  # noqa: PLC0415  # a peer, where it is installed
        from torchvision import ops  # noqa: PLC0415
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)
        call: Any = getattr(ops, _PEERS[kind])
        tensors = torch.from_numpy(a), torch.from_numpy(b)
        peers[f"torchvision {_PEERS[kind]}"] = lambda: call(*tensors)
    return Case(
        operator="box_iou",
        size=f"{kind}, {n} x {m}",
        ours=lambda: box_iou(a, b, kind=kind, out=out),
        peers=peers,
        floor=copying(2 * 4 * n * m),
        floor_is="copy an array as large as the result",
    )


def _boxes(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    corners = rng.uniform(0, 600, (count, 2))
    return np.hstack([corners, corners + rng.uniform(8, 160, (count, 2))]).astype(np.float32)
