"""All sinks of a stream, each isolated from the others."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from edgecv.errors import OutputError
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.isolation import IsolatedSink, SinkReport
from edgecv.stream.sinks.per_source import PerSourceSink
from edgecv.stream.sinks.sink import Sink, keeps_what_was_written

if TYPE_CHECKING:
    from typing_extensions import Self

STOP_S = 1.8  # after SIGTERM everything is to be over within 2 s


class _Unopened(Sink):
    """In the place of a sink that could not be opened: it fails like one."""

    def __init__(self, name: str, error: Exception) -> None:
        self._name, self._error = name, error

    @property
    def name(self) -> str:
        return self._name

    def write(self, result: StreamResult) -> None:
        del result
        raise OutputError(str(self._error)) from self._error

    def close(self) -> None:
        """Do nothing."""

    def discard(self) -> None:
        """Do nothing."""


def _made(sink: PerSourceSink, source: str) -> Sink:
    try:
        return sink.make(source)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this sink's own
        return _Unopened(f"{sink.name} of {source}", error)


def _takes(sink: Sink | IsolatedSink, source: str) -> bool:
    return sink.sources is None or source in sink.sources


class SinkGroup:
    """Gives every result to all sinks, each in a thread of its own, see `IsolatedSink`.

    A `PerSourceSink` gets a thread for each source, so that one full disk is one lost camera.

    Args:
        sinks: closed or discarded with the group.
        notices: where failures are said.

    """

    def __init__(self, sinks: Sequence[Sink], *, notices: Notices | None = None) -> None:
        """Start the threads."""
        self._notices = notices
        self._common = [
            IsolatedSink(sink, notices=notices)
            for sink in sinks
            if not isinstance(sink, PerSourceSink)
        ]
        self._per_source = [sink for sink in sinks if isinstance(sink, PerSourceSink)]
        self._of_source: dict[str, list[IsolatedSink]] = {}

    def write(self, result: StreamResult, *, may_drop: bool = False) -> None:
        """Queue one result for all; call it from one thread at a time.

        Args:
            result: see `Sink.write`.
            may_drop: see `IsolatedSink.write`: whether the frame's source is live.

        """
        source = result.source
        if self._per_source and source not in self._of_source:
            self._of_source[source] = [
                IsolatedSink(_made(sink, source), notices=self._notices)
                for sink in self._per_source
                if _takes(sink, source)
            ]
        for sink in self._common:
            if _takes(sink, source):
                sink.write(result, may_drop=may_drop)
        for sink in self._of_source.get(source, ()):
            sink.write(result, may_drop=may_drop)

    def reports(self) -> list[SinkReport]:
        """Return what became of the results, a report a sink; at any time."""
        return [sink.report() for sink in self._all()]

    @property
    def is_closed(self) -> bool:
        """Whether all have come to their end."""
        return all(sink.is_closed for sink in self._all())

    def begin_close(self, *, within_s: float | None = None) -> None:
        """Let all write what waits and close; do not wait, see `IsolatedSink.begin_close`."""
        for sink in self._all():
            sink.begin_close(within_s=within_s)

    def close(self, *, within_s: float | None = None) -> list[SinkReport]:
        """Close all at once, see `IsolatedSink.close`.

        Args:
            within_s: seconds for all of them together; `STOP_S` after a signal, None at the end
                of a file, whose last frames are to be written however long that takes.

        """
        return self._close(within_s=within_s, discard=False)

    def discard(self) -> list[SinkReport]:
        """Discard all at once."""
        return self._close(within_s=STOP_S, discard=True)

    def __enter__(self) -> "Self":
        """Return the group itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close or discard all, as `Sink` does; in a hurry after CTRL-C."""
        if keeps_what_was_written(error):
            self.close(within_s=STOP_S if isinstance(error, KeyboardInterrupt) else None)
        else:
            self.discard()

    def _close(self, *, within_s: float | None, discard: bool) -> list[SinkReport]:
        sinks = self._all()
        for sink in sinks:  # all begin before the first is waited for
            sink.begin_close(within_s=within_s, discard=discard)
        return [sink.close(within_s=within_s) for sink in sinks]

    def _all(self) -> list[IsolatedSink]:
        return [*self._common, *(sink for sinks in self._of_source.values() for sink in sinks)]
