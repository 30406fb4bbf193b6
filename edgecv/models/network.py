"""What every trainable network offers, whatever its task."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from edgecv.models.trunk import Trunk
from edgecv.output_spec import OutputSpec
from edgecv.spec import ProposalsSpec, Task


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


class Network(nn.Module, ABC):
    """A network with raw heads, the loss over them and the description of what they mean.

    `forward` takes [B, 3, H, W] float32 and returns the raw heads as a tuple of tensors, named by
    `head_names` in that order. What the runtime does after them is not here: it follows from
    `output_spec`. An export may hold a part of it, which `fused_output` describes.

    Attributes:
        head_names: of the tensors that `forward` returns.
        trains_all: whether every loss reaches every parameter; False where a batch may give a
            part of the network nothing to learn from.
        task: what it does.

    """

    head_names: tuple[str, ...]
    trains_all = True
    task: Task

    @abstractmethod
    def losses(self, images: Tensor, targets: Any) -> Losses:  # noqa: ANN401  # of the task
        """Run the network on a batch and return its loss.

        Args:
            images: [B, 3, H, W] float32. The caller may have switched on autocast; what sums or
                divides is computed in float32 all the same.
            targets: what each image should yield, in the form of the task: see
                `edgecv.data.batches.Batch`.

        """

    @abstractmethod
    def output_spec(self) -> OutputSpec:
        """Return what the raw heads mean."""

    @abstractmethod
    def fused_output(self) -> OutputSpec:
        """Return what the outputs of `edgecv.models.fused.fused` mean."""

    def proposals_spec(self) -> ProposalsSpec | None:
        """Return the second input of a `ProposalDetector`, None where images are the only one."""
        return None

    @abstractmethod
    def backbone(self) -> Trunk:
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

    def train(self, mode: bool = True) -> "Network":  # noqa: FBT001, FBT002  # nn.Module's own
        """Switch to training, except for what is frozen of the backbone."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    _frozen: tuple[nn.Module, ...] = ()

    def compiled_part(self) -> nn.Module:
        """Return the part that `torch.compile` may take: one whose shapes do not depend on data."""
        return self.backbone()
