"""What a training image should yield, as tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Target:
    """The objects of one training image, in pixels of the network's input.

    Args:
        boxes_xyxy: (K, 4) float32, of positive area.
        class_ids: (K,) int64.
        masks: (K, H, W) bool over the whole input, None where the data set has none.
        keypoints: (K, J, 3) float32: x, y and visibility as COCO counts it (0 not labelled, 1
            hidden, 2 visible); None where the data set has none.
        proposals: (P, 4) float32 xyxy, regions that were proposed outside of the network, best
            first; None where none are wanted.

    """

    boxes_xyxy: Tensor
    class_ids: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None
    proposals: Tensor | None = None

    def to(self, device: torch.device) -> "Target":
        """Return the same objects on a device."""
        return Target(
            self.boxes_xyxy.to(device),
            self.class_ids.to(device),
            None if self.masks is None else self.masks.to(device),
            None if self.keypoints is None else self.keypoints.to(device),
            None if self.proposals is None else self.proposals.to(device),
        )
