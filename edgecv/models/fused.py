"""A network with what follows it: what a `fused` export holds, and its reference in PyTorch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgecv.models.classifier import Classifier
from edgecv.models.detector import Detector, InstanceDetector, KeypointDetector
from edgecv.models.network import Network
from edgecv.models.operators import suppress
from edgecv.models.session import TorchSession
from edgecv.runtime.session import Outputs
from edgecv.spec import ModelSpec, PostprocessSpec


class Fused(nn.Module):
    """A network whose outputs are results already.

    Attributes:
        output_names: of the tensors that `forward` returns.
        scalar_names: of the scalar arguments that follow the images, fields of `PostprocessSpec`.

    """

    output_names: list[str]
    scalar_names: tuple[str, ...] = ()


class FusedDetector(Fused):
    """From images to detections: the network, the decoding of its boxes and their suppression."""

    scalar_names = ("score_threshold", "iou_threshold")

    def __init__(self, detector: Detector, *, max_detections: int, class_agnostic: bool) -> None:
        """Wrap `detector`; the limits are those of `edgecv.models.operators.suppress`."""
        super().__init__()
        self.detector = detector
        self.max_detections = max_detections
        self.class_agnostic = class_agnostic
        self.output_names = ["num_detections", "boxes", "scores", "classes"]
        if isinstance(detector, InstanceDetector):
            self.output_names.append("masks")
        elif isinstance(detector, KeypointDetector):
            self.output_names.append("keypoints")

    def forward(
        self,
        images: Tensor,
        score_threshold: Tensor,
        iou_threshold: Tensor,
        proposals_xyxy: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] to the outputs named by `output_names`, see `FusedOutput`.

        Args:
            images: [B, 3, H, W] float32.
            score_threshold: [] float32.
            iou_threshold: [] float32.
            proposals_xyxy: [B, R, 4] float32 of a `ProposalDetector`, None of any other.

        """
        given = () if proposals_xyxy is None else (proposals_xyxy,)
        heads = self.detector(images, *given)
        boxes, scores = self._decoded(heads)
        found = suppress(
            boxes,
            scores,
            score_threshold,
            iou_threshold,
            max_detections=self.max_detections,
            class_agnostic=self.class_agnostic,
        )
        _, kept_boxes, _, kept_classes = found
        match self.detector:
            case InstanceDetector():
                return (*found, self.detector.masks(heads, kept_boxes, kept_classes))
            case KeypointDetector():
                return (*found, self.detector.keypoints(heads, kept_boxes))
        return found

    def _decoded(self, heads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return boxes and scores, in float32 whatever the network computed with."""
        device = heads[0].device.type
        if not torch.is_autocast_enabled(device):
            return self.detector.decoded(heads)
        with torch.autocast(device, enabled=False):  # half a pixel is lost at 1000 in float16
            return self.detector.decoded(tuple(head.float() for head in heads))


class FusedClassifier(Fused):
    """From images to probabilities: the network and its softmax."""

    def __init__(self, classifier: Classifier) -> None:
        """Wrap `classifier`."""
        super().__init__()
        self.classifier = classifier
        self.output_names = ["probabilities"]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map [B, 3, H, W] float32 to [B, C]."""
        (logits,) = self.classifier(images)
        return (logits.softmax(dim=1),)


def fused(network: Network, postprocess: PostprocessSpec) -> Fused:
    """Return a network with what follows it, limited as `postprocess` says."""
    match network:
        case Detector():
            return FusedDetector(
                network,
                max_detections=postprocess.max_detections,
                class_agnostic=postprocess.class_agnostic,
            )
        case Classifier():
            return FusedClassifier(network)
    raise TypeError(f"fused: nothing is known to follow a {type(network).__name__}.")


class FusedTorchSession(TorchSession):
    """A network with what follows it in PyTorch: the reference of a `fused` export."""

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run both, see `edgecv.runtime.session.Session.run`."""
        wanted = self.spec.postprocess
        given = scalars or {}
        module = fused(self.network, wanted)
        arguments = [
            torch.tensor(given.get(name, getattr(wanted, name)), dtype=torch.float32)
            for name in module.scalar_names
        ]
        if proposals is not None:
            arguments.append(self.on_device(proposals))
        with self.evaluating():
            values = module(self.on_device(batch), *arguments)
        return {
            name: np.ascontiguousarray(value.cpu().numpy())
            for name, value in zip(module.output_names, values, strict=True)
        }


def torch_session(network: Network, spec: ModelSpec) -> TorchSession:
    """Return the session that computes what `spec` describes, raw heads or results."""
    is_fused = isinstance(spec.output, type(network.fused_output()))
    return (FusedTorchSession if is_fused else TorchSession)(network, spec)
