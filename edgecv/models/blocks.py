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


class PooledContext(nn.Module):
    """Spatial pyramid pooling: each cell also sees the maxima of windows of 5, 9 and 13 cells.

    Source:
        He et al., "Spatial Pyramid Pooling in Deep Convolutional Networks", ECCV 2014, with windows
        around each cell as in YOLOv4 (2020). A window of 9 is two windows of 5 in a row.

    """

    def __init__(self, channels: int) -> None:
        """Build with random weights; the number of channels stays."""
        super().__init__()
        half = channels // 2
        self.reduce = Conv2dNormActivation(channels, half, 1, activation_layer=nn.SiLU)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.join = Conv2dNormActivation(4 * half, channels, 1, activation_layer=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, h, w] to the same shape."""
        pooled = [self.reduce(x)]
        for _ in range(3):
            pooled.append(self.pool(pooled[-1]))
        joined: Tensor = self.join(torch.cat(pooled, dim=1))
        return joined


def anchor_rows(head: Tensor, width: int) -> Tensor:
    """Turn [B, A * width, h, w] into [B, h * w * A, width]: cell by cell, then shape by shape."""
    return head.permute(0, 2, 3, 1).reshape(head.shape[0], -1, width)
