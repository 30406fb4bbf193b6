"""Cases of `letterbox` on a GPU: decoded frames into detector inputs, one and many at once."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from gpu_measure import Call, Case, Target
from torch.nn import functional

from edgecv.frame_formats import FrameFormat
from edgecv.kernels import letterbox, letterbox_batch
from edgecv.placement import Placement

OPERATORS = ("letterbox",)

_FULL_HD, _UHD = (1080, 1920), (2160, 3840)
_NAMES = {_FULL_HD: "1080p", _UHD: "4K"}
_SIDE = 640
_PAD = 114


def cases(device: str) -> Iterator[Case]:
    """Yield the cases."""
    yield _case(device, "nv12", _FULL_HD, 1, target=Target(most_us=12))
    yield _case(device, "nv12", _FULL_HD, 32, target=Target(least_share=0.6))
    yield _case(device, "nv12", _UHD, 1)
    yield _case(device, "yuv420p", _FULL_HD, 1)
    yield _case(device, "bgr24", _FULL_HD, 1)
    yield _case(device, "bgr24", _FULL_HD, 32)


def _case(
    device: str,
    form: FrameFormat,
    frame_hw: tuple[int, int],
    count: int,
    *,
    target: Target | None = None,
) -> Case:
    rng = np.random.default_rng(0)
    height, width = frame_hw
    shape = (height, width, 3) if form == "bgr24" else (height * 3 // 2, width)
    frames = [rng.integers(0, 256, shape, np.uint8) for _ in range(count)]
    on_device = [torch.from_numpy(frame).to(device) for frame in frames]
    out = torch.empty((count, 3, _SIDE, _SIDE), dtype=torch.float16, device=device)

    def ours() -> None:
        letterbox_batch(on_device, (_SIDE, _SIDE), format=form, dtype="float16", out=out)

    contenders: dict[str, Call] = {"cuda": ours, **_triton(on_device, form, torch.empty_like(out))}
    peers: dict[str, Call] = {}
    if form == "bgr24":
        stacked = torch.stack(on_device)
        peers["torch interpolate"] = lambda: _with_torch(stacked)

    def check() -> None:
        ours()
        for index in {0, count - 1}:
            expected, _ = letterbox(frames[index], (_SIDE, _SIDE), format=form)
            error = np.abs(out[index].float().cpu().numpy() - expected).max()
            assert error < 0.2 / 255 + 2**-11, error  # the contract's, and fp16's

    touched = count * (_bytes_touched(form, frame_hw) + out[0].numel() * 2)
    return Case(
        operator="letterbox",
        size=f"{count} x {form} {_NAMES[frame_hw]} to {_SIDE} fp16",
        num_bytes=touched,
        ours=contenders,
        peers=peers,
        check=check,
        target=target or Target(),
    )


def _triton(frames: list[torch.Tensor], form: FrameFormat, out: torch.Tensor) -> dict[str, Call]:
    if find_spec("triton") is None:
        return {}
    options: dict[str, Any] = {"format": form, "dtype": "float16", "implementation": "triton"}
    return {"triton": lambda: letterbox_batch(frames, (_SIDE, _SIDE), out=out, **options)}


def _with_torch(frames: torch.Tensor) -> torch.Tensor:
    """As one writes it with PyTorch: planes, resize, pad, swap, scale."""
    placement = Placement.of(tuple(frames.shape[1:3]), (_SIDE, _SIDE), "letterbox")
    planes = frames.permute(0, 3, 1, 2).flip(1).half()
    resized = functional.interpolate(planes, placement.resized_hw, mode="bilinear")
    rows, columns = placement.resized_hw
    x, y = placement.offset_xy
    bars = (x, _SIDE - columns - x, y, _SIDE - rows - y)
    return functional.pad(resized, bars, value=_PAD) / 255


def _bytes_touched(form: FrameFormat, frame_hw: tuple[int, int]) -> int:
    """Return the bytes of the source rows that an output samples."""
    height, width = frame_hw
    resized = Placement.of(frame_hw, (_SIDE, _SIDE), "letterbox").resized_hw[0]
    points = np.clip((np.arange(resized) + 0.5) * height / resized - 0.5, 0, height - 1)
    sampled = len(np.union1d(np.floor(points), np.ceil(points)))
    return round(sampled * width * (3 if form == "bgr24" else 1.5))
