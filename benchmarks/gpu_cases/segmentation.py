"""Cases of `resize_argmax` on a GPU: the logits of a segmentation network to labels of a frame."""

from collections.abc import Iterator
from importlib.util import find_spec

import torch
from gpu_measure import Call, Case, Target
from torch.nn import functional

from edgecv.kernels import resize_argmax

OPERATORS = ("resize_argmax",)

_FULL_HD = (1080, 1920)


def cases(device: str) -> Iterator[Case]:
    """Yield the cases."""
    target = Target(most_us=60, least_ratio={"torch interpolate, argmax": 10.0})
    yield _case(device, 21, (135, 240), torch.float16, target=target)
    yield _case(device, 21, (135, 240), torch.float32, target=Target())
    yield _case(device, 21, (270, 480), torch.float16, target=Target())
    yield _case(device, 150, (135, 240), torch.float16, target=Target())


def _case(
    device: str,
    num_classes: int,
    logits_hw: tuple[int, int],
    dtype: torch.dtype,
    *,
    target: Target,
) -> Case:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, num_classes, 9, 16, generator=generator)
    logits = functional.interpolate(coarse, logits_hw, mode="bicubic").to(device, dtype)
    out = torch.empty(_FULL_HD, dtype=torch.uint8, device=device)

    def ours() -> None:
        resize_argmax(logits[0], _FULL_HD, out=out)

    def with_torch() -> torch.Tensor:
        resized = functional.interpolate(logits, _FULL_HD, mode="bilinear", align_corners=False)
        return resized.argmax(1)[0]

    contenders: dict[str, Call] = {"cuda": ours}
    if find_spec("triton") is not None:
        contenders["triton"] = lambda: resize_argmax(logits, _FULL_HD, implementation="triton")

    def check() -> None:
        ours()
        # PyTorch rounds what it interpolates to the logits' type: neighbours that are that close.
        assert (out == with_torch()).float().mean() > 0.99  # noqa: PLR2004

    height, width = logits_hw
    return Case(
        operator="resize_argmax",
        size=f"{num_classes} x {height}x{width} {str(dtype)[6:]} to 1080p",
        num_bytes=logits.numel() * logits.element_size() + out.numel(),
        ours=contenders,
        peers={"torch interpolate, argmax": with_torch},
        check=check,
        target=target,
    )
