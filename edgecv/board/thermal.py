"""Heat, and the alarms of the power supply: what makes a board slow itself down.

Source: `driver-api/thermal/sysfs-api.rst` and `hwmon/ina3221.rst` of Linux; for `oc*_event_cnt`
NVIDIA's Jetson Linux Developer Guide, "Electrical Management".
"""

import re
from dataclasses import dataclass

from edgecv.board.files import SystemFiles


@dataclass(frozen=True)
class ThermalZone:
    """A temperature and what happens where.

    Args:
        name: such as `tj`, the hottest place of the chip.
        celsius: how hot it is.
        throttles_at: from where on clocks are lowered, None if never.
        stops_at: where the board turns itself off, None if not said.

    """

    name: str
    celsius: float
    throttles_at: float | None
    stops_at: float | None


def thermal_zones(files: SystemFiles) -> list[ThermalZone]:
    """Return the zones that can be read; those of parts that are powered down cannot."""
    zones = []
    for folder in files.matching("sys/class/thermal/thermal_zone*"):
        millidegrees = files.integer(folder / "temp")
        if millidegrees is None:
            continue
        trips: dict[str, list[float]] = {}
        for path in files.matching("trip_point_*_type", folder):
            trip = files.integer(path.with_name(path.name.replace("_type", "_temp")))
            if trip is not None and trip > 0:  # disabled ones are negative
                trips.setdefault(files.text(path) or "", []).append(trip / 1e3)
        name = (files.text(folder / "type") or folder.name).removesuffix("-thermal")
        zones.append(
            ThermalZone(
                name,
                millidegrees / 1e3,
                min(trips.get("passive", ()), default=None),
                min(trips.get("critical", ()), default=None),
            )
        )
    return zones


def active_limits(files: SystemFiles) -> list[str]:
    """Return the cooling devices that lower a clock at this moment, such as `cpu-throttle-alert`.

    Fans cool without slowing, and the alert of a hot surface only says so.
    """
    limits = []
    for folder in files.matching("sys/class/thermal/cooling_device*"):
        name = files.text(folder / "type") or folder.name
        is_harmless = "fan" in name or name.startswith("hot-surface")
        if not is_harmless and (files.integer(folder / "cur_state") or 0) > 0:
            limits.append(name)
    return limits


def throttle_events(files: SystemFiles) -> dict[str, int]:
    """Return how often the supply or the heat made the hardware slow down since it was started.

    On a Jetson `oc1`, `oc2`, … count the events of under-voltage and over-current; on x86
    `package heat` counts the times a processor was too hot.
    """
    events: dict[str, int] = {}
    for path in files.matching("sys/class/hwmon/hwmon*/oc*_event_cnt"):
        count = files.integer(path)
        if count is not None:
            name = path.name.removesuffix("_event_cnt")
            events[name] = events.get(name, 0) + count
    # Every core shows the count of its package.
    pattern = "sys/devices/system/cpu/cpu*/thermal_throttle/package_throttle_count"
    heat = [files.integer(path) for path in files.matching(pattern)]
    if counts := [count for count in heat if count is not None]:
        events["package heat"] = max(counts)
    return events


def current_alarms(files: SystemFiles) -> list[str]:
    """Return the rails of INA3221 monitors whose current is or was over a limit.

    The chip forgets an alarm when it is read.
    """
    alarms = []
    for path in files.matching("sys/class/hwmon/hwmon*/curr*_alarm"):
        found = re.fullmatch(r"curr([0-9]+)_(crit|max)_alarm", path.name)
        if found and files.text(path.with_name("name")) == "ina3221" and files.integer(path) == 1:
            label = files.text(path.with_name(f"in{found[1]}_label")) or f"channel {found[1]}"
            alarms.append(f"{label} ({'critical' if found[2] == 'crit' else 'warning'})")
    return alarms
