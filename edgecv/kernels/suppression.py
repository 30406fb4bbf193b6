"""From a head's candidates to detections: what all decoders have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecv.kernels.arguments import check_at_least, check_fraction
from edgecv.placement import Placement
from edgecv.results import Detections


@dataclass(frozen=True)
class Suppression:
    """Which candidates become detections, and where in the frame.

    Args:
        score_threshold: in [0, 1]; a candidate's score exceeds it.
        iou_threshold: in [0, 1], see `edgecv.kernels.nms`.
        max_detections: at least 1.
        class_agnostic: whether a box suppresses those of other classes too.
        placement: how the frame lies in the network's input; if None, boxes stay in input pixels.

    """

    score_threshold: float
    iou_threshold: float
    max_detections: int
    class_agnostic: bool
    placement: Placement | None

    def check(self, function: str) -> None:
        """Refuse thresholds out of range, in the name of `function`."""
        check_fraction(function, "score_threshold", self.score_threshold)
        check_fraction(function, "iou_threshold", self.iou_threshold)
        check_at_least(function, "max_detections", self.max_detections, 1)

    def detections(self, kernel: Callable[..., int], num_pairs: int, **head: Any) -> Detections:  # noqa: ANN401  # passed on
        """Return what a native decoder finds in a head, best first.

        Args:
            kernel: fills buffers of boxes, scores and classes and returns how many rows it filled.
            num_pairs: of an anchor and a class; there are no more detections.
            head: the kernel's arguments that describe the head.

        """
        num_rows = min(self.max_detections, num_pairs)
        boxes = np.empty((num_rows, 4), np.float32)
        scores = np.empty(num_rows, np.float32)
        class_ids = np.empty(num_rows, np.int32)
        placement = self.placement
        count = kernel(
            **head,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            class_agnostic=self.class_agnostic,
            scale_xy=(1.0, 1.0) if placement is None else placement.scale_xy,
            offset_xy=(0.0, 0.0) if placement is None else placement.offset_xy,
            boxes=boxes,
            scores=scores,
            class_ids=class_ids,
        )
        # Copies, so that a result that is kept holds no more memory than it has rows.
        return Detections(boxes[:count].copy(), scores[:count].copy(), class_ids[:count].copy())
