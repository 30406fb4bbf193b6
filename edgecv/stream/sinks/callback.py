"""A function of the caller's as a sink."""

from collections.abc import Callable

from edgecv.errors import OutputError
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.sink import Sink


class CallbackSink(Sink):
    """Calls a function with every result, in the sink's own thread where it is isolated.

    Args:
        function: what it returns is ignored; what it raises is an OutputError, and it is called
            with later results again.
        name: for messages; the function's own if None.

    """

    recovers = True

    def __init__(
        self, function: Callable[[StreamResult], object], *, name: str | None = None
    ) -> None:
        """Keep the function."""
        self._function = function
        qualified: str = getattr(function, "__qualname__", type(function).__name__)
        self._name = name or qualified

    @property
    def name(self) -> str:
        """The function's name."""
        return self._name

    def write(self, result: StreamResult) -> None:
        """Call the function, see `Sink`."""
        try:
            self._function(result)
        except Exception as error:
            raise OutputError(
                f"`{self._name}` raised {type(error).__name__}: {error}. Handle it there."
            ) from error

    def close(self) -> None:
        """Do nothing."""

    def discard(self) -> None:
        """Do nothing."""
