"""What happens in a scene, as values: a line is crossed, a zone is entered, dwelled in, left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Direction = Literal["in", "out"]


@dataclass(frozen=True)
class SceneEvent:
    """Something that an object did.

    Args:
        name: of the line or zone.
        track_id: of the object.
        class_id: an index into the model's `classes`.
        at_s: when, on the clock of the frames, in seconds.
        point_xy: where the object's anchor was, in pixels of the frame.

    """

    KIND: ClassVar[str]
    name: str
    track_id: int
    class_id: int
    at_s: float
    point_xy: tuple[float, float]

    def to_record(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return a JSON-ready dictionary.

        Args:
            classes: the model's class names.

        """
        return {
            "event": self.KIND,
            "name": self.name,
            "track_id": self.track_id,
            "class": classes[self.class_id],
            "class_id": self.class_id,
            "at_s": round(self.at_s, 3),
            "point_xy": [round(value, 2) for value in self.point_xy],
        }


@dataclass(frozen=True)
class LineCrossed(SceneEvent):
    """An object went over a line.

    Args:
        name: see `SceneEvent`, as the others up to `point_xy`.
        track_id: see `SceneEvent`.
        class_id: see `SceneEvent`.
        at_s: see `SceneEvent`.
        point_xy: see `SceneEvent`.
        direction: `in` from left to right, for who stands at the line's start and looks at its end;
            `out` the other way.

    """

    KIND: ClassVar[str] = "line_crossed"
    direction: Direction

    def to_record(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what `SceneEvent` does, with the direction."""
        return super().to_record(classes) | {"direction": self.direction}


@dataclass(frozen=True)
class ZoneEntered(SceneEvent):
    """An object came into a zone, or was first seen in it."""

    KIND: ClassVar[str] = "zone_entered"


@dataclass(frozen=True)
class ZoneDwelled(SceneEvent):
    """An object has been in a zone for as long as the zone's `dwell_s`; once for every stay.

    Args:
        name: see `SceneEvent`, as the others up to `point_xy`.
        track_id: see `SceneEvent`.
        class_id: see `SceneEvent`.
        at_s: see `SceneEvent`.
        point_xy: see `SceneEvent`.
        dwell_s: seconds since it came.

    """

    KIND: ClassVar[str] = "zone_dwelled"
    dwell_s: float

    def to_record(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what `SceneEvent` does, with the time in the zone."""
        return super().to_record(classes) | {"dwell_s": round(self.dwell_s, 3)}


@dataclass(frozen=True)
class ZoneLeft(SceneEvent):
    """An object went out of a zone, or was lost sight of in it.

    Args:
        name: see `SceneEvent`, as the others up to `point_xy`.
        track_id: see `SceneEvent`.
        class_id: see `SceneEvent`.
        at_s: see `SceneEvent`.
        point_xy: where it was last seen.
        dwell_s: seconds from when it came to when it left or was last seen.
        is_lost: whether it was not seen to leave.

    """

    KIND: ClassVar[str] = "zone_left"
    dwell_s: float
    is_lost: bool

    def to_record(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what `SceneEvent` does, with the time in the zone."""
        more = {"dwell_s": round(self.dwell_s, 3), "lost": self.is_lost}
        return super().to_record(classes) | more
