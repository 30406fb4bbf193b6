"""Temperatures, limits and alarms."""

from types import SimpleNamespace
from typing import Any

from edgecv.board.thermal import (
    ThermalZone,
    active_limits,
    current_alarms,
    thermal_zones,
    throttle_events,
)


def test_zones(system: Any, trees: SimpleNamespace) -> None:
    assert thermal_zones(system(trees.orin_nano)) == [
        ThermalZone("cpu", 48.5, 99.0, 104.5),
        ThermalZone("tj", 51.25, 99.0, 104.5),  # the GPU, which sleeps, is left out
    ]


def test_zones_without_trips(system: Any, trees: SimpleNamespace) -> None:
    (zone,) = thermal_zones(system(trees.zone(0, "soc", 40, passive=-127)))
    assert (zone.throttles_at, zone.stops_at) == (None, None)


def test_fans_and_warm_surfaces_slow_nothing_down(system: Any, trees: SimpleNamespace) -> None:
    assert active_limits(system(trees.orin_nano)) == []
    limited = {"sys/class/thermal/cooling_device1/cur_state": "1\n"}
    assert active_limits(system({**trees.orin_nano, **limited})) == ["gpu-throttle-alert"]


def test_events(system: Any, trees: SimpleNamespace) -> None:
    assert throttle_events(system(trees.orin_nano)) == {"oc1": 0, "oc3": 0}
    counted = {"sys/class/hwmon/hwmon3/oc3_event_cnt": "179\n"}
    assert throttle_events(system(counted)) == {"oc1": 0, "oc3": 179}


def test_a_package_is_counted_once(system: Any, trees: SimpleNamespace) -> None:
    assert throttle_events(system(trees.rapl)) == {"package heat": 4}


def test_alarms(system: Any, trees: SimpleNamespace) -> None:
    alarms = {
        "sys/class/hwmon/hwmon1/curr1_crit_alarm": "1\n",
        "sys/class/hwmon/hwmon1/curr3_max_alarm": "1\n",
        "sys/class/hwmon/hwmon9/name": "nvme\n",  # another chip's alarm
        "sys/class/hwmon/hwmon9/curr1_crit_alarm": "1\n",
    }
    assert current_alarms(system(trees.orin_nano)) == []
    assert current_alarms(system(alarms)) == ["VDD_IN (critical)", "VDD_SOC (warning)"]
