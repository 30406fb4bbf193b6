"""Cases of `box_iou` on a GPU."""

from collections.abc import Iterator

import torch
from gpu_measure import Case
from torchvision import ops

from edgecv.kernels import box_iou

OPERATORS = ("box_iou",)


def cases(device: str) -> Iterator[Case]:
    """Yield the cases."""
    for n, m in ((100, 8400), (4096, 4096)):
        yield _case(device, n, m)


def _case(device: str, n: int, m: int) -> Case:
    generator = torch.Generator().manual_seed(0)
    a, b = (_boxes(count, generator).to(device) for count in (n, m))
    out = torch.empty((n, m), device=device)

    def ours() -> None:
        box_iou(a, b, out=out)

    def with_torchvision() -> torch.Tensor:
        overlaps: torch.Tensor = ops.box_iou(a, b)
        return overlaps

    def check() -> None:
        ours()
        torch.testing.assert_close(out, with_torchvision(), rtol=0, atol=1e-5)

    return Case(
        operator="box_iou",
        size=f"{n} x {m}",
        num_bytes=4 * n * m + 16 * (n + m),
        ours={"cuda": ours},
        peers={"torchvision box_iou": with_torchvision},
        check=check,
    )


def _boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    corners = torch.rand(count, 2, generator=generator) * 600
    return torch.hstack([corners, corners + 4 + torch.rand(count, 2, generator=generator) * 200])
