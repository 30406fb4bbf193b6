"""Cases of `roi_align_pyramid` and `roi_pool` on a GPU: 1000 proposals of an 800x1344 image."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from gpu_measure import Call, Case, Target
from torchvision import ops

from edgecv.kernels import roi_align_pyramid, roi_pool

OPERATORS = ("roi_align_pyramid", "roi_pool")

_IMAGE_HW = (800, 1344)
_CHANNELS, _NUM_ROIS = 256, 1000
_SIZE_HW = (7, 7)
_STRIDES = (4, 8, 16, 32)


def cases(device: str) -> Iterator[Case]:
    """Yield the cases."""
    for dtype in (torch.float32, torch.float16):
        yield _align(device, dtype)
    for dtype in (torch.float32, torch.float16):
        yield _pool(device, dtype)


def _rois(device: str) -> torch.Tensor:
    rng = np.random.default_rng(0)
    height, width = _IMAGE_HW
    sizes = np.exp(rng.uniform(np.log(16), np.log(600), (_NUM_ROIS, 2)))
    centres = rng.uniform(0, 1, (_NUM_ROIS, 2)) * (width, height)
    corners = np.hstack([centres - sizes / 2, centres + sizes / 2])
    corners = corners.clip(0, [width, height, width, height])
    return torch.from_numpy(corners.astype(np.float32)).to(device)


def _features(device: str, stride: int, dtype: torch.dtype) -> torch.Tensor:
    height, width = (-(-side // stride) for side in _IMAGE_HW)
    generator = torch.Generator().manual_seed(stride)
    return torch.randn(1, _CHANNELS, height, width, generator=generator).to(device, dtype)


def _align(device: str, dtype: torch.dtype) -> Case:
    rois = _rois(device)
    levels = [_features(device, stride, dtype) for stride in _STRIDES]
    scales = [1 / stride for stride in _STRIDES]
    options: dict[str, Any] = {"spatial_scales": scales, "sampling_ratio": 2, "aligned": False}
    out = torch.empty((_NUM_ROIS, _CHANNELS, *_SIZE_HW), dtype=dtype, device=device)
    indices = torch.zeros(_NUM_ROIS, 1, device=device)
    areas = (rois[:, 2:] - rois[:, :2]).prod(1).sqrt()
    level_of = (4 + torch.log2(areas / 224) + 1e-6).floor().clamp(2, 5) - 2
    numbered = torch.hstack([indices, rois])
    shares = [(level_of == level).nonzero().squeeze(1) for level in range(len(levels))]
    pooled = torch.empty_like(out)

    def ours() -> None:
        roi_align_pyramid(levels, rois, _SIZE_HW, out=out, **options)

    def with_torchvision() -> None:
        """One call a level, the RoIs already sorted into levels: MultiScaleRoIAlign does more."""
        for features, rows, scale in zip(levels, shares, scales, strict=True):
            boxes = numbered[rows].to(dtype)
            pooled[rows] = ops.roi_align(features, boxes, _SIZE_HW, scale, 2, aligned=False)

    contenders: dict[str, Call] = {"cuda": ours}
    if find_spec("triton") is not None:
        contenders["triton"] = lambda: roi_align_pyramid(
            levels, rois, _SIZE_HW, implementation="triton", **options
        )

    def check() -> None:
        ours()
        with_torchvision()
        if dtype == torch.float32:  # in fp16 torchvision rounds the coordinates
            torch.testing.assert_close(out, pooled, rtol=0, atol=1e-4)

    return Case(
        operator="roi_align_pyramid",
        size=f"{_NUM_ROIS} RoIs, 4 levels, {_CHANNELS} ch {str(dtype)[6:]}",
        num_bytes=_num_bytes(out, *levels),
        ours=contenders,
        peers={"torchvision, 4 calls": with_torchvision},
        check=check,
        target=Target(least_ratio={"torchvision, 4 calls": 3.0}),
    )


def _pool(device: str, dtype: torch.dtype) -> Case:
    rois = _rois(device)
    features = _features(device, 16, dtype)
    out = torch.empty((_NUM_ROIS, _CHANNELS, *_SIZE_HW), dtype=dtype, device=device)
    numbered = torch.hstack([torch.zeros(_NUM_ROIS, 1, device=device), rois]).to(dtype)

    def ours() -> None:
        roi_pool(features, rois, _SIZE_HW, spatial_scale=1 / 16, out=out)

    def with_torchvision() -> torch.Tensor:
        pooled: torch.Tensor = ops.roi_pool(features, numbered, _SIZE_HW, 1 / 16)
        return pooled

    def check() -> None:
        ours()
        if dtype == torch.float32:  # in fp16 torchvision rounds the coordinates
            assert torch.equal(out, with_torchvision())

    return Case(
        operator="roi_pool",
        size=f"{_NUM_ROIS} RoIs, stride 16, {_CHANNELS} ch {str(dtype)[6:]}",
        num_bytes=_num_bytes(out, features),
        ours={"cuda": ours},
        peers={"torchvision roi_pool": with_torchvision},
        check=check,
        target=Target(least_ratio={"torchvision roi_pool": 3.0}),
    )


def _num_bytes(*tensors: torch.Tensor) -> int:
    """Return what it takes to read every feature once and write the bins."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
