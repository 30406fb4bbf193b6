"""Where a machine's power can be read: a Jetson's monitors, jetson-stats, or x86's counters.

Source: `hwmon/ina3221.rst`, `hwmon/ina238.rst` and `power/powercap/powercap.rst` of Linux. Which
rails make up the whole: NVIDIA's Jetson Linux Developer Guide and its data sheets.
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from edgecv.board.files import SystemFiles
from edgecv.closing import Closing

_INTERVAL_S = 0.5  # of jetson-stats' service, its shortest

# What is whole by itself, and which part of the machine that is; the first that is there counts.
_WHOLE = {
    "VIN": "the kit with its carrier",  # AGX Thor
    "VDD_IN": "the module",  # Orin Nano, Orin NX
}
# AGX Orin and AGX Thor have no such rail on the module. The memory's (VDDQ_VDD2_1V8AO) is fed by
# VIN_SYS_5V0 and is not counted again.
_PARTS = (
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),
)


class PowerMeter(Closing, Protocol):
    """Something that tells how much a machine draws.

    Attributes:
        source: what is read.
        scope: which part of the machine the total is of.
        total_of: the rails whose sum is the total.

    """

    source: str
    scope: str
    total_of: tuple[str, ...]

    def read(self) -> dict[str, float] | None:
        """Return a reading of each rail, None if it fails at this moment."""

    def energy_j(
        self, before: Mapping[str, float], after: Mapping[str, float], seconds: float
    ) -> dict[str, float]:
        """Return the energy of each rail between two readings that lie `seconds` apart."""


class _Watts:
    """Readings in watts: between two of them power is taken to change evenly."""

    def energy_j(
        self, before: Mapping[str, float], after: Mapping[str, float], seconds: float
    ) -> dict[str, float]:
        """Return the trapezoid between the two readings, of each rail that both have."""
        return {
            rail: (before[rail] + after[rail]) / 2 * seconds for rail in before if rail in after
        }


class RailMeter(_Watts, PowerMeter):
    """The INA3221 and INA238 monitors of a Jetson, as the kernel's `hwmon` shows them."""

    source = "the board's power monitors"

    def __init__(self, files: SystemFiles) -> None:
        """Find the rails that can be read."""
        self._files = files
        self._rails: dict[str, tuple[Path, Path | None]] = {}
        for name in files.matching("sys/class/hwmon/hwmon*/name"):
            chip, folder = files.text(name), name.parent
            if chip == "ina3221":
                for label in files.matching("in[123]_label", folder):
                    number, rail = label.name[2], files.text(label)
                    if rail and rail != "NC":  # not connected
                        volts, amperes = f"in{number}_input", f"curr{number}_input"
                        self._rails[rail] = (folder / volts, folder / amperes)
            elif chip == "ina238":
                rail = files.text(folder / "in1_label") or "VIN"
                self._rails[rail] = (folder / "power1_input", None)
        self._rails = {rail: paths for rail, paths in self._rails.items() if _is_on(files, paths)}
        self.scope, self.total_of = _whole(tuple(self._rails))

    def read(self) -> dict[str, float] | None:
        """Return watts by rail."""
        watts = {}
        for rail, (first, second) in self._rails.items():
            value = self._files.integer(first)  # mV, or µW by itself
            milliamperes = 1 if second is None else self._files.integer(second)
            if value is not None and milliamperes is not None:
                watts[rail] = value * milliamperes * 1e-6
        return watts if watts.keys() >= set(self.total_of) else None

    def close(self) -> None:
        """Hold nothing."""


class JtopMeter(_Watts, PowerMeter):
    """The service of jetson-stats, for where its socket is passed on but `/sys` is not."""

    source = "jetson-stats"

    def __init__(self, jtop: Any) -> None:  # noqa: ANN401  # it has no types
        """Ask the service that `jtop`, a class as the package has it, talks to.

        Raises:
            RuntimeError: if it gives no power.

        """
        self._client = jtop(interval=_INTERVAL_S)
        self._client.start()
        try:
            self._client.ok()  # waits for the first figures
            total = self._power()["tot"]
            self._total = str(total.get("name") or "all rails")
            _ = float(total["power"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._client.close()
            raise RuntimeError("jetson-stats gives no power of this board.") from error
        self.scope, self.total_of = _WHOLE.get(self._total, "the sum of its rails"), (self._total,)

    def read(self) -> dict[str, float] | None:
        """Return watts by rail."""
        try:
            power = self._power()
            rails = {name: rail["power"] for name, rail in power["rail"].items()}
            return {
                name: float(milliwatts) / 1e3
                for name, milliwatts in {**rails, self._total: power["tot"]["power"]}.items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _power(self) -> Any:  # noqa: ANN401  # as above
        return self._client.power

    def close(self) -> None:
        """Leave the service."""
        self._client.close()


class RaplMeter(PowerMeter):
    """The energy counters of x86 processors (RAPL), which most systems show to root alone."""

    source = "RAPL"
    scope = "the processor packages, without the rest of the machine"

    def __init__(self, files: SystemFiles) -> None:
        """Find the packages' counters that can be read."""
        self._files = files
        self._counters: dict[str, Path] = {}
        self._ranges_j: dict[str, float] = {}
        for path in files.matching("sys/class/powercap/intel-rapl:*/energy_uj"):
            name = files.text(path.with_name("name"))
            span = files.integer(path.with_name("max_energy_range_uj"))
            is_package = name is not None and name.startswith("package-")
            if is_package and span is not None and files.integer(path) is not None:
                self._counters[str(name)], self._ranges_j[str(name)] = path, span * 1e-6
        self.total_of = tuple(self._counters)

    def read(self) -> dict[str, float] | None:
        """Return the joules that each package has counted."""
        counts = {name: self._files.integer(path) for name, path in self._counters.items()}
        known = {name: count * 1e-6 for name, count in counts.items() if count is not None}
        return known if len(known) == len(counts) else None

    def energy_j(
        self, before: Mapping[str, float], after: Mapping[str, float], seconds: float
    ) -> dict[str, float]:
        """Return what was counted in between; a counter starts again at 0 after its range."""
        del seconds
        return {name: (after[name] - before[name]) % self._ranges_j[name] for name in after}

    def close(self) -> None:
        """Hold nothing."""


def find_meter(files: SystemFiles) -> PowerMeter | None:
    """Return the best meter of this machine, None where nothing can be read.

    The board's own monitors answer within milliseconds; jetson-stats, which reads the same ones
    every half second, is asked where `/sys` does not show them.
    """
    rails = RailMeter(files)
    if rails.total_of:
        return rails
    if find_spec("jtop") is not None:
        try:
            return JtopMeter(import_module("jtop").jtop)
        except Exception:  # noqa: BLE001, S110  # a service that is off has errors of its own
            pass
    counters = RaplMeter(files)
    return counters if counters.total_of else None


def _is_on(files: SystemFiles, paths: tuple[Path, Path | None]) -> bool:
    return all(path is None or files.integer(path) is not None for path in paths)


def _whole(rails: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return which part of the machine is measured as a whole, and by which rails."""
    for rail, scope in _WHOLE.items():
        if rail in rails:
            return scope, (rail,)
    for parts in _PARTS:
        if set(parts) <= set(rails):
            return "the module, without losses of the carrier", parts
    return "the sum of its rails, of which one may feed another", rails
