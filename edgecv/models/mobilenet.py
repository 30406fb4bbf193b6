"""MobileNetV2 as a feature pyramid (Sandler et al., CVPR 2018), from torchvision."""

import contextlib
import io
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.ops import Conv2dNormActivation

from edgecv.errors import DownloadError, InputError

# Index in `features` whose output has stride 8, 16 and 32 is read inside the next block, after
# its expansion: six times the channels at the same resolution (SSDLite, section 6.2 of the paper).
_STRIDE_8_BLOCK, _STRIDE_16_BLOCK = 7, 14


class MobileNetV2Pyramid(nn.Module):
    """Feature maps of stride 8, 16, 32, 64 and 128.

    The first three are MobileNetV2's own; the last two are added by inverted bottlenecks.
    `channels` gives the number of channels of each, `strides` their input pixels per cell.
    """

    strides = (8, 16, 32, 64, 128)

    def __init__(self) -> None:
        """Build with random weights."""
        super().__init__()
        features = mobilenet_v2(weights=None).features
        self.features = features
        width_8 = features[_STRIDE_8_BLOCK].conv[0][0].out_channels
        width_16 = features[_STRIDE_16_BLOCK].conv[0][0].out_channels
        width_32 = features[-1][0].out_channels
        self.extras = nn.ModuleList([_extra(width_32, 512), _extra(512, 256)])
        self.channels = (width_8, width_16, width_32, 512, 256)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, H, W] to five maps [B, C_k, ceil(H / stride_k), ceil(W / stride_k)]."""
        maps = []
        x = images
        for index, block in enumerate(self.features):
            if index in (_STRIDE_8_BLOCK, _STRIDE_16_BLOCK):
                expanded = block.conv[0](x)
                maps.append(expanded)
                x = block.conv[1:](expanded)  # these two blocks have stride 2: no residual
            else:
                x = block(x)
        maps.append(x)
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps

    def load_trunk(self, state: dict[str, Tensor], *, origin: str) -> None:
        """Load torchvision's `features.*` weights; classifier weights are ignored.

        Raises:
            InputError: if a tensor is missing or of another shape.

        """
        own = self.features.state_dict()
        wanted = {}
        for key, tensor in own.items():
            found = state.get(f"features.{key}")
            if found is None and key.endswith("num_batches_tracked"):
                found = tensor
            if found is None or found.shape != tensor.shape:
                shape = None if found is None else tuple(found.shape)
                raise InputError(
                    f"`{origin}`: `features.{key}` must have shape {tuple(tensor.shape)}, "
                    f"got {shape}. Give weights of torchvision's mobilenet_v2."
                )
            wanted[key] = found.to(tensor.dtype)
        self.features.load_state_dict(OrderedDict(wanted))


def imagenet_trunk() -> dict[str, Tensor]:
    """Return torchvision's ImageNet weights of MobileNetV2, downloaded once.

    Raises:
        DownloadError: if the hub cannot be reached.

    """
    try:
        # The hub announces a download on standard output, whatever `progress` says.
        with contextlib.redirect_stdout(io.StringIO()):
            state = MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(
                progress=False, check_hash=True
            )
    except (OSError, RuntimeError) as error:
        raise DownloadError(
            f"the ImageNet weights of mobilenet_v2 could not be downloaded: {error}. "
            "Give a file with `--weights FILE`, or `--weights none` to start from random weights."
        ) from error
    return {key: tensor for key, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def _extra(channels: int, out_channels: int) -> nn.Sequential:
    """Halve the resolution: 1x1 squeeze, depthwise 3x3 of stride 2, 1x1 expansion."""
    middle = out_channels // 2
    return nn.Sequential(
        Conv2dNormActivation(channels, middle, 1, activation_layer=nn.ReLU6),
        Conv2dNormActivation(middle, middle, 3, stride=2, groups=middle, activation_layer=nn.ReLU6),
        Conv2dNormActivation(middle, out_channels, 1, activation_layer=nn.ReLU6),
    )
