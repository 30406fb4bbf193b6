"""What every trainable detector offers, and the registry that finds one by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from edgecv.errors import InputError
from edgecv.spec import OutputSpec


@dataclass(frozen=True)
class Losses:
    """The terms of a batch's loss, each a scalar; `total` is what is minimised."""

    total: Tensor
    parts: dict[str, Tensor]


class Detector(nn.Module, ABC):
    """A network with raw heads, the loss over them and the description of what they mean.

    `forward` takes [B, 3, H, W] float32 and returns the raw heads as a tuple of tensors, named by
    `head_names` in that order. Decoding and suppression are not here: the runtime does them from
    `output_spec`, an export may fuse them behind `decoded`.
    """

    head_names: tuple[str, ...]

    @abstractmethod
    def losses(
        self, heads: tuple[Tensor, ...], boxes_xyxy: list[Tensor], class_ids: list[Tensor]
    ) -> Losses:
        """Return the loss of a batch.

        Args:
            heads: what `forward` returned.
            boxes_xyxy: per image (K, 4) float32 in input pixels.
            class_ids: per image (K,) int64.

        """

    @abstractmethod
    def decoded(self, heads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return boxes [B, N, 4] xyxy in input pixels and scores [B, N, C], before suppression."""

    @abstractmethod
    def output_spec(self) -> OutputSpec:
        """Return what the raw heads mean."""

    @abstractmethod
    def backbone(self) -> nn.Module:
        """Return the pretrained part, trained at a lower rate or frozen."""

    @abstractmethod
    def load_backbone(self, state: dict[str, Tensor], *, origin: str) -> None:
        """Load pretrained backbone weights; `origin` names them in errors."""

    @abstractmethod
    def imagenet_state(self) -> dict[str, Tensor]:
        """Return the backbone's ImageNet weights, downloaded once, for `load_backbone`."""

    def freeze_backbone(self) -> None:
        """Keep the pretrained part as it is, its normalisation statistics included."""
        self._is_backbone_frozen = True
        self.backbone().requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> "Detector":  # noqa: FBT001, FBT002  # nn.Module's own
        """Switch to training, except for a frozen backbone."""
        super().train(mode)
        if self._is_backbone_frozen:
            self.backbone().eval()
        return self

    _is_backbone_frozen = False


ModelBuilder = Callable[[int, tuple[int, int]], Detector]
Builder = TypeVar("Builder", bound=ModelBuilder)

_BUILDERS: dict[str, ModelBuilder] = {}


def register_model(builder: Builder) -> Builder:
    """Make `builder(num_classes, size_hw)` known under its own name.

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


def build_model(name: str, num_classes: int, size_hw: tuple[int, int]) -> Detector:
    """Return a new model with random weights.

    Args:
        name: one of `model_names()`.
        num_classes: C >= 1, the background not counted.
        size_hw: height and width of the input in pixels.

    Raises:
        InputError: if there is no such model.

    """
    require_model(name)
    return _BUILDERS[name](num_classes, size_hw)
