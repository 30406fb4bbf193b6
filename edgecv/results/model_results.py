"""What several models tell of one frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from edgecv.results.result import Result


@dataclass(frozen=True, eq=False)
class ModelResults(Result):
    """What several models tell of one frame, by the models' names.

    Where class names are asked for, those of all models are meant, one model's after the other's,
    as `edgecv.stream.models.Models` has them.

    Args:
        results: in the order of the models.
        classes: the class names of each model.

    """

    KEY: ClassVar[str] = "models"
    results: Mapping[str, Result]
    classes: Mapping[str, tuple[str, ...]]

    def __getitem__(self, name: str) -> Result:
        """Return the result of one model."""
        return self.results[name]

    def to_records(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Return a JSON-ready dictionary for each model: its name, and its result by its key."""
        del classes  # each model's own are meant
        return [
            {"model": name, result.KEY: result.to_records(self.classes[name])}
            for name, result in self.results.items()
        ]

    def counted(self) -> list[int]:
        """Return what each model counts, as ids of the classes of all models."""
        ids, begin = [], 0
        for name, result in self.results.items():
            ids += [begin + class_id for class_id in result.counted()]
            begin += len(self.classes[name])
        return ids

    def headline(self, classes: Sequence[str]) -> str:
        """Return what each model has to say."""
        del classes
        return "; ".join(
            f"{name}: {result.headline(self.classes[name])}"
            for name, result in self.results.items()
        )
