"""Things that hold a file, a device or memory, and give it back."""

from abc import abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Self


class Closing(Protocol):
    """Something with a `close`, which a `with` block calls at its end, whatever happened."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held; twice does no harm."""

    def __enter__(self) -> "Self":
        """Return the thing itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
