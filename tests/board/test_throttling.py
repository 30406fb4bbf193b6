"""What counts as throttling and what does not."""

from types import SimpleNamespace
from typing import Any

import pytest

from edgecv.board.throttling import ThrottleWatch

_GPU = "sys/class/devfreq/17000000.gpu"


def gpu(mhz: int, load: float, allowed: int = 1020) -> dict[str, str]:
    return {
        f"{_GPU}/cur_freq": f"{mhz}000000\n",
        f"{_GPU}/max_freq": f"{allowed}000000\n",
        f"{_GPU}/device/load": f"{load * 1000:.0f}\n",
    }


def stat(busy: int, idle: int) -> dict[str, str]:
    """Ticks of one busy processor and of one that idles."""
    total = f"cpu  {busy} 0 0 {2 * idle} 0 0 0 0 0 0\n"
    first = f"cpu0 {busy} 0 0 {idle} 0 0 0 0 0 0\n"
    return {"proc/stat": f"{total}{first}cpu1 0 0 0 {busy + idle} 0 0 0 0 0 0\nctxt 5\n"}


def watched(system: Any, start: dict[str, str], *moments: dict[str, str]) -> tuple[str, ...]:
    watch = ThrottleWatch(system(start), is_jetson=True)
    for moment in moments:
        system(moment)
        watch.sample()
    return watch.reasons()


def test_full_speed(system: Any, trees: SimpleNamespace) -> None:
    assert watched(system, trees.orin_nano, *[gpu(1020, 0.99)] * 10) == ()


def test_a_gpu_held_down_while_it_is_busy(system: Any, trees: SimpleNamespace) -> None:
    moments = [gpu(1020, 0.99)] * 5 + [gpu(714, 0.99)] * 3 + [gpu(624, 0.99)] * 2
    (reason,) = watched(system, trees.orin_nano, *moments)
    assert reason == "GPU clock down to 624 of 1020 MHz in 50% of its busy moments"


def test_heat_that_lowers_the_limit_itself(system: Any, trees: SimpleNamespace) -> None:
    (reason,) = watched(system, trees.orin_nano, *[gpu(612, 0.99, allowed=612)] * 5)
    assert reason == "GPU clock down to 612 of 1020 MHz in 100% of its busy moments"


def test_a_power_mode_is_no_throttling(system: Any, trees: SimpleNamespace) -> None:
    start = {**trees.orin_nano, **gpu(306, 0.1, allowed=612)}
    assert watched(system, start, *[gpu(612, 0.99, allowed=612)] * 5) == ()


@pytest.mark.parametrize(
    "moments",
    [
        [gpu(306, 0.5)] * 10,  # low because there is little to do
        [gpu(306, 0.99)] + [gpu(1020, 0.99)] * 9,  # on its way up
        [gpu(306, 0.99)] * 2,  # too few to tell
        [gpu(918, 0.99)] * 10,  # 90 % exactly
    ],
)
def test_no_throttling(system: Any, trees: SimpleNamespace, moments: Any) -> None:
    assert watched(system, trees.orin_nano, *moments) == ()


def test_a_processor_held_down(system: Any, trees: SimpleNamespace) -> None:
    fast, slow = (trees.cluster(0, 1, mhz, (729, 1728), 1728) for mhz in (1728, 729))
    busy = [stat(25 * count, 100) for count in range(1, 7)]
    start = {"proc/device-tree/compatible": "nvidia,tegra234\0", **fast, **stat(0, 100)}
    (reason,) = watched(system, start, *[{**slow, **moment} for moment in busy])
    assert reason == "CPU 0-1 clock down to 729 of 1728 MHz in 100% of its busy moments"
    idle = [stat(150, 100 + 25 * count) for count in range(1, 7)]
    start = {**fast, **stat(150, 100)}
    assert watched(system, start, *[{**slow, **moment} for moment in idle]) == ()


def test_limits_events_and_alarms(system: Any, trees: SimpleNamespace) -> None:
    reasons = watched(
        system,
        {**trees.orin_nano, "sys/class/hwmon/hwmon3/oc3_event_cnt": "7\n"},
        {"sys/class/thermal/cooling_device1/cur_state": "1\n"},
        {
            "sys/class/thermal/cooling_device1/cur_state": "0\n",
            "sys/class/hwmon/hwmon3/oc3_event_cnt": "10\n",
            "sys/class/hwmon/hwmon3/oc1_event_cnt": "1\n",
            "sys/class/hwmon/hwmon1/curr1_crit_alarm": "1\n",
        },
    )
    assert reasons == (
        "limited by gpu-throttle-alert",
        "1 oc1 event",
        "3 oc3 events",
        "over-current alarm of VDD_IN (critical)",
    )


def test_x86_counts_heat_and_no_clocks(system: Any, trees: SimpleNamespace) -> None:
    watch = ThrottleWatch(system({**trees.x86, **trees.rapl, **stat(0, 100)}), is_jetson=False)
    slow = trees.cluster(0, 0, 1500, (1500, 3500), 3500)
    for count in range(1, 7):
        system({**slow, **stat(25 * count, 100)})
        watch.sample()
    assert watch.reasons() == ()
    system({"sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "5\n"})
    assert watch.reasons() == ("1 package heat event",)


def test_broken_files(system: Any) -> None:
    broken = {"proc/stat": "cpu0 x y\ncpu\nintr 5\n", f"{_GPU}/cur_freq": "?\n"}
    assert watched(system, broken, broken, broken) == ()
