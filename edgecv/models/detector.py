"""What every trainable detector offers, and the registry that finds one by name."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from edgecv.data.targets import Target
from edgecv.errors import InputError
from edgecv.models.backbone import Backbone
from edgecv.spec import FusedOutput, OutputSpec, ProposalsSpec, Task


@dataclass(frozen=True)
class Losses:
    """The terms of a batch's loss, each a scalar; `total` is what is minimised.

    Args:
        total: the sum of `parts`.
        parts: the terms by name.
        count: what the terms' sums over the batch were divided by, if at least 1, such as its
            matched anchors; None where they are means over the images. With it, the losses of
            parts of a batch combine to that of the whole.

    """

    total: Tensor
    parts: dict[str, Tensor]
    count: Tensor | None = None


class Detector(nn.Module, ABC):
    """A network with raw heads, the loss over them and the description of what they mean.

    `forward` takes [B, 3, H, W] float32 and returns the raw heads as a tuple of tensors, named by
    `head_names` in that order. Decoding and suppression are not here: the runtime does them from
    `output_spec`, an export may fuse them behind `decoded`.

    Attributes:
        head_names: of the tensors that `forward` returns.
        trains_all: whether every loss reaches every parameter; False where a batch may give a
            part of the network nothing to learn from.
        task: what it does, `detect` or `instance`.

    """

    head_names: tuple[str, ...]
    trains_all = True
    task: Task = "detect"

    @abstractmethod
    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        """Run the network on a batch and return its loss.

        Args:
            images: [B, 3, H, W] float32. The caller may have switched on autocast; what sums or
                divides is computed in float32 all the same.
            targets: the objects of each image.

        """

    @abstractmethod
    def decoded(self, heads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return boxes [B, N, 4] xyxy in input pixels and scores [B, N, C], before suppression."""

    @abstractmethod
    def output_spec(self) -> OutputSpec:
        """Return what the raw heads mean.

        Heads that nothing outside the network can decode have no description: `fused_output()`
        then, and the detector always runs with its suppression.
        """

    def fused_output(self) -> FusedOutput:
        """Return what the outputs of `edgecv.models.suppress.FusedDetector` mean."""
        return FusedOutput()

    def proposals_spec(self) -> ProposalsSpec | None:
        """Return the second input of a `ProposalDetector`, None where images are the only one."""
        return None

    @abstractmethod
    def backbone(self) -> Backbone:
        """Return the part that may be pretrained, trained at a lower rate or frozen."""

    def freeze_backbone(self, *, trained_stages: int = 0) -> None:
        """Keep the pretrained part as it is, its normalisation statistics included.

        Args:
            trained_stages: how many of `Backbone.stages` train all the same, the deepest first.

        """
        self.backbone().requires_grad_(requires_grad=True)
        stages = self.backbone().stages() if trained_stages else [[self.backbone()]]
        frozen = stages[: len(stages) - trained_stages]
        self._frozen = tuple(module for stage in frozen for module in stage)
        for module in self._frozen:
            for parameter in module.parameters(recurse=trained_stages == 0):
                parameter.requires_grad = False
        self.train(self.training)

    def unfreeze_backbone(self) -> None:
        """Train the pretrained part again."""
        self._frozen = ()
        self.backbone().requires_grad_(requires_grad=True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Detector":  # noqa: FBT001, FBT002  # nn.Module's own
        """Switch to training, except for what is frozen of the backbone."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    _frozen: tuple[nn.Module, ...] = ()


class OneStage(Detector):
    """A detector whose loss is a function of its raw heads."""

    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        """Run the network on a batch and return its loss, see `Detector.losses`."""
        heads = self(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.head_losses(tuple(head.float() for head in heads), targets)

    @abstractmethod
    def head_losses(self, heads: tuple[Tensor, ...], targets: Sequence[Target]) -> Losses:
        """Return the loss of a batch.

        Args:
            heads: what `forward` returned, float32.
            targets: the objects of each image.

        """


class InstanceDetector(Detector):
    """A detector that finds the outline of each object too."""

    task = "instance"

    @abstractmethod
    def masks(self, heads: tuple[Tensor, ...], boxes_xyxy: Tensor, class_ids: Tensor) -> Tensor:
        """Return the masks of boxes that were chosen, as probabilities over each box.

        Args:
            heads: what `forward` returned.
            boxes_xyxy: [B, K, 4] float32 in input pixels.
            class_ids: [B, K] int32; the mask of a row with class -1 means nothing.

        Returns:
            [B, K, M, M] float32 in [0, 1].

        """

    def fused_output(self) -> FusedOutput:
        """Return what the outputs of `edgecv.models.suppress.FusedDetector` mean."""
        return FusedOutput(masks="masks")


class ProposalDetector(Detector):
    """A detector of regions that come with the image: `forward` takes a second argument.

    That is [B, R, 4] float32, xyxy in input pixels, rows without a region 0; R is that of
    `proposals_spec()`. In training they are `Target.proposals`, of any number.
    """

    @abstractmethod
    def proposals_spec(self) -> ProposalsSpec:
        """Return the second input."""


ModelBuilder = Callable[..., Detector]
Builder = TypeVar("Builder", bound=ModelBuilder)

_BUILDERS: dict[str, ModelBuilder] = {}


def register_model(builder: Builder) -> Builder:
    """Make `builder` known under its own name.

    Args:
        builder: a function of `num_classes` and `size_hw`; one that offers a choice of backbones
            has a third argument `backbone`, with a default.

    Raises:
        ValueError: if the name is taken.

    """
    name = builder.__name__
    if name in _BUILDERS:
        raise ValueError(f"register_model: the name `{name}` is taken. Choose another.")
    _BUILDERS[name] = builder
    return builder


def model_names() -> list[str]:
    """Return the names that `build_model` knows."""
    return sorted(_BUILDERS)


def require_model(name: str) -> None:
    """Refuse a name that `build_model` does not know.

    Raises:
        InputError: if there is no such model.

    """
    if name not in _BUILDERS:
        known = ", ".join(model_names())
        raise InputError(f"there is no model `{name}`. Choose one of: {known}.")


def default_backbone(name: str) -> str | None:
    """Return the backbone that `build_model` takes by default, None where there is no choice.

    Raises:
        InputError: if there is no such model.

    """
    require_model(name)
    choice = inspect.signature(_BUILDERS[name]).parameters.get("backbone")
    return None if choice is None else str(choice.default)


def build_model(
    name: str, num_classes: int, size_hw: tuple[int, int], *, backbone: str | None = None
) -> Detector:
    """Return a new model with random weights.

    Args:
        name: one of `model_names()`.
        num_classes: C >= 1, the background not counted.
        size_hw: height and width of the input in pixels.
        backbone: as `edgecv.models.backbone.Backbone` names it; None for the model's own.

    Raises:
        InputError: if there is no such model or backbone, or the model leaves no choice.

    """
    require_model(name)
    builder = _BUILDERS[name]
    if backbone is None:
        return builder(num_classes, size_hw)
    if default_backbone(name) is None:
        raise InputError(f"the model `{name}` has a backbone of its own, got `{backbone}`.")
    return builder(num_classes, size_hw, backbone=backbone)
