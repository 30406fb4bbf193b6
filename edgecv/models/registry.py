"""The registry of functions that build models, which finds any model by its name."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar, get_type_hints

from edgecv.errors import InputError
from edgecv.models.backbone import has_imagenet_weights
from edgecv.models.classifier import (
    classifier_builder,
    has_published_weights,
    is_classifier,
    torchvision_classifiers,
)
from edgecv.models.detector import ProposalDetector
from edgecv.models.network import Network
from edgecv.options import ModelOption, options_of, read_options
from edgecv.spec import Task

ModelBuilder = Callable[..., Network]
Builder = TypeVar("Builder", bound=ModelBuilder)

_OF_TRAINING = ("loss", "smoothing")  # how names of options end that leave the network alone
_BUILDERS: dict[str, ModelBuilder] = {}


def register_model(builder: Builder) -> Builder:
    """Make `builder` known under its own name.

    Args:
        builder: a function of `num_classes` and `size_hw`, annotated with the class of what it
            returns; one of task `keypoints` has a third argument `num_keypoints`, and one that
            offers a choice of backbones a further argument `backbone`, with a default. Its
            keyword-only parameters are the model's options: annotated as bool, int,
            float, str, a `Literal` or a tuple of numbers, each with a default. One whose name ends
            in `loss` or `smoothing` changes the training alone, every other one the network.

    Raises:
        ValueError: if the name is taken.

    """
    name = builder.__name__
    if name in _BUILDERS:
        raise ValueError(f"register_model: the name `{name}` is taken. Choose another.")
    _BUILDERS[name] = builder
    return builder


def model_names() -> list[str]:
    """Return the names of the models that are built here.

    `build_model` knows those of torchvision's classifiers too, and `timm:NAME`.
    """
    return sorted(_BUILDERS)


def require_model(name: str) -> None:
    """Refuse a name that `build_model` does not know.

    Raises:
        InputError: if there is no such model.

    """
    _builder(name)


def model_task(name: str) -> Task:
    """Return the task of a model.

    Raises:
        InputError: if there is no such model.

    """
    return _class_of(name).task


def takes_proposals(name: str) -> bool:
    """Tell whether a model looks at regions that come with the image, see `ProposalDetector`.

    Raises:
        InputError: if there is no such model.

    """
    return issubclass(_class_of(name), ProposalDetector)


def default_backbone(name: str) -> str | None:
    """Return the backbone that `build_model` takes by default, None where there is no choice.

    Raises:
        InputError: if there is no such model.

    """
    choice = inspect.signature(_builder(name)).parameters.get("backbone")
    return None if choice is None else str(choice.default)


def model_options(name: str) -> dict[str, ModelOption]:
    """Return the options of a model by name.

    Raises:
        InputError: if there is no such model.

    """
    return options_of(_builder(name))


def network_options(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """Return the values, given or default, of the options that the network depends on.

    Raises:
        InputError: if there is no such model or option, or a value is none of its choices.

    """
    known = model_options(name)
    values = {key: option.default for key, option in known.items()}
    values |= read_options(name, known, options)
    return {key: value for key, value in values.items() if not key.endswith(_OF_TRAINING)}


def has_imagenet(name: str, backbone: str | None = None) -> bool:
    """Tell whether somebody publishes ImageNet weights for a model over a backbone.

    Args:
        name: of the model.
        backbone: None for the model's own.

    Raises:
        InputError: if there is no such model.

    """
    if model_task(name) == "classify":
        return has_published_weights(name)
    chosen = backbone or default_backbone(name)
    return chosen is None or has_imagenet_weights(chosen)


def build_model(
    name: str,
    num_classes: int,
    size_hw: tuple[int, int],
    *,
    backbone: str | None = None,
    options: Mapping[str, object] = MappingProxyType({}),
    num_keypoints: int = 0,
) -> Network:
    """Return a new model with random weights.

    Args:
        name: one of `model_names()`, of a classifier of torchvision, or `timm:NAME`.
        num_classes: C >= 1, the background not counted.
        size_hw: height and width of the input in pixels.
        backbone: as `edgecv.models.backbone.Backbone` names it; None for the model's own.
        options: values of `model_options(name)` by name; what is left out has its default.
        num_keypoints: J, of a model of task `keypoints`; every other one ignores it.

    Raises:
        InputError: if there is no such model, backbone or option, the model leaves no choice, an
            option has not the value, the model finds keypoints and there is to be none, or it
            cannot take an input of this size.

    """
    chosen: dict[str, object] = {**read_options(name, model_options(name), options)}
    if backbone is not None:
        if default_backbone(name) is None:
            raise InputError(f"the model `{name}` has a backbone of its own, got `{backbone}`.")
        chosen["backbone"] = backbone
    if model_task(name) == "keypoints":
        if num_keypoints < 1:
            raise InputError(
                f"the model `{name}` finds keypoints, and `num_keypoints` must be at least 1, got "
                f"{num_keypoints}. Train it on a data set whose categories name `keypoints`."
            )
        chosen["num_keypoints"] = num_keypoints
    return _builder(name)(num_classes, size_hw, **chosen)


def _class_of(name: str) -> type[Network]:
    built: type[Network] = get_type_hints(_builder(name))["return"]
    return built


def _builder(name: str) -> ModelBuilder:
    """Return the function that builds a model, of either family."""
    if name in _BUILDERS:
        return _BUILDERS[name]
    if is_classifier(name):
        return classifier_builder(name)
    near = difflib.get_close_matches(name, [*_BUILDERS, *torchvision_classifiers()], n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise InputError(
        f"there is no model `{name}`. Choose one of: {', '.join(model_names())}; for "
        "classification also any classifier of torchvision, such as resnet18, or timm:NAME for one "
        f"of timm.{hint}"
    )
