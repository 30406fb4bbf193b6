"""What a frame shows as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgecv.results.result import Result


@dataclass(frozen=True, eq=False)
class Classification(Result):
    """What one frame shows as a whole: a probability for each class.

    Args:
        probabilities: (C,) float32 in [0, 1], in the order of the model's `classes`; their sum is
            1 but for rounding.

    """

    KEY: ClassVar[str] = "classes"
    probabilities: NDArray[np.float32]

    @property
    def class_id(self) -> int:
        """The most probable class, the first of equal ones: an index into `classes`."""
        return int(self.probabilities.argmax())

    @property
    def score(self) -> float:
        """The probability of the most probable class."""
        return float(self.probabilities.max())

    def top(self, k: int = 5) -> list[tuple[int, float]]:
        """Return class id and probability of the `k` most probable classes, or of all if fewer.

        Args:
            k: at least 1. Of equal probabilities the first class comes first.

        """
        if k < 1:
            raise ValueError(f"Classification.top: `k` must be at least 1, got {k}.")
        best = np.argsort(-self.probabilities, kind="stable")[:k]
        return list(zip(best.tolist(), self.probabilities[best].tolist(), strict=True))

    def to_records(self, classes: Sequence[str], k: int = 5) -> list[dict[str, Any]]:
        """Return a JSON-ready dictionary for each of the `k` best: class, class_id, score."""
        return [
            {"class": classes[class_id], "class_id": class_id, "score": round(score, 5)}
            for class_id, score in self.top(k)
        ]

    def counted(self) -> list[int]:
        """Return the most probable class."""
        return [self.class_id]

    def headline(self, classes: Sequence[str]) -> str:
        """Return the most probable classes, up to five."""
        return ", ".join(f"{classes[class_id]} {score:.3f}" for class_id, score in self.top())
