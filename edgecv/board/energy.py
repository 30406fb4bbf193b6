"""Energy of a piece of work: a thread reads the meter, the readings are integrated over time."""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgecv.board.files import SystemFiles
from edgecv.board.jetson import find_jetson
from edgecv.board.meters import PowerMeter, find_meter
from edgecv.board.throttling import ThrottleWatch
from edgecv.closing import Closing

if TYPE_CHECKING:
    from typing_extensions import Self

INTERVAL_S = 0.05  # between readings: a fraction of a core's time, and enough for any governor
LOOK_EVERY = 10  # readings between two looks at clocks and limits, which take 20 times as long
IDLE_S = 2.0  # how long idle power is measured
PEAK_S = INTERVAL_S / 2  # a counter's steps make power over less time than that look high
SHORT_S = 1.0  # a shorter measurement holds too few independent readings


@dataclass(frozen=True)
class EnergyUse:
    """What a piece of work cost.

    Args:
        frames: frames that it processed.
        seconds: how long it took.
        energy_j: of the whole, idle power included.
        idle_w: power before, 0 if it was not measured.
        peak_w: highest power between two readings.
        rails_w: mean power of each rail.
        num_readings: of the meter.
        throttling: what slowed the machine down meanwhile, empty for nothing.

    """

    frames: int
    seconds: float
    energy_j: float
    idle_w: float
    peak_w: float
    rails_w: Mapping[str, float]
    num_readings: int
    throttling: tuple[str, ...] = ()

    @property
    def mean_w(self) -> float:
        """Mean power."""
        return self.energy_j / self.seconds

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds

    @property
    def fps_per_watt(self) -> float:
        """Frames a second for each watt, which is frames for each joule."""
        return self.frames / self.energy_j if self.energy_j > 0 else 0.0

    @property
    def joules_per_frame(self) -> float:
        """Energy of one frame, idle power included."""
        return self.energy_j / self.frames if self.frames else 0.0

    @property
    def joules_above_idle_per_frame(self) -> float:
        """Energy of one frame beyond what the idle machine would have drawn."""
        above = self.energy_j - self.idle_w * self.seconds
        return above / self.frames if self.frames else 0.0

    @property
    def is_short(self) -> bool:
        """Whether it was too short to rely on."""
        return self.seconds < SHORT_S

    def to_plain(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        figures = {
            **asdict(self),
            "mean_w": self.mean_w,
            "fps": self.fps,
            "fps_per_watt": self.fps_per_watt,
            "joules_per_frame": self.joules_per_frame,
            "joules_above_idle_per_frame": self.joules_above_idle_per_frame,
        }
        figures["rails_w"] = {rail: round(power, 4) for rail, power in self.rails_w.items()}
        figures["throttling"] = list(self.throttling)
        return {
            key: round(value, 5) if isinstance(value, float) else value
            for key, value in figures.items()
        }


class EnergyIntegral:
    """Adds up the energy between the readings of a meter.

    A reading that fails is left out, and its neighbours span the gap.
    """

    def __init__(self, meter: PowerMeter) -> None:
        """Start with nothing."""
        self._meter = meter
        self._last: tuple[float, Mapping[str, float]] | None = None
        self._energy_j: dict[str, float] = {}
        self._seconds: dict[str, float] = {}  # by rail: one may be off for a while
        self._peak_w = -math.inf
        self.num_readings = 0

    def add(self, time_s: float, reading: Mapping[str, float] | None) -> None:
        """Take in a reading, or None for one that failed."""
        if reading is None:
            return
        self.num_readings += 1
        if self._last is not None:
            before_s, before = self._last
            seconds = time_s - before_s
            energies = self._meter.energy_j(before, reading, seconds)
            for rail, energy in energies.items():
                self._energy_j[rail] = self._energy_j.get(rail, 0.0) + energy
                self._seconds[rail] = self._seconds.get(rail, 0.0) + seconds
            if seconds >= PEAK_S:
                total = sum(energies[rail] for rail in self._meter.total_of)
                self._peak_w = max(self._peak_w, total / seconds)
        self._last = (time_s, reading)

    @property
    def rails_w(self) -> dict[str, float]:
        """Mean power of each rail, empty before the second reading."""
        return {
            rail: energy / self._seconds[rail]
            for rail, energy in self._energy_j.items()
            if self._seconds[rail] > 0
        }

    @property
    def mean_w(self) -> float | None:
        """Mean power of the whole, None before the second reading."""
        rails = self.rails_w
        return sum(rails[rail] for rail in self._meter.total_of) if rails else None

    @property
    def peak_w(self) -> float | None:
        """Highest power of the whole between two readings, None before the second one."""
        mean_w = self.mean_w
        return None if mean_w is None else max(self._peak_w, mean_w)


class Measurement:
    """A `with` block during which a meter is read."""

    def __init__(self, meter: PowerMeter, watch: ThrottleWatch | None, idle_w: float) -> None:
        """Measure with `meter`, and look for throttling with `watch`."""
        self._meter = meter
        self._watch = watch
        self._idle_w = idle_w
        self._integral = EnergyIntegral(meter)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgecv-power", daemon=True)
        self._start_s = self._end_s = 0.0
        self._throttling: tuple[str, ...] = ()

    def __enter__(self) -> "Self":
        """Read once and start the thread."""
        self._start_s = self._read()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the thread and read a last time."""
        self._is_over.set()
        self._thread.join()
        self._end_s = self._read()
        if self._watch is not None:
            self._watch.sample()  # of short work the only time
            self._throttling = self._watch.reasons()

    @property
    def mean_w(self) -> float | None:
        """Mean power so far, None where too few readings succeeded."""
        return self._integral.mean_w

    def use(self, frames: int) -> EnergyUse | None:
        """Return what the block cost for `frames` frames, None if the meter gave no readings.

        Readings that failed at an end leave a gap there, over which mean power is assumed.
        """
        mean_w, peak_w = self._integral.mean_w, self._integral.peak_w
        seconds = self._end_s - self._start_s
        if mean_w is None or peak_w is None:
            return None
        return EnergyUse(
            frames=frames,
            seconds=seconds,
            energy_j=mean_w * seconds,
            idle_w=self._idle_w,
            peak_w=peak_w,
            rails_w=self._integral.rails_w,
            num_readings=self._integral.num_readings,
            throttling=self._throttling,
        )

    def _run(self) -> None:
        count = 0
        while not self._is_over.wait(INTERVAL_S):
            self._read()
            count += 1
            if self._watch is not None and count % LOOK_EVERY == 0:
                self._watch.sample()

    def _read(self) -> float:
        before_s = time.perf_counter()
        reading = self._meter.read()
        time_s = (before_s + time.perf_counter()) / 2  # a monitor's bus takes milliseconds
        self._integral.add(time_s, reading)
        return time_s


class PowerProbe(Closing):
    """Measures the energy of one piece of work after another."""

    def __init__(self, meter: PowerMeter, files: SystemFiles) -> None:
        """Measure with `meter`, and look for throttling in `files`."""
        self._meter = meter
        self._files = files
        self._is_jetson = find_jetson(files) is not None
        self.idle_w = 0.0

    @property
    def source(self) -> str:
        """What is read."""
        return self._meter.source

    @property
    def scope(self) -> str:
        """Which part of the machine is measured."""
        return self._meter.scope

    @property
    def total_of(self) -> tuple[str, ...]:
        """The rails whose sum is the total."""
        return self._meter.total_of

    def measure_idle(self, seconds: float = IDLE_S) -> None:
        """Measure what the machine draws while this program waits, for what follows."""
        with Measurement(self._meter, None, 0.0) as measurement:
            time.sleep(seconds)
        self.idle_w = measurement.mean_w or 0.0

    def measurement(self) -> Measurement:
        """Return a `with` block that measures what is done in it."""
        watch = ThrottleWatch(self._files, is_jetson=self._is_jetson)
        return Measurement(self._meter, watch, self.idle_w)

    def close(self) -> None:
        """Leave the meter."""
        self._meter.close()


def open_power_probe(files: SystemFiles | None = None) -> PowerProbe | None:
    """Return what measures power on this machine, None where nothing can be read."""
    files = files or SystemFiles()
    meter = find_meter(files)
    return None if meter is None else PowerProbe(meter, files)
