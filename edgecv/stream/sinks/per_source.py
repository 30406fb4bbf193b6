"""One sink a source: `out.{source}.mp4` for a stream of several cameras."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from edgecv.images import IMAGE_SUFFIXES
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.sink import Sink

PLACEHOLDER = "{source}"

_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".ts", ".webm", *IMAGE_SUFFIXES)


class PerSourceSink(Sink):
    """Passes each result on to the sink of its source, opened with the source's first result.

    Args:
        name: for messages, with the placeholder.
        make: returns the sink of a source, given the source's name.

    """

    def __init__(self, name: str, make: Callable[[str], Sink]) -> None:
        """Begin without any."""
        self._name = name
        self.make = make
        self._sinks: dict[str, Sink] = {}

    @property
    def name(self) -> str:
        """The name with the placeholder."""
        return self._name

    def write(self, result: StreamResult) -> None:
        """Pass the result on, see `Sink`."""
        if result.source not in self._sinks:
            self._sinks[result.source] = self.make(result.source)
        self._sinks[result.source].write(result)

    def close(self) -> None:
        """Close all, also those behind one that fails; the first error is raised."""
        first: Exception | None = None
        for sink in self._sinks.values():
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001, PERF203  # raised below
                first = first or error
        if first is not None:
            raise first

    def discard(self) -> None:
        """Discard all."""
        for sink in self._sinks.values():
            sink.discard()

    def interrupt(self, *, is_final: bool) -> None:
        """Interrupt all."""
        for sink in list(self._sinks.values()):
            sink.interrupt(is_final=is_final)


def file_safe(source: str) -> str:
    """Return the name of a source as a part of a file's name: `rtsp://cam/1` is `rtsp_cam_1`."""
    return re.sub(r"[^\w.-]+", "_", source).strip("._") or "source"


def file_names(sources: Sequence[str]) -> dict[str, str]:
    """Return what `{source}` stands for, by the names of a stream's sources; no two are the same.

    Of a file it is the name without folder and suffix, and of two with one name the second is
    numbered: `door/1.mp4` and `yard/1.mp4` are `1` and `1-2`.
    """
    names: dict[str, str] = {}
    for source in sources:
        path = Path(source)
        is_file = "://" not in source and path.suffix.lower() in _SUFFIXES
        wanted = file_safe(path.stem if is_file else source)
        taken, name, number = {each.lower() for each in names.values()}, wanted, 1
        while name.lower() in taken:
            number += 1
            name = f"{wanted}-{number}"
        names[source] = name
    return names
