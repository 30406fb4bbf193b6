"""Suppression of decoded boxes in PyTorch: what EdgeNMS computes, from torchvision's NMS."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import nms

from edgecv.models.session import TorchSession
from edgecv.runtime.session import Outputs


def suppress(
    boxes_xyxy: Tensor,
    scores: Tensor,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the contract of `EdgeNMS` for a batch, class by class.

    Args:
        boxes_xyxy: [B, N, 4] float32.
        scores: [B, N, C] float32.
        score_threshold: a pair takes part if its score exceeds it.
        iou_threshold: the better of two boxes of a class that overlap more removes the other.
        max_detections: K.

    Returns:
        num_detections [B] int32, boxes [B, K, 4], scores [B, K], classes [B, K] int32.

    """
    batch, _, num_classes = scores.shape
    counts = torch.zeros(batch, dtype=torch.int32)
    out_boxes = torch.zeros(batch, max_detections, 4)
    out_scores = torch.zeros(batch, max_detections)
    out_classes = torch.full((batch, max_detections), -1, dtype=torch.int32)
    for image in range(batch):
        pairs = []
        for class_id in range(num_classes):
            rows = torch.nonzero(scores[image, :, class_id] > score_threshold).flatten()
            kept = nms(boxes_xyxy[image, rows], scores[image, rows, class_id], iou_threshold)
            pairs.append(rows[kept] * num_classes + class_id)
        pair = torch.cat(pairs).sort().values
        best = scores[image].flatten()[pair].sort(descending=True, stable=True)
        pair = pair[best.indices[:max_detections]]
        count = len(pair)
        counts[image] = count
        out_boxes[image, :count] = boxes_xyxy[image, pair // num_classes]
        out_scores[image, :count] = best.values[:count]
        out_classes[image, :count] = (pair % num_classes).int()
    return counts, out_boxes, out_scores, out_classes


class SuppressedTorchSession(TorchSession):
    """A detector on the CPU with its suppression: the reference of a `fused` export."""

    def run(
        self, batch: NDArray[np.float32], scalars: Mapping[str, float] | None = None
    ) -> Outputs:
        """Run the network and the suppression, see `edgecv.runtime.session.Session.run`."""
        wanted = self.spec.postprocess
        given = scalars or {}
        heads = super().run(batch)
        tensors = tuple(torch.from_numpy(heads[name]) for name in self.detector.head_names)
        with torch.inference_mode():
            boxes, scores = self.detector.decoded(tensors)
            values = suppress(
                boxes,
                scores,
                score_threshold=given.get("score_threshold", wanted.score_threshold),
                iou_threshold=given.get("iou_threshold", wanted.iou_threshold),
                max_detections=wanted.max_detections,
            )
        names = ("num_detections", "boxes", "scores", "classes")
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}
