"""What every result has, whatever its task."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar

from edgecv.errors import MissingDependencyError


class Result(ABC):
    """What a model tells of one frame, whatever its task."""

    KEY: ClassVar[str]  # names it in a line of JSON

    @abstractmethod
    def to_records(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Return JSON-ready dictionaries.

        Args:
            classes: the model's class names.

        """

    @abstractmethod
    def counted(self) -> list[int]:
        """Return the class ids that a run counts, one a find."""

    @abstractmethod
    def headline(self, classes: Sequence[str]) -> str:
        """Return a few words for people."""


def supervision_module() -> Any:  # noqa: ANN401  # a module
    """Return the package `supervision`, a guest that is never needed to run a model.

    Raises:
        MissingDependencyError: if it is not installed.

    """
    try:
        return import_module("supervision")
    except ImportError as error:
        raise MissingDependencyError(
            "to_supervision: the package `supervision` is not installed. "
            "Install it with `pip install supervision`."
        ) from error
