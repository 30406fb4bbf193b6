"""Backbones: classifiers of torchvision and timm, and our own trunks, read at several strides.

A backbone is named as torchvision names it (`resnet18`), `timm:NAME` for any model of timm, or
`csp_n`, `csp_s`, `csp_m`, which no classifier was trained on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.feature_extraction import create_feature_extractor

from edgecv.errors import InputError, MissingDependencyError
from edgecv.models.csp import CSP_SIZES, CSPTrunk
from edgecv.models.csp import STRIDES as CSP_STRIDES
from edgecv.models.trunk import Trunk

TIMM = "timm:"

# The last layer of each stride, by torchvision's names. VGG-16 has no norms and its stride is read
# before the pooling that ends it, as SSD and Faster R-CNN read it.
_LAYERS: dict[str, dict[int, str]] = {
    "mobilenet_v2": {4: "features.3", 8: "features.6", 16: "features.13", 32: "features.18"},
    "mobilenet_v3_small": {4: "features.1", 8: "features.3", 16: "features.8", 32: "features.12"},
    "mobilenet_v3_large": {4: "features.3", 8: "features.6", 16: "features.12", 32: "features.16"},
    "resnet18": {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"},
    "resnet34": {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"},
    "resnet50": {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"},
    "vgg16": {4: "features.15", 8: "features.22", 16: "features.29", 32: "features.30"},
    "vgg16_bn": {4: "features.22", 8: "features.32", 16: "features.42", 32: "features.43"},
}


class Backbone(Trunk):
    """The trunk of a classifier as a pyramid of feature maps.

    Attributes:
        name: as it was asked for.
        strides: input pixels per cell of each map.
        channels: channels of each map.

    """

    def __init__(
        self, name: str, strides: Sequence[int], *, layers: Sequence[str] | None = None
    ) -> None:
        """Build with random weights.

        Args:
            name: a key of `backbone_names()`, or `timm:NAME`.
            strides: of the maps, ascending, among 4, 8, 16, 32; timm's models may have 2 too.
            layers: torchvision's names of the layers to read instead of the last of each stride,
                one per stride.

        Raises:
            InputError: if there is no such backbone, or it lacks a stride.
            MissingDependencyError: if timm is needed and not installed.

        """
        super().__init__()
        self.name = name
        self.strides = self._built_strides = tuple(strides)
        if name.startswith(TIMM):
            self.trunk: nn.Module = _timm_trunk(name, self.strides)
        elif name in CSP_SIZES:
            _require_strides(name, self.strides, CSP_STRIDES)
            self.trunk = CSPTrunk(CSP_SIZES[name], self.strides)
        else:
            wanted = [_layer(name, stride) for stride in strides] if layers is None else layers
            self.trunk = features_of(get_model(name, weights=None), wanted)
            _round_up(self.trunk)
        was_training = self.trunk.training
        with torch.inference_mode():  # in evaluation mode, so that no norm's statistics move
            maps = self._maps(self.trunk.eval(), torch.zeros(1, 3, 64, 64))
        self.trunk.train(was_training)
        self.channels = tuple(int(x.shape[1]) for x in maps)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, H, W] to maps [B, channels[k], ceil(H / strides[k]), ceil(W / strides[k])]."""
        return self._maps(self.trunk, images)

    @staticmethod
    def _maps(trunk: nn.Module, images: Tensor) -> list[Tensor]:
        found = trunk(images)
        return list(found.values()) if isinstance(found, dict) else list(found)

    def published_state(self) -> Mapping[str, Tensor] | None:
        """Return the library's ImageNet weights, see `Trunk.published_state`."""
        has_weights = has_imagenet_weights(self.name)
        return _hub_state(self.name, self._built_strides) if has_weights else None


def backbone_names() -> list[str]:
    """Return the names that `Backbone` knows; `timm:NAME` comes on top."""
    return sorted([*_LAYERS, *CSP_SIZES])


def has_imagenet_weights(name: str) -> bool:
    """Return whether somebody publishes ImageNet weights of a backbone."""
    return name not in CSP_SIZES


def features_of(model: nn.Module, layers: Sequence[str]) -> nn.Module:
    """Return `model` up to the named layers: it maps an input to a dictionary of their outputs.

    Args:
        model: any module that torch.fx can trace, such as those of torchvision.
        layers: names as `model.named_modules()` gives them; what lies behind the last is dropped.

    Raises:
        InputError: if the model has no such layer.

    """
    try:
        features: nn.Module = create_feature_extractor(model, return_nodes=list(layers))
    except ValueError as error:
        raise InputError(
            f"features_of: {error}. Choose among the names of `named_modules()`."
        ) from error
    return features


def _round_up(trunk: nn.Module) -> None:
    """Let VGG's pooling keep the last row and column of an odd map, as strided convolutions do."""
    for layer in trunk.modules():
        if isinstance(layer, nn.MaxPool2d) and layer.padding == 0:
            layer.ceil_mode = True


def _layer(name: str, stride: int) -> str:
    if name not in _LAYERS:
        known = ", ".join(backbone_names())
        raise InputError(
            f"there is no backbone `{name}`. Choose one of: {known}; or timm:NAME for one of timm."
        )
    layers = _LAYERS[name]
    _require_strides(name, (stride,), layers)
    return layers[stride]


def _require_strides(name: str, wanted: Iterable[int], known: Iterable[int]) -> None:
    has = sorted(known)
    for stride in wanted:
        if stride not in has:
            raise InputError(f"the backbone `{name}` has no map of stride {stride}. It has {has}.")


def timm_module() -> Any:  # noqa: ANN401  # a module
    """Return the package timm.

    Raises:
        MissingDependencyError: if it is not installed.

    """
    try:
        import timm  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingDependencyError(
            "a model of timm needs the package timm. Install it with `pip install 'edgecv[timm]'`."
        ) from error
    return timm


def timm_model(name: str, **options: Any) -> nn.Module:  # noqa: ANN401  # timm's own
    """Return a model of timm.

    Args:
        name: `timm:NAME`.
        options: of `timm.create_model`.

    Raises:
        InputError: if timm has no such model.
        MissingDependencyError: if timm is not installed.

    """
    timm = timm_module()
    short = name.removeprefix(TIMM)
    if not timm.is_model(short):
        close = ", ".join(timm.list_models(f"*{short}*")[:5]) or "none with such a name"
        raise InputError(f"timm has no model `{short}`. It has: {close}.")
    model: nn.Module = timm.create_model(short, **options)
    return model


def _timm_trunk(name: str, strides: tuple[int, ...]) -> nn.Module:
    info: Any = timm_model(name, features_only=True, pretrained=False).feature_info
    reductions = list(info.reduction())
    _require_strides(name, strides, reductions)
    indices = tuple(reductions.index(stride) for stride in strides)
    return timm_model(name, features_only=True, pretrained=False, out_indices=indices)


def _hub_state(name: str, strides: tuple[int, ...]) -> dict[str, Tensor]:
    if name.startswith(TIMM):
        info: Any = timm_model(name, features_only=True, pretrained=False).feature_info
        indices = tuple(list(info.reduction()).index(stride) for stride in strides)
        trunk = timm_model(name, features_only=True, pretrained=True, out_indices=indices)
        return trunk.state_dict()
    weights = get_model_weights(name).IMAGENET1K_V1
    state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}
