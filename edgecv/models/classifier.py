"""Image classifiers: any of torchvision's and timm's, with a head for other classes.

AlexNet, VGG, GoogLeNet, ResNet and all later ones come from torchvision by its names, everything
else as `timm:NAME`. What is ours is LeNet (`edgecv.models.lenet`) and what surrounds the networks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models import get_model, get_model_weights, list_models

from edgecv.errors import InputError
from edgecv.models.backbone import TIMM, timm_model, timm_module
from edgecv.models.network import Losses, Network
from edgecv.models.trunk import Trunk
from edgecv.output_spec import LogitsOutput, ProbabilitiesOutput
from edgecv.spec import Task

_DEFAULT_SIDE = 224
_SIDES = {"lenet": 32, "inception_v3": 299}  # of the papers' inputs, where it is another one

# Szegedy et al. trained on values in -1..1: with `transform_input` their networks take what all
# others do. The auxiliary heads of 2014 are left out: batch norm, which torchvision added, serves
# their purpose (Szegedy et al., "Rethinking the Inception Architecture", 2016, section 4).
_OPTIONS = {
    name: {"aux_logits": False, "init_weights": True, "transform_input": True}
    for name in ("googlenet", "inception_v3")
}


class ClassifierTrunk(Trunk):
    """A classifier's layers up to the features that its head weighs.

    Attributes:
        name: as it was asked for.
        num_features: F.

    """

    _option = "model"

    def __init__(self, name: str, trunk: nn.Module, size_hw: tuple[int, int]) -> None:
        """Wrap the layers.

        Args:
            name: of the whole, for messages.
            trunk: maps [B, 3, H, W] to [B, F].
            size_hw: height and width of the input in pixels.

        Raises:
            InputError: if the layers cannot take an input of this size.

        """
        super().__init__()
        self.name = name
        self.trunk = trunk
        self._probed_hw = size_hw
        was_training = trunk.training
        try:
            with torch.inference_mode():  # in evaluation mode, so that no norm's statistics move
                features = trunk.eval()(torch.zeros(1, 3, *size_hw))
        except (AssertionError, RuntimeError, ValueError) as error:
            height, width = size_hw
            reason = " ".join(str(error).split())
            raise InputError(
                f"the model `{name}` cannot take an input of {height}x{width}: {reason}. "
                "Choose another `--size`."
            ) from error
        trunk.train(was_training)
        self.num_features = int(features.shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, H, W] to features [B, F]."""
        features: Tensor = self.trunk(images)
        return features

    def published_state(self) -> Mapping[str, Tensor] | None:
        """Return the library's ImageNet weights, see `Trunk.published_state`."""
        if not has_published_weights(self.name):
            return None
        if self.name.startswith(TIMM):
            return _timm_trunk(self.name, self._probed_hw, pretrained=True).state_dict()
        weights = get_model_weights(self.name).IMAGENET1K_V1
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
        return state


class Classifier(Network):
    """A trunk and one layer that weighs its features, a logit a class."""

    head_names = ("logits",)
    task: Task = "classify"

    def __init__(
        self, trunk: ClassifierTrunk, num_classes: int, *, label_smoothing: float = 0.0
    ) -> None:
        """Put a new head on a trunk.

        Args:
            trunk: pretrained or not.
            num_classes: C.
            label_smoothing: share of the target, in [0, 1), that is spread evenly over all classes
                (Szegedy et al. 2016, section 7).

        Raises:
            InputError: if there are fewer than two classes, or the share is none.

        """
        super().__init__()
        if num_classes < 2:  # noqa: PLR2004  # nothing to tell apart
            raise InputError(
                f"a classifier needs at least two classes to tell apart, got {num_classes}."
            )
        if not 0 <= label_smoothing < 1:
            raise InputError(f"`label_smoothing` must be in [0, 1), got {label_smoothing}.")
        self.trunk = trunk
        self.head = nn.Linear(trunk.num_features, num_classes)
        self.label_smoothing = label_smoothing

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] to the logits [B, C], alone in a tuple."""
        return (self.head(self.trunk(images)),)

    def losses(self, images: Tensor, targets: Tensor) -> Losses:
        """Return the cross-entropy of a batch.

        Args:
            images: [B, 3, H, W] float32.
            targets: [B] int64, the class of each image.

        """
        (logits,) = self(images)
        with torch.autocast(images.device.type, enabled=False):
            loss = cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing)
        return Losses(loss, {"cross_entropy": loss})

    def output_spec(self) -> LogitsOutput:
        """Return what the logits mean."""
        return LogitsOutput()

    def fused_output(self) -> ProbabilitiesOutput:
        """Return what the output of `edgecv.models.fused.FusedClassifier` means."""
        return ProbabilitiesOutput()

    def backbone(self) -> ClassifierTrunk:
        """Return all layers but the head."""
        return self.trunk

    def compiled_part(self) -> nn.Module:
        """Return the whole network: no shape in it depends on data."""
        return self


ClassifierBuilder = Callable[..., Classifier]


def is_classifier(name: str) -> bool:
    """Tell whether a name is one of torchvision's classifiers or has the form `timm:NAME`."""
    return name.startswith(TIMM) or name in torchvision_classifiers()


