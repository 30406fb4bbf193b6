"""The clocks of a board: GPU, CPU clusters and memory.

Source: `Documentation/ABI/testing/sysfs-class-devfreq` and `admin-guide/pm/cpufreq.rst` of Linux.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from edgecv.board.files import SystemFiles

# The GPU by its devfreq name: 17000000.gpu (JetPack 6), 17000000.ga10b (5), gpu-gpc-0 (7 on Thor).
_GPU_NAME = re.compile(r"[0-9a-f]+\.(gpu|ga10b|gv11b)|gpu-gpc-[0-9]+")
_EMC = "sys/kernel/debug/bpmp/debug/clk/emc"


@dataclass(frozen=True)
class Clock:
    """A clock at one moment; None where a file does not tell.

    Args:
        name: `GPU`, `CPU 0-3`, `memory`.
        hz: what it runs at.
        min_hz: how low its governor may go.
        max_hz: how high; power modes and heat lower it.
        highest_hz: what the hardware knows, whatever is allowed.
        governor: who chooses.
        load: how busy what it drives is, 0 to 1.
        cpus: the processors that it drives.

    """

    name: str
    hz: int
    min_hz: int | None = None
    max_hz: int | None = None
    highest_hz: int | None = None
    governor: str | None = None
    load: float | None = None
    cpus: tuple[int, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """Whether it cannot move, as after `jetson_clocks`."""
        return self.min_hz is not None and self.min_hz == self.max_hz


def gpu_clocks(files: SystemFiles) -> list[Clock]:
    """Return the GPU's clocks, none where it has no such file or sleeps."""
    folders = [
        folder
        for folder in files.matching("sys/class/devfreq/*")
        if _GPU_NAME.fullmatch(folder.name)
    ]
    found = []
    for index, folder in enumerate(folders):
        hz = files.integer(folder / "cur_freq")
        if hz is None:
            continue
        known = (files.text(folder / "available_frequencies") or "").split()
        load = files.integer(folder / "device/load")  # in tenths of a percent
        found.append(
            Clock(
                "GPU" if len(folders) == 1 else f"GPU {index}",
                hz,
                files.integer(folder / "min_freq"),
                files.integer(folder / "max_freq"),
                max((int(one) for one in known if one.isdecimal()), default=None),
                files.text(folder / "governor"),
                None if load is None else min(max(load / 1e3, 0.0), 1.0),
            )
        )
    return found


def cpu_clocks(files: SystemFiles) -> list[Clock]:
    """Return the clock of each cluster of processors that is on."""
    found = []
    for folder in files.matching("sys/devices/system/cpu/cpufreq/policy*"):
        hz = _from_khz(files, folder / "scaling_cur_freq")
        cpus = tuple(
            int(one) for one in (files.text(folder / "related_cpus") or "").split() if one.isdigit()
        )
        if hz is None or not cpus:
            continue
        found.append(
            Clock(
                f"CPU {cpus[0]}-{cpus[-1]}" if len(cpus) > 1 else f"CPU {cpus[0]}",
                hz,
                _from_khz(files, folder / "scaling_min_freq"),
                _from_khz(files, folder / "scaling_max_freq"),
                _from_khz(files, folder / "cpuinfo_max_freq"),
                files.text(folder / "scaling_governor"),
                cpus=cpus,
            )
        )
    return found


def memory_clock(files: SystemFiles) -> Clock | None:
    """Return the clock of the external memory (EMC), which only root may read."""
    hz = files.integer(f"{_EMC}/rate")
    if hz is None:
        return None
    highest = files.integer(f"{_EMC}/max_rate")
    return Clock("memory", hz, files.integer(f"{_EMC}/min_rate"), highest, highest)


def _from_khz(files: SystemFiles, path: Path) -> int | None:
    khz = files.integer(path)
    return None if khz is None else khz * 1000
