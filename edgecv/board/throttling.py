"""Whether a machine slowed itself down while something was measured."""

from collections import Counter
from dataclasses import dataclass

from edgecv.board.clocks import Clock, cpu_clocks, gpu_clocks
from edgecv.board.files import SystemFiles
from edgecv.board.thermal import active_limits, current_alarms, throttle_events

BUSY = 0.8  # from this load on a governor should have raised the clock
SLOW = 0.9  # a clock below this share of what was allowed is held down; governors stop near the top
SHARE = 0.2  # of the busy moments: a governor needs some of them to raise the clock
MOMENTS = 3  # fewer busy moments tell nothing


@dataclass
class _Held:
    """What was seen of one clock."""

    allowed_hz: int = 0
    lowest_hz: int = 0
    num_busy: int = 0
    num_slow: int = 0

    def see(self, clock: Clock, load: float | None) -> None:
        # Heat lowers the limit itself, so that the highest one seen is what the mode allows.
        self.allowed_hz = max(self.allowed_hz, clock.max_hz or 0)
        if load is None or load < BUSY or not self.allowed_hz:
            return
        self.num_busy += 1
        if clock.hz < SLOW * self.allowed_hz:
            self.num_slow += 1
            self.lowest_hz = min(self.lowest_hz or clock.hz, clock.hz)

    def reason(self, name: str) -> str | None:
        if self.num_busy < MOMENTS or self.num_slow < SHARE * self.num_busy:
            return None
        return (
            f"{name} clock down to {self.lowest_hz / 1e6:.0f} of {self.allowed_hz / 1e6:.0f} MHz "
            f"in {self.num_slow / self.num_busy:.0%} of its busy moments"
        )


class ThrottleWatch:
    """Looks at clocks, limits and alarms of a Jetson now and then; elsewhere at counters alone.

    An x86 processor is below its highest clock under any load on all cores, which is no sign of
    anything.
    """

    def __init__(self, files: SystemFiles, *, is_jetson: bool) -> None:
        """Note what was counted so far."""
        self._files = files
        self._is_jetson = is_jetson
        self._held: dict[str, _Held] = {}
        self._limits: Counter[str] = Counter()
        self._events = throttle_events(files)
        self._cpu_times = _cpu_times(files)
        if is_jetson:
            current_alarms(files)  # forgets the old ones
            self._see_clocks({})

    def sample(self) -> None:
        """Look once; best a few times a second, between which a load can be told."""
        if not self._is_jetson:
            return
        times = _cpu_times(self._files)
        loads = {}
        for cpu, (busy, total) in times.items():
            busy_before, total_before = self._cpu_times.get(cpu, (busy, total))
            if total > total_before:
                loads[cpu] = (busy - busy_before) / (total - total_before)
        self._cpu_times = times
        self._see_clocks(loads)
        self._limits.update(active_limits(self._files))

    def reasons(self) -> tuple[str, ...]:
        """Return what slowed the machine down since the start, empty for nothing that was seen."""
        reasons = [held.reason(name) for name, held in self._held.items()]
        reasons += [f"limited by {name}" for name in self._limits]
        for name, count in throttle_events(self._files).items():
            if (more := count - self._events.get(name, 0)) > 0:
                reasons.append(f"{more} {name} event{'s' if more > 1 else ''}")
        if self._is_jetson:
            reasons += [f"over-current alarm of {name}" for name in current_alarms(self._files)]
        return tuple(reason for reason in reasons if reason is not None)

    def _see_clocks(self, cpu_loads: dict[int, float]) -> None:
        for clock in gpu_clocks(self._files):
            self._held.setdefault(clock.name, _Held()).see(clock, clock.load)
        for clock in cpu_clocks(self._files):
            loads = [cpu_loads[cpu] for cpu in clock.cpus if cpu in cpu_loads]
            held = self._held.setdefault(clock.name, _Held())
            held.see(clock, max(loads, default=None))


def _cpu_times(files: SystemFiles) -> dict[int, tuple[int, int]]:
    """Return the ticks that each processor was busy, and all its ticks (`proc(5)`)."""
    times = {}
    for line in (files.text("proc/stat") or "").splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdecimal() and all(t.isdecimal() for t in ticks):
            counted = [int(tick) for tick in ticks[:8]]  # guests are in `user` already
            idle = sum(counted[3:5])  # idle and waiting for a device
            times[int(name[3:])] = (sum(counted) - idle, sum(counted))
    return times
