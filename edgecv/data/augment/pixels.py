"""Transforms of the input's pixels, float32 [3, H, W] in 0..1; no object moves."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, pad
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from edgecv.data.augment.recipe import (
    CameraNoise,
    Colour,
    GaussianBlur,
    Jpeg,
    MotionBlur,
    Transform,
)

PixelTransform = Callable[[Tensor], Tensor]

_SIGMAS = 3  # of a Gaussian that are drawn: 99.7 % of it
_SAMPLES_PER_PX = 4  # along the line of a motion blur


def pixel_transform(transform: Transform) -> PixelTransform:
    """Return what carries out a transform of the input's pixels."""
    match transform:
        case Colour(brightness, contrast, saturation, hue, shuffle_channels, probability):
            kind = v2.RandomPhotometricDistort if shuffle_channels else _DistortColour
            changed: PixelTransform = kind(brightness, contrast, saturation, hue, probability)
            return changed
        case GaussianBlur(sigma, probability):
            return _ByChance(probability, _blurred, (sigma,))
        case MotionBlur(length, probability):
            return _ByChance(probability, _smeared, (length, (0.0, math.pi)))
        case CameraNoise(shot, read, probability):
            return _ByChance(probability, _noisy, (shot, read))
        case Jpeg((low, high), probability):
            return _ByChance(probability, _compressed, ((low, high + 1),))
    raise ValueError(f"pixel_transform: `{transform.FORMAT}` must change pixels of the input.")


class _DistortColour(v2.RandomPhotometricDistort):  # type: ignore[misc]  # torchvision has no types
    """The same without its last step: a camera does not exchange red and blue."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {**super().make_params(flat_inputs), "channel_permutation": None}


@dataclass(frozen=True)
class _ByChance:
    """A change with this probability, its numbers drawn evenly within their limits."""

    probability: float
    change: Callable[..., Tensor]
    limits: tuple[tuple[float, float], ...]

    def __call__(self, image: Tensor) -> Tensor:
        if torch.rand(()) >= self.probability:
            return image
        shares = torch.rand(len(self.limits)).tolist()
        numbers = [
            low + (high - low) * share
            for (low, high), share in zip(self.limits, shares, strict=True)
        ]
        return self.change(image, *numbers)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    side = 2 * math.ceil(_SIGMAS * sigma) + 1
    side = min(side, 2 * (min(image.shape[-2:]) // 2) - 1)  # it reflects at the edges
    blurred: Tensor = functional.gaussian_blur(image, [side, side], [sigma, sigma])
    return blurred


def _smeared(image: Tensor, length: float, angle: float) -> Tensor:
    """Return the mean of the image along a line of `length` pixels at `angle` radians."""
    radius = math.ceil((length - 1) / 2)
    if radius == 0:
        return image
    # The trapezoidal rule along the line, each sample shared among the four pixels around it.
    along = torch.linspace(-0.5, 0.5, 2 * radius * _SAMPLES_PER_PX + 1) * (length - 1)
    share = torch.ones(len(along))
    share[0] = share[-1] = 0.5
    share /= share.sum()
    side = 2 * radius + 2
    x, y = along * math.cos(angle) + radius, along * math.sin(angle) + radius
    column, row = x.floor().long(), y.floor().long()
    kernel = torch.zeros(side * side)
    for down in (0, 1):
        for right in (0, 1):
            weight = share * (1 - (x - column - right).abs()) * (1 - (y - row - down).abs())
            kernel.index_add_(0, (row + down) * side + column + right, weight)
    kernel = kernel.view(1, 1, side, side)[..., :-1, :-1]
    edges = pad(image[:, None], (radius,) * 4, mode="replicate")
    return conv2d(edges, kernel)[:, 0]


def _noisy(image: Tensor, shot: float, read: float) -> Tensor:
    deviation = (image * shot).add_(read**2).sqrt_()
    return torch.randn_like(image).mul_(deviation).add_(image).clamp_(0, 1)


def _compressed(image: Tensor, quality: float) -> Tensor:
    levels = (image * 255).round_().to(torch.uint8).permute(1, 2, 0).contiguous()
    file = BytesIO()
    Image.fromarray(levels.numpy()).save(file, "JPEG", quality=int(quality))
    pixels = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return pixels.float().div_(255).contiguous()
