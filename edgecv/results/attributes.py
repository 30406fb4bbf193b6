"""What a second model tells of each object that a first one found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecv.results.classification import Classification
from edgecv.results.result import Result

if TYPE_CHECKING:
    from edgecv.results.detections import Rows


@dataclass(frozen=True, eq=False)
class Attributes:
    """What a second model tells of each of N objects, such as a dog's breed.

    Args:
        results: of each object, None for those that were left out. Boxes and points are in pixels
            of the original frame.
        classes: the second model's class names.

    """

    results: tuple[Result | None, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.results)

    def __getitem__(self, rows: "Rows") -> "Attributes":
        """Return those of some of the objects, see `Detections`."""
        chosen = np.arange(len(self.results))[rows].tolist()
        return Attributes(tuple(self.results[row] for row in chosen), self.classes)

    @property
    def class_ids(self) -> NDArray[np.int32]:
        """What a classifier takes each object for, (N,) int32; -1 where it was left out.

        Example:
            >>> poodles = detections[detections.attributes["breed"].class_ids == POODLE]

        """
        ids = [one.class_id if isinstance(one, Classification) else -1 for one in self.results]
        return np.array(ids, np.int32)

    @property
    def scores(self) -> NDArray[np.float32]:
        """How sure a classifier is of each object, (N,) float32 in [0, 1]; 0 where left out."""
        scores = [one.score if isinstance(one, Classification) else 0.0 for one in self.results]
        return np.array(scores, np.float32)

    def labels(self) -> list[str]:
        """Return a few words for each object, such as `poodle 0.93`; empty where left out."""
        return [self._label(result) for result in self.results]

    def to_records(self) -> list[list[dict[str, Any]] | None]:
        """Return the JSON-ready records of each object's result, None where it was left out."""
        return [None if one is None else one.to_records(self.classes) for one in self.results]

    def _label(self, result: Result | None) -> str:
        if result is None:
            return ""
        if isinstance(result, Classification):
            return f"{self.classes[result.class_id]} {result.score:.2f}"
        return result.headline(self.classes) if result.counted() else ""
