"""The energy of a piece of work against closed forms, and what is said of it."""

import itertools
import math
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.board.energy import (
    INTERVAL_S,
    EnergyIntegral,
    EnergyUse,
    Measurement,
    PowerProbe,
    open_power_probe,
)
from edgecv.board.meters import RailMeter, RaplMeter, _Watts


class Meter(_Watts):
    """A meter that gives one reading after another, the last again and again."""

    source, scope, total_of = "a list", "nothing real", ("A", "B")

    def __init__(self, *readings: Mapping[str, float] | None) -> None:
        self._readings = itertools.chain(readings, itertools.repeat(readings[-1]))
        self.is_open = True

    def read(self) -> Any:
        return next(self._readings)

    def close(self) -> None:
        self.is_open = False


def wait_for_readings(measurement: Measurement, count: int) -> None:
    """Work until there are `count` more readings, however busy the machine is."""
    until = measurement._integral.num_readings + count
    while measurement._integral.num_readings < until:
        time.sleep(0.01)


def integral(times_s: Any, watts: Any) -> EnergyIntegral:
    """The integral of power that rail A draws, beside 1 W of rail B."""
    result = EnergyIntegral(Meter(None))
    for time_s, power in zip(times_s, watts, strict=True):
        result.add(float(time_s), {"A": float(power), "B": 1.0})
    return result


@given(st.floats(-5, 50), st.floats(-5, 5), st.lists(st.floats(0.01, 3), min_size=1, max_size=20))
def test_a_ramp_is_exact_however_it_is_sampled(start: float, slope: float, steps: Any) -> None:
    times = np.concatenate([[0.0], np.cumsum(steps)])
    duration = times[-1]
    found = integral(times, start + slope * times)
    energy = start * duration + slope * duration**2 / 2
    assert found.mean_w is not None
    assert found.mean_w * duration == pytest.approx(energy + duration, abs=1e-9 * (1 + duration**2))


def test_a_wave_within_the_bound_of_the_trapezoid() -> None:
    step, duration = 0.05, 4.0
    times = np.arange(0, duration + step / 2, step)
    found = integral(times, 10 + 3 * np.sin(2 * np.pi * times))
    # Whole periods of the sine cancel; the rule errs by at most T h² max|f''| / 12.
    bound = duration * step**2 * 3 * (2 * np.pi) ** 2 / 12
    assert found.mean_w is not None
    assert abs(found.mean_w * duration - 11 * duration) <= bound


def test_a_gap_is_spanned() -> None:
    found = EnergyIntegral(Meter(None))
    for time_s, reading in ((0, 4.0), (1, None), (2, None), (3, 10.0)):
        found.add(time_s, None if reading is None else {"A": reading, "B": 0.0})
    assert found.mean_w == pytest.approx(7.0)
    assert (found.num_readings, found.peak_w) == (2, pytest.approx(7.0))


def test_a_rail_that_was_off_for_a_while_has_the_mean_of_its_own_time() -> None:
    found = EnergyIntegral(Meter(None))
    readings = ({"A": 4.0, "B": 1.0, "C": 2.0}, {"A": 4.0, "B": 1.0, "C": 2.0}, {"A": 4.0, "B": 1})
    for time_s, reading in enumerate(readings):
        found.add(time_s, reading)
    assert found.rails_w == pytest.approx({"A": 4.0, "B": 1.0, "C": 2.0})
    assert found.mean_w == pytest.approx(5.0)  # the total leaves C out


def test_no_peak_between_readings_that_almost_touch() -> None:
    # A counter that moved one step of 1 J in 1 ms drew no kilowatt.
    meter = RaplMeter.__new__(RaplMeter)
    meter._ranges_j, meter.total_of = {"package-0": 1e6}, ("package-0",)
    found = EnergyIntegral(meter)
    for time_s, joules in ((0.0, 5.0), (0.5, 15.0), (1.0, 20.0), (1.001, 21.0)):
        found.add(time_s, {"package-0": joules})
    assert found.mean_w == pytest.approx(16 / 1.001)
    assert found.peak_w == pytest.approx(20.0)


def test_too_few_readings() -> None:
    empty = EnergyIntegral(Meter(None))
    assert (empty.mean_w, empty.peak_w) == (None, None)
    assert integral([1.0], [5.0]).mean_w is None
    assert integral([1.0, 1.0], [5.0, 5.0]).mean_w is None


