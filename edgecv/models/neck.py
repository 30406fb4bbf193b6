"""Necks: what mixes the maps of a backbone before the heads read them."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork

from edgecv.models.blocks import CrossStage


class FPN(nn.Module):
    """A feature pyramid: coarse maps, upsampled, are added to the finer ones.

    `forward` takes the backbone's maps, finest first, and returns as many of `width` channels, then
    `extra` more, each of half the resolution of the one before.

    Source:
        Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017; the extra levels
        by strided convolution are those of RetinaNet (Lin et al., ICCV 2017, section 4).

    """

    def __init__(self, channels: Sequence[int], width: int, *, extra: int = 0) -> None:
        """Build with random weights for maps of `channels`."""
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(channels), width)
        self.extras = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(extra)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the mixed maps, finest first."""
        named = {str(index): x for index, x in enumerate(maps)}
        mixed: list[Tensor] = list(self.pyramid(named).values())
        for index, extra in enumerate(self.extras):
            mixed.append(extra(F.relu(mixed[-1]) if index else mixed[-1]))
        return mixed


class PAN(nn.Module):
    """A path aggregation network: top down as FPN, then bottom up again, by concatenation.

    `forward` takes the backbone's maps, finest first, and returns as many, of `channels`.

    Source:
        Liu et al., "Path Aggregation Network for Instance Segmentation", CVPR 2018, section 3.1;
        concatenation and cross-stage blocks as in Bochkovskiy et al., "YOLOv4", 2020, section 3.4.

    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], *, depth: int) -> None:
        """Build with random weights.

        Args:
            channels: of the backbone's maps.
            widths: channels of the maps that are returned.
            depth: bottlenecks in each block.

        """
        super().__init__()
        self.channels = tuple(widths)
        self.laterals = nn.ModuleList(
            Conv2dNormActivation(given, width, 1, activation_layer=nn.SiLU)
            for given, width in zip(channels, widths, strict=True)
        )
        pairs = list(itertools.pairwise(widths))
        self.top_down = nn.ModuleList(
            CrossStage(fine + coarse, fine, depth=depth) for fine, coarse in pairs
        )
        self.downs = nn.ModuleList(
            Conv2dNormActivation(fine, fine, 3, stride=2, activation_layer=nn.SiLU)
            for fine, _ in pairs
        )
        self.bottom_up = nn.ModuleList(
            CrossStage(fine + coarse, coarse, depth=depth) for fine, coarse in pairs
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the mixed maps, finest first."""
        mixed = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for level in reversed(range(len(mixed) - 1)):
            coarse = F.interpolate(mixed[level + 1], size=mixed[level].shape[-2:])
            mixed[level] = self.top_down[level](_cat(mixed[level], coarse))
        for level in range(len(mixed) - 1):
            fine = self.downs[level](mixed[level])
            mixed[level + 1] = self.bottom_up[level](_cat(fine, mixed[level + 1]))
        return mixed


def _cat(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], dim=1)
