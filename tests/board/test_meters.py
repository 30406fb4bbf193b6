"""Which meters a machine has, what they read, and which rails are the whole."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.board import meters
from edgecv.board.meters import JtopMeter, RailMeter, RaplMeter, find_meter


def test_orin_nano_has_one_rail_for_the_module(system: Any, trees: SimpleNamespace) -> None:
    meter = find_meter(system(trees.orin_nano))
    assert meter is not None
    assert (meter.scope, meter.total_of) == ("the module", ("VDD_IN",))
    reading = meter.read()
    assert reading == pytest.approx(
        {
            "VDD_IN": 5.032 * 1.056,
            "VDD_CPU_GPU_CV": 5.032 * 0.192,
            "VDD_SOC": 5.024 * 0.288,
        }
    )


def test_agx_orin_is_a_sum_without_what_another_rail_feeds(
    system: Any, trees: SimpleNamespace
) -> None:
    meter = RailMeter(system(trees.agx_orin))
    assert meter.total_of == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    assert meter.scope == "the module, without losses of the carrier"
    reading = meter.read()
    assert reading is not None
    assert reading.keys() == {*meter.total_of, "VDDQ_VDD2_1V8AO"}  # and nothing unconnected


def test_thor_is_measured_at_its_input(system: Any, trees: SimpleNamespace) -> None:
    meter = RailMeter(system(trees.thor))
    assert (meter.scope, meter.total_of) == ("the kit with its carrier", ("VIN",))
    reading = meter.read()
    assert reading is not None
    assert reading["VIN"] == pytest.approx(23.0)
    assert reading["VDD_GPU"] == pytest.approx(-0.36)  # an offset of the idle monitor


def test_thor_without_the_monitor_of_its_carrier(system: Any, trees: SimpleNamespace) -> None:
    tree = {path: text for path, text in trees.thor.items() if "hwmon5" not in path}
    assert RailMeter(system(tree)).total_of == ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")


def test_unknown_rails_are_summed_with_a_warning(system: Any, trees: SimpleNamespace) -> None:
    meter = RailMeter(system(trees.ina3221(0, A=(1000, 1000), B=(1000, 500))))
    assert meter.total_of == ("A", "B")
    assert "may feed another" in meter.scope


def test_a_rail_that_fails_for_a_moment(system: Any, trees: SimpleNamespace) -> None:
    meter = RailMeter(system(trees.orin_nano))
    system({"sys/class/hwmon/hwmon1/curr3_input": ""})
    reading = meter.read()
    assert reading is not None
    assert reading.keys() == {"VDD_IN", "VDD_CPU_GPU_CV"}
    system({"sys/class/hwmon/hwmon1/in1_input": ""})
    assert meter.read() is None  # the total is not known


def test_a_monitor_that_cannot_be_read(system: Any, trees: SimpleNamespace) -> None:
    broken = {f"sys/class/hwmon/hwmon1/curr{channel}_input": "" for channel in (1, 2, 3)}
    assert find_meter(system({**trees.orin_nano, **broken})) is None


def test_a_plain_machine_has_no_meter(system: Any, trees: SimpleNamespace) -> None:
    assert find_meter(system(trees.x86)) is None


def test_counters_of_x86(system: Any, trees: SimpleNamespace) -> None:
    meter = find_meter(system({**trees.x86, **trees.rapl}))
    assert isinstance(meter, RaplMeter)
    assert meter.total_of == ("package-0",)  # its cores are a part of it
    before = meter.read()
    system({"sys/class/powercap/intel-rapl:0/energy_uj": "856671150\n"})  # started again at 0
    after = meter.read()
    assert before is not None
    assert after is not None
    assert meter.energy_j(before, after, 1.0)["package-0"] == pytest.approx(1000.0)


def test_counters_for_root_only(system: Any, trees: SimpleNamespace) -> None:
    hidden = {"sys/class/powercap/intel-rapl:0/energy_uj": ""}
    assert find_meter(system({**trees.x86, **trees.rapl, **hidden})) is None


@given(st.floats(0, 262143.0), st.floats(0, 262143.0))
def test_a_counter_counts_forward(before: float, drawn: float) -> None:
    meter = RaplMeter.__new__(RaplMeter)
    meter._ranges_j = {"package-0": 262143.32885}
    after = (before + drawn) % 262143.32885
    found = meter.energy_j({"package-0": before}, {"package-0": after}, 1.0)["package-0"]
    assert found == pytest.approx(drawn, abs=1e-9 * 262144)


class Service:
    """The client of jetson-stats as its documentation has it."""

    power: ClassVar[Any] = {
        "rail": {"VDD_CPU_GPU_CV": {"volt": 5032, "curr": 192, "power": 966, "avg": 900}},
        "tot": {"name": "VDD_IN", "volt": 5032, "curr": 1056, "power": 5313, "avg": 5000},
    }
    is_open = False

    def __init__(self, interval: float) -> None:
        assert interval == 0.5
        Service.is_open = False

    def start(self) -> None:
        Service.is_open = True

    def ok(self) -> bool:
        assert self.is_open
        return True

    def close(self) -> None:
        Service.is_open = False


@pytest.fixture
def jtop(monkeypatch: pytest.MonkeyPatch) -> type[Service]:
    """jetson-stats, as if it were installed."""
    module = ModuleType("jtop")
    module.jtop = Service  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jtop", module)
    monkeypatch.setattr(meters, "find_spec", lambda name: object() if name == "jtop" else None)
    return Service


def test_jetson_stats(system: Any, trees: SimpleNamespace, jtop: type[Service]) -> None:
    with find_meter(system(trees.x86)) as meter:  # type: ignore[union-attr]
        assert isinstance(meter, JtopMeter)
        assert (meter.scope, meter.total_of) == ("the module", ("VDD_IN",))
        assert meter.read() == pytest.approx({"VDD_CPU_GPU_CV": 0.966, "VDD_IN": 5.313})
    assert not jtop.is_open


def test_the_monitors_come_before_jetson_stats(
    system: Any, trees: SimpleNamespace, jtop: type[Service]
) -> None:
    del jtop
    assert isinstance(find_meter(system(trees.orin_nano)), RailMeter)


@pytest.mark.parametrize("power", [{}, (None, {}), {"rail": {}, "tot": {"name": "x"}}])
def test_jetson_stats_without_power(
    system: Any, jtop: type[Service], monkeypatch: pytest.MonkeyPatch, power: Any
) -> None:
    monkeypatch.setattr(Service, "power", power)
    assert find_meter(system({})) is None
    assert not jtop.is_open


def test_jetson_stats_whose_service_is_off(
    system: Any, jtop: type[Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: Service) -> None:
        raise RuntimeError("The jtop.service is not active.")

    monkeypatch.setattr(jtop, "start", start)
    assert find_meter(system({})) is None


def test_jetson_stats_that_fails_for_a_moment(
    jtop: type[Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = JtopMeter(jtop)
    monkeypatch.setattr(Service, "power", {})
    assert meter.read() is None