def test_the_figures_of_a_use() -> None:
    use = EnergyUse(
        frames=200,
        seconds=4.0,
        energy_j=40.0,
        idle_w=4.0,
        peak_w=12.0,
        rails_w={"VDD_IN": 10.0},
        num_readings=80,
        throttling=("heat",),
    )
    assert (use.mean_w, use.fps, use.fps_per_watt) == (10.0, 50.0, 5.0)
    assert (use.joules_per_frame, use.joules_above_idle_per_frame) == (0.2, 0.12)
    assert not use.is_short
    plain = use.to_plain()
    assert plain["fps_per_watt"] * plain["joules_per_frame"] == 1.0
    assert (plain["rails_w"], plain["throttling"]) == ({"VDD_IN": 10.0}, ["heat"])


def test_no_frames_and_no_energy() -> None:
    use = EnergyUse(0, 0.5, 0.0, 0.0, 0.0, {}, 2)
    assert (use.fps_per_watt, use.joules_per_frame, use.joules_above_idle_per_frame) == (0, 0, 0)
    assert use.is_short


def test_a_measurement_reads_at_both_ends_and_in_between() -> None:
    with Measurement(Meter({"A": 6.0, "B": 1.0}), None, 2.0) as measurement:
        wait_for_readings(measurement, 3)
    use = measurement.use(14)
    assert use is not None
    assert use.num_readings >= 1 + 3 + 1
    assert use.seconds >= 3 * INTERVAL_S
    assert use.mean_w == pytest.approx(7.0)
    assert use.energy_j == pytest.approx(7.0 * use.seconds)
    assert use.joules_per_frame == pytest.approx(use.seconds / 2)
    assert use.idle_w == 2.0


def test_a_measurement_shorter_than_a_reading() -> None:
    with Measurement(Meter({"A": 6.0, "B": 1.0}), None, 0.0) as measurement:
        pass
    use = measurement.use(1)
    assert use is not None
    assert math.isclose(use.mean_w, 7.0)
    assert use.is_short


def test_a_meter_that_fails_throughout() -> None:
    with Measurement(Meter(None), None, 0.0) as measurement:
        time.sleep(0.1)
    assert measurement.use(5) is None


def test_the_thread_ends_with_an_error_too() -> None:
    measurement = Measurement(Meter({"A": 6.0, "B": 1.0}), None, 0.0)
    with pytest.raises(KeyError), measurement:
        raise KeyError
    assert not measurement._thread.is_alive()


def test_a_probe_on_a_board(system: Any, trees: SimpleNamespace) -> None:
    with open_power_probe(system(trees.orin_nano)) as probe:  # type: ignore[union-attr]
        probe.measure_idle(0.1)
        assert probe.idle_w == pytest.approx(5.032 * 1.056)
        with probe.measurement() as measurement:
            system({"sys/class/hwmon/hwmon1/curr1_input": "2000\n"})
            wait_for_readings(measurement, 4)
            system({"sys/class/hwmon/hwmon3/oc3_event_cnt": "1\n"})
    use = measurement.use(10)
    assert use is not None
    assert use.peak_w == pytest.approx(5.032 * 2)
    assert use.idle_w < use.mean_w <= use.peak_w
    assert use.throttling == ("1 oc3 event",)
    assert use.rails_w.keys() == {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"}


def test_a_probe_closes_its_meter(system: Any) -> None:
    meter = Meter({"A": 1.0, "B": 1.0})
    with PowerProbe(meter, system({})) as probe:
        assert (probe.source, probe.scope, probe.total_of) == ("a list", "nothing real", ("A", "B"))
    assert not meter.is_open


def test_no_probe_without_a_meter(system: Any, trees: SimpleNamespace) -> None:
    assert open_power_probe(system(trees.x86)) is None


def test_rails_of_a_real_tree_integrate_to_their_power(system: Any, trees: SimpleNamespace) -> None:
    meter = RailMeter(system(trees.agx_orin))
    found = EnergyIntegral(meter)
    for time_s in (0.0, 0.5, 2.0):
        found.add(time_s, meter.read())
    assert found.mean_w == pytest.approx(19.88 * 0.24 + 19.88 * 0.04 + 4.968 * 0.953)
