"""Lines that objects cross: counted by class and direction, each crossing once."""

from collections import Counter
from dataclasses import dataclass

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.stream.events import Direction, LineCrossed
from edgecv.stream.places import (
    Anchor,
    PointXY,
    Sighting,
    Units,
    check_place,
    check_time,
    in_pixels,
    sightings,
)


@dataclass(frozen=True)
class Line:
    """A line across the frame, from a start to an end.

    Args:
        name: of its own.
        start_xy: x and y of one end.
        end_xy: of the other, a different point.
        units: `pixels` of the frame, or `relative` to its sides, in [0, 1].
        anchor: the point of an object's box that crosses.
        margin: how far past the line it counts, as a share of the object's own mean side, at
            least 0: a box that trembles on the line does not cross it again and again.
        class_ids: which classes count; None for all.
        lost_s: seconds out of sight after which an object is forgotten, at least 0; more than
            the tracker's own `lost_s`, so that one that comes back is known.

    Raises:
        InputError: if a value is not as described.

    """

    name: str
    start_xy: PointXY
    end_xy: PointXY
    units: Units = "pixels"
    anchor: Anchor = "bottom"
    margin: float = 0.1
    class_ids: tuple[int, ...] | None = None
    lost_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a line that cannot be crossed."""
        ends = (self.start_xy, self.end_xy)
        check_place("line", self.name, ends, self.units, self.anchor, self.margin, self.lost_s)
        if self.start_xy == self.end_xy:
            raise InputError(
                f"line `{self.name}`: `start_xy` and `end_xy` must differ, got {self.start_xy} "
                "for both."
            )


@dataclass
class _Passage:
    """Where an object was."""

    point_xy: PointXY
    offset: float  # in pixels, to the right of who looks from start to end
    side: int  # 1 right, -1 left, 0 while it was always within the margin
    went_between: bool  # whether it passed between the ends when it last changed sides
    seen_s: float


class LineCounter:
    """Counts who crosses one line in one source; its memory is that of `lost_s` seconds.

    Args:
        line: which.

    """

    def __init__(self, line: Line) -> None:
        """Begin at zero."""
        self.line = line
        self.counts: dict[Direction, Counter[int]] = {"in": Counter(), "out": Counter()}
        self._passages: dict[int, _Passage] = {}
        self._last_s = float("-inf")

    @property
    def num_in(self) -> int:
        """How many crossed from left to right."""
        return self.counts["in"].total()

    @property
    def num_out(self) -> int:
        """How many crossed from right to left."""
        return self.counts["out"].total()

    def update(
        self, detections: Detections, at_s: float, *, frame_hw: tuple[int, int]
    ) -> list[LineCrossed]:
        """Look at the next frame and return who has crossed.

        Args:
            detections: with track ids.
            at_s: when it was taken, see `Tracker.update`; where time goes back, objects are
                forgotten and counts stay.
            frame_hw: height and width of the frame in pixels.

        Raises:
            InputError: if the detections are not tracked.
            ValueError: if `at_s` is not finite.

        """
        check_time("LineCounter.update", at_s)
        if at_s < self._last_s:
            self._passages.clear()
        self._last_s = at_s
        line = self.line
        start, end = in_pixels((line.start_xy, line.end_xy), line.units, frame_hw).tolist()
        events = []
        for seen in sightings("LineCounter.update", detections, line.anchor, line.class_ids):
            direction = self._follow(seen, at_s, start, end)
            if direction is not None:
                self.counts[direction][seen.class_id] += 1
                events.append(
                    LineCrossed(
                        line.name, seen.track_id, seen.class_id, at_s, seen.point_xy, direction
                    )
                )
        oldest_s = at_s - line.lost_s
        if any(passage.seen_s < oldest_s for passage in self._passages.values()):
            self._passages = {i: p for i, p in self._passages.items() if p.seen_s >= oldest_s}
        return events

    def _follow(
        self, seen: Sighting, at_s: float, start: list[float], end: list[float]
    ) -> Direction | None:
        """Take a sighting in and return in which direction the line has been crossed by it."""
        (x, y), along = seen.point_xy, (end[0] - start[0], end[1] - start[1])
        length = (along[0] ** 2 + along[1] ** 2) ** 0.5
        offset = (along[0] * (y - start[1]) - along[1] * (x - start[0])) / length
        side = 0 if abs(offset) <= self.line.margin * seen.size else 1 if offset > 0 else -1
        before = self._passages.get(seen.track_id)
        if before is None:
            self._passages[seen.track_id] = _Passage(seen.point_xy, offset, side, False, at_s)  # noqa: FBT003
            return None
        if (before.offset > 0) != (offset > 0):
            share = before.offset / (before.offset - offset)
            crossing_x = before.point_xy[0] + share * (x - before.point_xy[0])
            crossing_y = before.point_xy[1] + share * (y - before.point_xy[1])
            reach = (crossing_x - start[0]) * along[0] + (crossing_y - start[1]) * along[1]
            before.went_between = 0 <= reach <= length**2
        has_crossed = before.side * side < 0 and before.went_between
        before.point_xy, before.offset, before.seen_s = seen.point_xy, offset, at_s
        before.side = side or before.side
        if not has_crossed:
            return None
        return "in" if side > 0 else "out"
