"""Blocks of convolutions that backbones, necks and heads share."""

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation


class CrossStage(nn.Module):
    """A cross-stage partial block whose bottlenecks all reach the output.

    Half the channels pass through `depth` residual bottlenecks; the other half, and the result of
    every bottleneck, are joined by a 1x1 convolution.

    Source:
        Wang et al., "CSPNet", CVPR workshops 2020; every bottleneck's result is kept as in
        Wang et al., "Designing Network Design Strategies Through Gradient Path Analysis" (ELAN),
        2022.

    """

    def __init__(self, channels: int, out_channels: int, *, depth: int) -> None:
        """Build with random weights."""
        super().__init__()
        half = out_channels // 2
        self.split = Conv2dNormActivation(channels, 2 * half, 1, activation_layer=nn.SiLU)
        self.bottlenecks = nn.ModuleList(
            nn.Sequential(
                Conv2dNormActivation(half, half, 3, activation_layer=nn.SiLU),
                Conv2dNormActivation(half, half, 3, activation_layer=nn.SiLU),
            )
            for _ in range(depth)
        )
        self.join = Conv2dNormActivation(
            (2 + depth) * half, out_channels, 1, activation_layer=nn.SiLU
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, h, w] to [B, out_channels, h, w]."""
        kept = list(self.split(x).chunk(2, dim=1))
        for bottleneck in self.bottlenecks:
            kept.append(kept[-1] + bottleneck(kept[-1]))
        joined: Tensor = self.join(torch.cat(kept, dim=1))
        return joined
