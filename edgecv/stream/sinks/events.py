"""Only when something happens: a class is seen, a zone entered or dwelled in, a line crossed."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from edgecv.errors import InputError
from edgecv.stream.events import LineCrossed, ZoneDwelled, ZoneEntered
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.dated_files import check_limits, dated_path, remove_all_but
from edgecv.stream.sinks.images import save_picture
from edgecv.stream.sinks.per_source import file_safe
from edgecv.stream.sinks.sink import Sink

EventKind = Literal["class", "zone", "dwell", "line"]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)


@dataclass(frozen=True)
class Event:
    """Something that happens in one frame.

    Args:
        kind: what sort of thing.
        name: of the class, the zone or the line.

    """

    kind: EventKind
    name: str


EventFinder: TypeAlias = Callable[[StreamResult], Iterable[Event]]
"""Tells what happens in a result; it sees every result of every source, in order."""


def classes_seen(classes: Sequence[str]) -> EventFinder:
    """Return what finds the classes in a result.

    Args:
        classes: the model's class names.

    """

    def find(result: StreamResult) -> Iterable[Event]:
        return [
            Event("class", classes[number]) for number in dict.fromkeys(result.result.counted())
        ]

    return find


def scene_events(result: StreamResult) -> Iterable[Event]:
    """Find who entered or dwelled in a zone and who crossed a line in a result."""
    kinds: dict[str, EventKind] = {
        ZoneEntered.KIND: "zone",
        ZoneDwelled.KIND: "dwell",
        LineCrossed.KIND: "line",
    }
    return [Event(kinds[event.KIND], event.name) for event in result.events if event.KIND in kinds]


class EventGate:
    """Tells which events of a result are wanted and not too soon after the last of their kind.

    Args:
        finder: tells what happens.
        wanted: names by kind; a kind that is missing is not wanted. Empty: whatever happens.
        cooldown_s: after an event the same one of the same source is passed over for so long,
            in seconds of the source's time, or of the clock for a source without time.

    """

    def __init__(
        self,
        finder: EventFinder,
        wanted: Mapping[EventKind, Collection[str]] | None = None,
        cooldown_s: float = 0.0,
    ) -> None:
        """Begin with nothing seen."""
        self._finder, self._wanted, self._cooldown_s = finder, dict(wanted or {}), cooldown_s
        self._last_s: dict[tuple[str, Event], float] = {}

    def passing(self, result: StreamResult) -> list[Event]:
        """Return the events of one result that count."""
        pts_s = result.frame.pts_s
        now_s = time.monotonic() if pts_s is None else pts_s
        events = []
        for event in self._finder(result):
            if self._wanted and event.name not in self._wanted.get(event.kind, ()):
                continue
            last_s = self._last_s.get((result.source, event))
            # A clock that runs backwards is a source that began anew.
            if last_s is None or not last_s <= now_s < last_s + self._cooldown_s:
                self._last_s[result.source, event] = now_s
                events.append(event)
        return events


class EventSink(Sink):
    """Passes on only results in which something happens.

    Args:
        sink: gets them.
        gate: tells.

    """

    def __init__(self, sink: Sink, gate: EventGate) -> None:
        """Take over the sink."""
        self._sink, self._gate = sink, gate
        self.recovers = sink.recovers

    @property
    def name(self) -> str:
        """The name of the sink behind."""
        return self._sink.name

    def open(self) -> None:
        """Open the sink behind."""
        self._sink.open()

    def write(self, result: StreamResult) -> None:
        """Pass the result on if something happens in it, see `Sink`."""
        if self._gate.passing(result):
            self._sink.write(result)

    def close(self) -> None:
        """Close the sink behind."""
        self._sink.close()

    def discard(self) -> None:
        """Discard the sink behind."""
        self._sink.discard()

    def interrupt(self, *, is_final: bool) -> None:
        """Interrupt the sink behind."""
        self._sink.interrupt(is_final=is_final)


class EventPictureSink(Sink):
    """A picture of each event: `events/door_person_20260131T235959Z.jpg` of the source `door`.

    Args:
        folder: made with the first event.
        gate: tells what happens.
        keep: pictures to keep of each event of each source, None for all.

    """

    recovers = True

    def __init__(self, folder: Path | str, gate: EventGate, *, keep: int | None = None) -> None:
        """Name the folder."""
        check_limits("EventPictureSink", keep=keep)
        self._folder, self._gate, self._keep = Path(folder), gate, keep

    @property
    def name(self) -> str:
        """The folder."""
        return str(self._folder)

    def write(self, result: StreamResult) -> None:
        """Save the picture of a result in which something happens, see `Sink`."""
        for event in self._gate.passing(result):
            words = ([file_safe(result.source)] if result.source else []) + [file_safe(event.name)]
            path = self._folder / f"{'_'.join(words)}.jpg"
            save_picture(result.frame, dated_path(path))
            if self._keep is not None:
                remove_all_but(path, self._keep)

    def close(self) -> None:
        """Do nothing: every picture is complete already."""

    def discard(self) -> None:
        """Do nothing: every picture is complete already."""


def checked_wanted(
    uri: str,
    wanted: Mapping[EventKind, Collection[str]],
    known: Mapping[EventKind, Collection[str]],
) -> None:
    """Refuse names that there are not.

    Raises:
        InputError: with the names there are.

    """
    for kind, names in wanted.items():
        for name in names:
            if name not in known.get(kind, ()):
                there = ", ".join(known.get(kind, ())) or "none"
                raise InputError(
                    f"`{uri}`: `{kind}` must name what there is, got `{name}`; there are: {there}."
                )
