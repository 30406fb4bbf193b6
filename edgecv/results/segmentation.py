"""The class of every pixel of a frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgecv.results.result import Result, supervision_module
from edgecv.results.run_lengths import compressed_run_lengths

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class Segmentation(Result):
    """The class of every pixel of one frame.

    Args:
        labels: (H, W) uint8, for each pixel of the original frame an index into the model's
            `classes`.

    """

    KEY: ClassVar[str] = "segmentation"
    labels: NDArray[np.uint8]

    @cached_property
    def num_pixels(self) -> NDArray[np.int64]:
        """How many pixels each label has, (256,) int64; counted when it is first asked for."""
        return np.bincount(self.labels.ravel(), minlength=256)

    def shares(self) -> list[tuple[int, float]]:
        """Return class id and share of the frame in (0, 1] of each class seen, largest first."""
        order = np.argsort(-self.num_pixels, kind="stable")
        seen = order[self.num_pixels[order] > 0]
        shares = self.num_pixels[seen] / self.labels.size
        return list(zip(seen.tolist(), shares.tolist(), strict=True))

    def mask(self, class_id: int) -> NDArray[np.bool_]:
        """Return which pixels are of a class, (H, W) bool.

        Args:
            class_id: an index into the model's `classes`.

        """
        mask: NDArray[np.bool_] = self.labels == class_id
        return mask

    def to_records(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Return a JSON-ready dictionary for each class seen: class, class_id, share."""
        return [
            {"class": classes[class_id], "class_id": class_id, "share": round(share, 5)}
            for class_id, share in self.shares()
        ]

    def counted(self) -> list[int]:
        """Return each class seen."""
        return [class_id for class_id, _ in self.shares()]

    def headline(self, classes: Sequence[str]) -> str:
        """Return the classes with the largest shares, up to five."""
        return ", ".join(
            f"{classes[class_id]} {share:.1%}" for class_id, share in self.shares()[:5]
        )

    def to_coco(self, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return a COCO result record for each class seen, as COCO's `stuff` task has them.

        Args:
            image_id: the image's id in the annotation file.
            category_ids: the category id of each class, in the order of the model's `classes`.

        """
        return [
            {
                "image_id": image_id,
                "category_id": category_ids[class_id],
                "segmentation": {
                    "size": list(self.labels.shape),
                    "counts": compressed_run_lengths(self.mask(class_id)),
                },
            }
            for class_id in sorted(self.counted())
        ]

    def to_supervision(self) -> "supervision.Detections":
        """Return a mask for each class seen as `supervision.Detections`, in the box it needs.

        Raises:
            MissingDependencyError: if the package `supervision` is not installed.

        """
        module = supervision_module()
        class_ids = np.array(sorted(self.counted()), int)
        masks = self.labels == class_ids[:, None, None].astype(np.uint8)
        return module.Detections(xyxy=_boxes_of(masks), mask=masks, class_id=class_ids)


def _boxes_of(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the (N, 4) xyxy in which the pixels of each (N, H, W) mask lie; none is empty."""
    boxes = []
    for mask in masks:
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return np.array(boxes, np.float32)
