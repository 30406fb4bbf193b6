"""Zones of the frame: who is in them, who comes and goes, and how long they stay."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.stream.events import SceneEvent, ZoneDwelled, ZoneEntered, ZoneLeft
from edgecv.stream.places import (
    Anchor,
    Points,
    PointXY,
    Sighting,
    Units,
    anchor_points,
    check_place,
    check_time,
    in_pixels,
    sightings,
)

_FEWEST_CORNERS = 3


@dataclass(frozen=True)
class Zone:
    """A polygon in the frame.

    Args:
        name: of its own.
        corners_xy: x and y of at least 3 corners in order; it closes by itself. Where its sides
            cross, what they enclose twice is outside.
        units: `pixels` of the frame, or `relative` to its sides, in [0, 1].
        anchor: the point of an object's box that is in or out.
        margin: how far past the edge an object has changed sides, as a share of its own mean
            side, at least 0: a box that trembles on the edge does not come and go.
        class_ids: which classes count; None for all.
        dwell_s: seconds in the zone after which `ZoneDwelled` is told, above 0; None for never.
        lost_s: seconds out of sight after which an object has left, at least 0; more than the
            tracker's own `lost_s`, so that one that comes back has not.

    Raises:
        InputError: if a value is not as described.

    """

    name: str
    corners_xy: tuple[PointXY, ...]
    units: Units = "pixels"
    anchor: Anchor = "bottom"
    margin: float = 0.05
    class_ids: tuple[int, ...] | None = None
    dwell_s: float | None = None
    lost_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse a zone that nothing can be in."""
        corners = self.corners_xy
        check_place("zone", self.name, corners, self.units, self.anchor, self.margin, self.lost_s)
        if len(set(corners)) < _FEWEST_CORNERS:
            raise InputError(
                f"zone `{self.name}`: `corners_xy` must have at least 3 different corners, got "
                f"{len(set(corners))}."
            )
        if np.linalg.matrix_rank(np.array(corners) - np.array(corners[0])) < 2:  # noqa: PLR2004  # a plane
            raise InputError(
                f"zone `{self.name}`: `corners_xy` must not lie on one line, got {corners}."
            )
        if self.dwell_s is not None and not self.dwell_s > 0:
            raise InputError(f"zone `{self.name}`: `dwell_s` must be above 0, got {self.dwell_s}.")

    def contains(self, detections: Detections, *, frame_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which detections are in the zone, (N,) bool, whether tracked or not.

        Args:
            detections: of any classes; those that do not count are not in it.
            frame_hw: height and width of the frame in pixels.

        """
        corners = in_pixels(self.corners_xy, self.units, frame_hw)
        inside = _depths(anchor_points(detections.boxes_xyxy, self.anchor), corners) > 0
        if self.class_ids is not None:
            inside &= np.isin(detections.class_ids, self.class_ids)
        return inside


@dataclass(frozen=True)
class Occupant:
    """Who is in a zone.

    Args:
        track_id: of the object.
        class_id: its class.
        dwell_s: seconds since it came.

    """

    track_id: int
    class_id: int
    dwell_s: float


@dataclass
class _Stay:
    seen: Sighting
    seen_s: float
    entered_s: float | None  # None outside
    has_dwelled: bool


class ZoneMonitor:
    """Watches one zone of one source; its memory is that of `lost_s` seconds.

    Args:
        zone: which.

    """

    def __init__(self, zone: Zone) -> None:
        """Begin with nobody."""
        self.zone = zone
        self.num_entered: Counter[int] = Counter()  # by class id
        self._stays: dict[int, _Stay] = {}
        self._last_s = float("-inf")

    @property
    def occupants(self) -> list[Occupant]:
        """Who is in the zone as of the last frame, the longest first; from any thread."""
        stays = list(self._stays.items())  # at once: another thread may go on with it
        inside = [
            Occupant(i, stay.seen.class_id, self._last_s - entered_s)
            for i, stay in stays
            if (entered_s := stay.entered_s) is not None
        ]
        return sorted(inside, key=lambda occupant: -occupant.dwell_s)

    def update(
        self, detections: Detections, at_s: float, *, frame_hw: tuple[int, int]
    ) -> list[SceneEvent]:
        """Look at the next frame and return who came, stayed and went.

        Args:
            detections: with track ids.
            at_s: when it was taken, see `Tracker.update`; where time goes back, everybody is lost.
            frame_hw: height and width of the frame in pixels.

        Raises:
            InputError: if the detections are not tracked.
            ValueError: if `at_s` is not finite.

        """
        check_time("ZoneMonitor.update", at_s)
        zone = self.zone
        seen = list(sightings("ZoneMonitor.update", detections, zone.anchor, zone.class_ids))
        events: list[SceneEvent] = []
        if at_s < self._last_s:
            events += self._lose(float("inf"), at_s)
        self._last_s = at_s
        if seen:
            corners = in_pixels(zone.corners_xy, zone.units, frame_hw)
            points = np.array([sighting.point_xy for sighting in seen])
            for sighting, depth in zip(seen, _depths(points, corners).tolist(), strict=True):
                events += self._follow(sighting, depth, at_s)
        return events + self._lose(at_s - zone.lost_s, at_s)

    def _follow(self, seen: Sighting, depth: float, at_s: float) -> list[SceneEvent]:
        stay = self._stays.get(seen.track_id)
        margin = self.zone.margin * seen.size
        if stay is None:
            stay = self._stays[seen.track_id] = _Stay(seen, at_s, None, has_dwelled=False)
            margin = 0  # it was on neither side before
        stay.seen, stay.seen_s = seen, at_s
        who = (self.zone.name, seen.track_id, seen.class_id, at_s, seen.point_xy)
        events: list[SceneEvent] = []
        if stay.entered_s is None and depth > margin:
            stay.entered_s, stay.has_dwelled = at_s, False
            self.num_entered[seen.class_id] += 1
            events.append(ZoneEntered(*who))
        elif stay.entered_s is not None and depth < -margin:
            events.append(ZoneLeft(*who, at_s - stay.entered_s, is_lost=False))
            stay.entered_s = None
        limit_s = self.zone.dwell_s
        if stay.entered_s is not None and limit_s is not None and not stay.has_dwelled:
            dwell_s = at_s - stay.entered_s
            if dwell_s >= limit_s:
                stay.has_dwelled = True
                events.append(ZoneDwelled(*who, dwell_s))
        return events

    def _lose(self, before_s: float, at_s: float) -> list[SceneEvent]:
        """Forget who was last seen before a time."""
        lost = {i: stay for i, stay in self._stays.items() if stay.seen_s < before_s}
        events: list[SceneEvent] = []
        for track_id, stay in lost.items():
            del self._stays[track_id]
            if stay.entered_s is not None:
                seen = stay.seen
                who = (self.zone.name, track_id, seen.class_id, at_s, seen.point_xy)
                events.append(ZoneLeft(*who, stay.seen_s - stay.entered_s, is_lost=True))
        return events


def _depths(points: Points, corners: Points) -> NDArray[np.float64]:
    """Return how far inside a polygon each point is, in pixels; outside it is negative.

    Inside is where a ray crosses an odd number of sides: Shimrat, "Algorithm 112: Position of
    point relative to polygon", Communications of the ACM 5 (8), 1962.

    Args:
        points: (N, 2).
        corners: (K, 2).

    Returns:
        (N,) float64.

    """
    ends = np.roll(corners, -1, axis=0)
    sides = ends - corners
    lengths = np.maximum((sides**2).sum(axis=1), np.finfo(np.float64).tiny)
    offsets = points[:, None] - corners  # (N, K, 2)
    shares = np.clip((offsets * sides).sum(axis=2) / lengths, 0, 1)
    distances = np.linalg.norm(offsets - shares[..., None] * sides, axis=2).min(axis=1)

    y = points[:, 1:]
    is_across = (corners[:, 1] > y) != (ends[:, 1] > y)
    heights = np.where(sides[:, 1] == 0, 1, sides[:, 1])  # level sides are never across
    crossing_x = corners[:, 0] + offsets[..., 1] / heights * sides[:, 0]
    is_inside = (is_across & (points[:, :1] < crossing_x)).sum(axis=1) % 2 == 1
    depths: NDArray[np.float64] = np.where(is_inside, distances, -distances)
    return depths
