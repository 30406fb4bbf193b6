"""A detector with its suppression: what a `fused` export holds, and its reference."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgecv.models.detector import Detector, InstanceDetector
from edgecv.models.operators import suppress
from edgecv.models.session import TorchSession
from edgecv.runtime.session import Outputs
from edgecv.spec import FusedOutput, ModelSpec


class FusedDetector(nn.Module):
    """From images to detections: the network, the decoding of its boxes and their suppression."""

    def __init__(self, detector: Detector, *, max_detections: int, class_agnostic: bool) -> None:
        """Wrap `detector`; the limits are those of `edgecv.models.operators.suppress`."""
        super().__init__()
        self.detector = detector
        self.max_detections = max_detections
        self.class_agnostic = class_agnostic
        self.output_names = ["num_detections", "boxes", "scores", "classes"]
        if isinstance(detector, InstanceDetector):
            self.output_names.append("masks")

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
        boxes, scores = self.detector.decoded(heads)
        found = suppress(
            boxes,
            scores,
            score_threshold,
            iou_threshold,
            max_detections=self.max_detections,
            class_agnostic=self.class_agnostic,
        )
        if not isinstance(self.detector, InstanceDetector):
            return found
        _, kept_boxes, _, kept_classes = found
        return (*found, self.detector.masks(heads, kept_boxes, kept_classes))


class SuppressedTorchSession(TorchSession):
    """A detector with its suppression in PyTorch: the reference of a `fused` export."""

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network and the suppression, see `edgecv.runtime.session.Session.run`."""
        wanted = self.spec.postprocess
        given = scalars or {}
        fused = FusedDetector(
            self.detector,
            max_detections=wanted.max_detections,
            class_agnostic=wanted.class_agnostic,
        )
        thresholds = [
            torch.tensor(given.get(name, default), dtype=torch.float32)
            for name, default in (
                ("score_threshold", wanted.score_threshold),
                ("iou_threshold", wanted.iou_threshold),
            )
        ]
        regions = None if proposals is None else self.on_device(proposals)
        with self.evaluating():
            values = fused(self.on_device(batch), *thresholds, regions)
        return {
            name: np.ascontiguousarray(value.cpu().numpy())
            for name, value in zip(fused.output_names, values, strict=True)
        }


def torch_session(detector: Detector, spec: ModelSpec) -> TorchSession:
    """Return the session that computes what `spec` describes, suppressed or not."""
    is_fused = isinstance(spec.output, FusedOutput)
    return (SuppressedTorchSession if is_fused else TorchSession)(detector, spec)
