"""What every trainable detector offers."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgecv.data.targets import Target
from edgecv.models.backbone import Backbone
from edgecv.models.network import Losses, Network
from edgecv.output_spec import FusedOutput, OutputSpec
from edgecv.spec import ProposalsSpec, Task


class Detector(Network):
    """A network that finds objects.

    Decoding and suppression are not here: the runtime does them from `output_spec`, an export may
    fuse them behind `decoded`.
    """

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
        """Return what the outputs of `edgecv.models.fused.FusedDetector` mean."""
        return FusedOutput()

    @abstractmethod
    def backbone(self) -> Backbone:
        """Return the part that may be pretrained, trained at a lower rate or frozen."""


class OneStage(Detector):
    """A detector whose loss is a function of its raw heads."""

    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        """Run the network on a batch and return its loss, see `Detector.losses`."""
        heads = self(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.head_losses(tuple(head.float() for head in heads), targets)

    def compiled_part(self) -> nn.Module:
        """Return the whole network: its heads are the same whatever it finds."""
        return self

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
        """Return what the outputs of `edgecv.models.fused.FusedDetector` mean."""
        return FusedOutput(masks="masks")


class KeypointDetector(Detector):
    """A detector that finds points of each object too.

    Attributes:
        num_keypoints: J.

    """

    task = "keypoints"
    num_keypoints: int

    @abstractmethod
    def keypoints(self, heads: tuple[Tensor, ...], boxes_xyxy: Tensor) -> Tensor:
        """Return the points of boxes that were chosen.

        Args:
            heads: what `forward` returned.
            boxes_xyxy: [B, K, 4] float32 in input pixels; the points of a row that is no detection
                mean nothing.

        Returns:
            [B, K, J, 3] float32: x and y in input pixels, and a score in [0, 1].

        """

    def fused_output(self) -> FusedOutput:
        """Return what the outputs of `edgecv.models.fused.FusedDetector` mean."""
        return FusedOutput(keypoints="keypoints")


class ProposalDetector(Detector):
    """A detector of regions that come with the image: `forward` takes a second argument.

    That is [B, R, 4] float32, xyxy in input pixels, rows without a region 0; R is that of
    `proposals_spec()`. In training they are `Target.proposals`, of any number.
    """

    @abstractmethod
    def proposals_spec(self) -> ProposalsSpec:
        """Return the second input."""
