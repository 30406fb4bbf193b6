"""Trunks of cross-stage partial blocks, made for detection: no classifier was trained on them."""

from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from edgecv.models.blocks import CrossStage, PooledContext

STRIDES = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class CSPSize:
    """How large a network is.

    Args:
        widths: channels of the maps of stride 2, 4, 8, 16 and 32.
        depths: bottlenecks in the block of stride 4, 8, 16 and 32.

    """

    widths: tuple[int, int, int, int, int]
    depths: tuple[int, int, int, int]


CSP_SIZES = {
    "csp_n": CSPSize((16, 32, 64, 128, 256), (1, 2, 2, 1)),
    "csp_s": CSPSize((32, 64, 128, 256, 512), (1, 2, 2, 1)),
    "csp_m": CSPSize((48, 96, 192, 384, 576), (2, 4, 4, 2)),
}


class CSPTrunk(nn.Module):
    """Strided convolutions, each followed by a cross-stage block; context is pooled at the end.

    Source:
        Wang et al., "CSPNet", CVPR workshops 2020; Bochkovskiy et al., "YOLOv4", 2020, section
        3.4, for pooling at the end of the trunk.

    """

    def __init__(self, size: CSPSize, strides: tuple[int, ...]) -> None:
        """Build with random weights, to return the maps of `strides`."""
        super().__init__()
        self.strides = strides
        self.stem = Conv2dNormActivation(3, size.widths[0], 3, stride=2, activation_layer=nn.SiLU)
        self.stages = nn.ModuleList()
        for level, depth in enumerate(size.depths):
            given, wanted = size.widths[level], size.widths[level + 1]
            down = Conv2dNormActivation(given, wanted, 3, stride=2, activation_layer=nn.SiLU)
            self.stages.append(nn.Sequential(down, CrossStage(wanted, wanted, depth=depth)))
        self.context = PooledContext(size.widths[-1])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the strides that were asked for, finest first."""
        maps = [self.stem(images)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        maps[-1] = self.context(maps[-1])
        return [maps[STRIDES.index(stride)] for stride in self.strides]
