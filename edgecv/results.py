"""What a user receives from a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import MissingDependencyError

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found in one frame, best score first.

    Args:
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels of the original frame. An object
            that the frame cuts may reach past its edge, as far as the network saw it: see `clip`.
        scores: (N,) float32 in [0, 1], descending.
        class_ids: (N,) int32, indices into the model's `classes`.

    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]

    @classmethod
    def empty(cls) -> "Detections":
        """Return the detections of a frame in which nothing was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.scores)

    def clip(self, size_hw: tuple[int, int]) -> "Detections":
        """Return the same objects with boxes cut at the edges of a frame, ready for slicing it.

        Args:
            size_hw: height and width of the frame in pixels.

        """
        height, width = size_hw
        limit = np.array([width, height, width, height], np.float32)
        inside = np.clip(self.boxes_xyxy, np.float32(0), limit)
        return Detections(inside, self.scores, self.class_ids)

    def to_records(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Return one JSON-ready dictionary per object: class, class_id, score, box_xyxy."""
        return [
            {
                "class": classes[class_id],
                "class_id": class_id,
                "score": round(score, 5),
                "box_xyxy": [round(value, 2) for value in box],
            }
            for box, score, class_id in zip(
                self.boxes_xyxy.tolist(), self.scores.tolist(), self.class_ids.tolist(), strict=True
            )
        ]

    def to_coco(self, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return COCO result records (`bbox` is x, y, width, height in pixels).

        Args:
            image_id: the image's id in the annotation file.
            category_ids: the category id of each class, in the order of the model's `classes`.

        """
        boxes_xywh = self.boxes_xyxy.astype(np.float64)
        boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
        return [
            {
                "image_id": image_id,
                "category_id": category_ids[class_id],
                "bbox": box,
                "score": score,
            }
            for box, score, class_id in zip(
                boxes_xywh.tolist(), self.scores.tolist(), self.class_ids.tolist(), strict=True
            )
        ]

    def to_supervision(self) -> "supervision.Detections":
        """Return the same objects as `supervision.Detections`.

        Raises:
            MissingDependencyError: if the package `supervision` is not installed.

        """
        try:
            import supervision  # noqa: PLC0415  # an optional guest, never needed to run a model
        except ImportError as error:
            raise MissingDependencyError(
                "to_supervision: the package `supervision` is not installed. "
                "Install it with `pip install supervision`."
            ) from error
        return supervision.Detections(
            xyxy=self.boxes_xyxy, confidence=self.scores, class_id=self.class_ids.astype(int)
        )
