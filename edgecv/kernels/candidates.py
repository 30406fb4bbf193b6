"""Between a decoder and its result: the buffers it fills, and their suppression to detections."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.kernels.arguments import check_at_least, check_fraction
from edgecv.kernels.nms import nms
from edgecv.placement import Placement
from edgecv.results import Detections

# Bounds the time of suppression when the threshold lets nearly everything pass, as it does when
# mAP is measured. Source: `max_nms=30000` of Ultralytics' non_max_suppression.
MAX_CANDIDATES = 30_000


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes that passed the score threshold, by rising anchor, then by rising class.

    Args:
        boxes: (K, 4) float32, x1, y1, x2, y2 in pixels of the network's input.
        scores: (K,) float32.
        class_ids: (K,) int32.

    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]

    @classmethod
    def with_room_for(cls, count: int) -> "Candidates":
        """Return uninitialised buffers of `count` rows; memory is touched only where written."""
        return cls(
            np.empty((count, 4), np.float32), np.empty(count, np.float32), np.empty(count, np.int32)
        )

    def first(self, count: int) -> "Candidates":
        """Return the first `count` rows, or their best MAX_CANDIDATES where they are more."""
        found = Candidates(self.boxes[:count], self.scores[:count], self.class_ids[:count])
        if count <= MAX_CANDIDATES:
            return found
        # The rows above the last score that has room, then as many with exactly that score.
        last = np.partition(found.scores, -MAX_CANDIDATES)[-MAX_CANDIDATES]
        above = np.flatnonzero(found.scores > last)
        equal = np.flatnonzero(found.scores == last)[: MAX_CANDIDATES - len(above)]
        rows = np.sort(np.concatenate([above, equal]))
        return Candidates(found.boxes[rows], found.scores[rows], found.class_ids[rows])


@dataclass(frozen=True)
class Suppression:
    """What turns candidates into detections, the same for every decoder.

    Args:
        iou_threshold: in [0, 1], see `edgecv.kernels.nms`.
        max_detections: at least 1.
        class_agnostic: whether a box suppresses those of other classes too.
        placement: how the frame lies in the network's input; if None, boxes stay in input pixels.

    """

    iou_threshold: float
    max_detections: int
    class_agnostic: bool
    placement: Placement | None

    def check(self, function: str, score_threshold: float) -> None:
        """Refuse thresholds out of range, in the name of `function`."""
        check_fraction(function, "score_threshold", score_threshold)
        check_fraction(function, "iou_threshold", self.iou_threshold)
        check_at_least(function, "max_detections", self.max_detections, 1)

    def detections(self, candidates: Candidates) -> Detections:
        """Return the candidates that survive, best first."""
        kept = nms(
            candidates.boxes,
            candidates.scores,
            None if self.class_agnostic else candidates.class_ids,
            iou_threshold=self.iou_threshold,
            max_detections=self.max_detections,
        )
        boxes = candidates.boxes[kept]
        if self.placement is not None:
            boxes = self.placement.to_frame(boxes)
        return Detections(boxes, candidates.scores[kept], candidates.class_ids[kept])
