"""One source's tracker with the lines and zones of its scene: what a pipeline runs per frame."""

from dataclasses import dataclass, field

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.stream.events import SceneEvent
from edgecv.stream.lines import Line, LineCounter
from edgecv.stream.tracking import Tracker, TrackerConfig
from edgecv.stream.zones import Zone, ZoneMonitor


@dataclass(frozen=True)
class SceneConfig:
    """What is watched in one source.

    Args:
        tracker: how objects are followed.
        lines: with names of their own.
        zones: likewise; no line has the name of a zone.

    Raises:
        InputError: if two have one name, or one forgets an object before the tracker does.

    """

    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    lines: tuple[Line, ...] = ()
    zones: tuple[Zone, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that are taken, and memories that are too short."""
        places: list[Line | Zone] = [*self.lines, *self.zones]
        names = [place.name for place in places]
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"scene: `{name}` names {names.count(name)} lines or zones. Rename one."
                )
        for place in places:
            if place.lost_s < self.tracker.lost_s:
                raise InputError(
                    f"scene: `lost_s` of `{place.name}` must be at least the tracker's, "
                    f"{self.tracker.lost_s} s, got {place.lost_s}: an object that comes back "
                    "would be counted anew."
                )


class Scene:
    """Follows the objects of one source and tells what they do.

    Args:
        config: what is watched.

    """

    def __init__(self, config: SceneConfig | None = None) -> None:
        """Begin with nobody and all counts at zero."""
        self.config = config or SceneConfig()
        self.tracker = Tracker(self.config.tracker)
        self.lines = {line.name: LineCounter(line) for line in self.config.lines}
        self.zones = {zone.name: ZoneMonitor(zone) for zone in self.config.zones}

    def change(self, config: SceneConfig) -> None:
        """Watch other lines and zones; who is followed keeps the id.

        Counts and stays of lines and zones that are as before go on; others begin anew.

        Args:
            config: with the same tracker; another one's is left aside.

        """
        old = self.config
        self.config = SceneConfig(old.tracker, config.lines, config.zones)
        self.lines = {
            line.name: self.lines[line.name] if line in old.lines else LineCounter(line)
            for line in config.lines
        }
        self.zones = {
            zone.name: self.zones[zone.name] if zone in old.zones else ZoneMonitor(zone)
            for zone in config.zones
        }

    def update(
        self, detections: Detections, at_s: float, *, frame_hw: tuple[int, int]
    ) -> tuple[Detections, list[SceneEvent]]:
        """Take the next frame in; return its detections with track ids, and what happened.

        Args:
            detections: of one frame.
            at_s: when it was taken, see `Tracker.update`.
            frame_hw: height and width of the frame in pixels.

        Raises:
            ValueError: if `at_s` is not finite.

        """
        tracked = self.tracker.update(detections, at_s)
        events: list[SceneEvent] = []
        for counter in self.lines.values():
            events += counter.update(tracked, at_s, frame_hw=frame_hw)
        for monitor in self.zones.values():
            events += monitor.update(tracked, at_s, frame_hw=frame_hw)
        return tracked, events