@cache
def torchvision_classifiers() -> frozenset[str]:
    """Return the names of torchvision's classifiers."""
    return frozenset(list_models(module=torchvision.models))


def classifier_builder(name: str) -> ClassifierBuilder:
    """Return the function that builds the classifier `name`, as `register_model` takes them."""

    def build(
        num_classes: int, size_hw: tuple[int, int], *, label_smoothing: float = 0.0
    ) -> Classifier:
        make = _timm_trunk if name.startswith(TIMM) else _torchvision_trunk
        trunk = ClassifierTrunk(name, make(name, size_hw), size_hw)
        return Classifier(trunk, num_classes, label_smoothing=label_smoothing)

    return build


@dataclass(frozen=True)
class UsualInput:
    """What a classifier is usually fed with.

    Args:
        size_hw: height and width in pixels.
        mean: per channel, of pixels in 0..1, as published weights expect.
        std: likewise.

    """

    size_hw: tuple[int, int]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # of ImageNet, torchvision's for all
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


def usual_input(name: str) -> UsualInput:
    """Return what a classifier is usually fed with."""
    known = _timm_config(name) if name.startswith(TIMM) else None
    if known is not None:
        height, width = known.input_size[1:]
        return UsualInput((height, width), tuple(known.mean), tuple(known.std))
    side = _SIDES.get(name, _DEFAULT_SIDE)
    return UsualInput((side, side))


def has_published_weights(name: str) -> bool:
    """Tell whether the library that a classifier comes from publishes ImageNet weights of it."""
    if name.startswith(TIMM):
        return bool(timm_module().is_model_pretrained(name.removeprefix(TIMM)))
    return name in torchvision_classifiers() and hasattr(get_model_weights(name), "IMAGENET1K_V1")


def _torchvision_trunk(name: str, size_hw: tuple[int, int]) -> nn.Module:
    """Return a classifier of torchvision whose head passes its features on.

    The head is the last layer with weights. SqueezeNet's, a convolution before the pooling, thus
    becomes a linear layer behind it: the same map, but for the ReLU that cut its logits at zero.
    """
    options: dict[str, Any] = dict(_OPTIONS.get(name, {}))
    if name.startswith("vit_"):
        if size_hw[0] != size_hw[1]:
            raise InputError(
                f"the model `{name}` takes square inputs only, got {size_hw[0]}x{size_hw[1]}. "
                "Choose another `--size`."
            )
        options["image_size"] = size_hw[0]
    elif name == "maxvit_t":
        options["input_size"] = size_hw
    try:
        model: nn.Module = get_model(name, weights=None, **options)
    except (AssertionError, ValueError) as error:  # a transformer's patches do not fit
        reason = " ".join(str(error).split())
        raise InputError(f"the model `{name}`: {reason} Choose another `--size`.") from error
    kinds = (nn.Linear, nn.Conv2d)
    heads = [path for path, layer in model.named_modules() if isinstance(layer, kinds)]
    model.set_submodule(heads[-1], nn.Identity())
    return model


def _timm_trunk(name: str, size_hw: tuple[int, int], *, pretrained: bool = False) -> nn.Module:
    known = _timm_config(name)
    is_fixed = known is not None and known.fixed_input_size
    options: dict[str, Any] = {"img_size": size_hw} if is_fixed else {}
    return timm_model(name, num_classes=0, pretrained=pretrained, **options)


def _timm_config(name: str) -> Any:  # noqa: ANN401  # timm's own, None of what it does not know
    return timm_module().get_pretrained_cfg(name.removeprefix(TIMM), allow_unregistered=True)
