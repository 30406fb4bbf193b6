"""What `edgecv doctor` says of a Jetson."""

from importlib.util import find_spec

from edgecv.board.clocks import Clock, cpu_clocks, gpu_clocks, memory_clock
from edgecv.board.files import SystemFiles
from edgecv.board.jetson import Jetson, find_jetson
from edgecv.board.meters import RailMeter
from edgecv.board.thermal import active_limits, current_alarms, thermal_zones, throttle_events
from edgecv.doctor import Finding

_INSTALL = "sudo apt install nvidia-jetpack"


def jetson_findings(files: SystemFiles | None = None) -> list[Finding]:
    """Return what is known of the Jetson that this is, nothing on another machine."""
    files = files or SystemFiles()
    jetson = find_jetson(files)
    if jetson is None:
        return []
    return [
        _board(jetson),
        _jetpack(jetson),
        _version("CUDA", jetson.cuda),
        _version("TensorRT", jetson.tensorrt),
        _bindings(),
        _power_mode(jetson),
        *_clocks(files),
        *_memory(files),
        *_temperatures(files),
        _throttling(files),
        _rails(files),
    ]


def _board(jetson: Jetson) -> Finding:
    chip = jetson.chip
    if jetson.architecture is not None:
        chip += f", sm_{jetson.architecture}"
    return Finding("board", is_present=True, detail=f"{jetson.model}: {jetson.module} ({chip})")


def _jetpack(jetson: Jetson) -> Finding:
    release = f"Jetson Linux {jetson.l4t}" if jetson.l4t else "release of Jetson Linux not known"
    major = jetson.jetpack_major
    if jetson.jetpack is None:
        of_major = f" (of JetPack {major})" if major else ""
        detail = f"{release}{of_major}, but its packages are not installed"
        return Finding("JetPack", is_present=False, detail=detail, remedy=_INSTALL)
    return Finding("JetPack", is_present=True, detail=f"{jetson.jetpack}, {release}")


def _version(name: str, version: str | None) -> Finding:
    if version is None:
        return Finding(name, is_present=False, detail="not installed", remedy=_INSTALL)
    return Finding(name, is_present=True, detail=version)


def _bindings() -> Finding:
    name = "TensorRT in this Python"
    if find_spec("tensorrt") is not None:
        return Finding(name, is_present=True, detail="ready")
    remedy = "sudo apt install python3-libnvinfer; python3 -m venv --system-site-packages .venv"
    return Finding(name, is_present=False, detail="no module `tensorrt`", remedy=remedy)


def _power_mode(jetson: Jetson) -> Finding:
    if jetson.power_mode is None:
        remedy = "sudo nvpmodel -q"
        return Finding("power mode", is_present=False, detail="not known", remedy=remedy)
    others = [str(mode) for mode in jetson.power_modes if mode != jetson.power_mode]
    detail = str(jetson.power_mode)
    if others:
        detail += f"; there are also {', '.join(others)}"
    return Finding("power mode", is_present=True, detail=detail)


def _clocks(files: SystemFiles) -> list[Finding]:
    gpu, cpu, memory = gpu_clocks(files), cpu_clocks(files), memory_clock(files)
    findings = [_clock(clock) for clock in (*gpu, *cpu)]
    if not gpu:
        remedy = "sudo jetson_clocks --show"
        findings.insert(0, Finding("GPU clock", is_present=False, detail="asleep", remedy=remedy))
    if memory is None:
        remedy = "sudo jetson_clocks --show"
        detail = "for root only"
        findings.append(Finding("memory clock", is_present=False, detail=detail, remedy=remedy))
    else:
        findings.append(_clock(memory))
    is_fixed = bool(gpu) and all(clock.is_fixed for clock in (*gpu, *cpu))
    detail = "for figures that repeat" if is_fixed else "they follow the load"
    remedy = "" if is_fixed else "sudo jetson_clocks (for figures that repeat)"
    findings.append(Finding("fixed clocks", is_fixed, detail, remedy))
    return findings


def _clock(clock: Clock) -> Finding:
    detail = f"{_mhz(clock.hz)} MHz"
    if clock.is_fixed:
        detail += ", fixed"
    elif clock.min_hz is not None and clock.max_hz is not None:
        detail += f", allowed {_mhz(clock.min_hz)} to {_mhz(clock.max_hz)}"
    if clock.highest_hz is not None and clock.max_hz is not None:
        below = clock.max_hz < clock.highest_hz
        detail += f", could go to {_mhz(clock.highest_hz)}" if below else ""
    if clock.governor:
        detail += f", governor {clock.governor}"
    return Finding(f"{clock.name} clock", is_present=True, detail=detail)


def _mhz(hz: int) -> str:
    return f"{hz / 1e6:.0f}"


def _memory(files: SystemFiles) -> list[Finding]:
    known = {}
    for line in (files.text("proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        amount = rest.split()
        if amount and amount[0].isdecimal():
            known[name] = int(amount[0]) / 2**20  # of KiB
    if not {"MemTotal", "MemAvailable"} <= known.keys():
        return []
    detail = (
        f"{known['MemTotal']:.1f} GiB shared by CPU and GPU, "
        f"{known['MemAvailable']:.1f} GiB available, {known.get('SwapTotal', 0.0):.1f} GiB swap"
    )
    return [Finding("memory", is_present=True, detail=detail)]


def _temperatures(files: SystemFiles) -> list[Finding]:
    zones = thermal_zones(files)
    if not zones:
        return []
    hottest = max(zones, key=lambda zone: zone.celsius)
    detail = f"{hottest.name} {hottest.celsius:.1f} °C, the hottest of {len(zones)}"
    if hottest.throttles_at is not None:
        detail += f", slows down at {hottest.throttles_at:.0f}"
    if hottest.stops_at is not None:
        detail += f", stops at {hottest.stops_at:.0f}"
    return [Finding("temperature", is_present=True, detail=detail)]


def _throttling(files: SystemFiles) -> Finding:
    """Say what slows the board now, and what has since it was started."""
    now = [f"limited by {name}" for name in active_limits(files)]
    now += [f"over-current alarm of {name}" for name in current_alarms(files)]
    events = [f"{name} {count}" for name, count in throttle_events(files).items() if count]
    if not now and not events:
        return Finding("full speed", is_present=True, detail="nothing slows it down")
    since = [f"events since the start: {', '.join(events)}"] if events else []
    remedy = "a stronger supply, better cooling or a lower power mode"
    return Finding("full speed", not now, "; ".join((*now, *since)), remedy)


def _rails(files: SystemFiles) -> Finding:
    meter = RailMeter(files)
    reading = meter.read() if meter.total_of else None
    if reading is None:
        detail = "its monitors cannot be read, so that `edgecv bench` measures no power"
        remedy = "pass /sys on to the container, or `pip install jetson-stats`"
        return Finding("power rails", is_present=False, detail=detail, remedy=remedy)
    total = sum(reading[rail] for rail in meter.total_of)
    listed = ", ".join(f"{rail} {watts:.1f} W" for rail, watts in reading.items())
    return Finding("power rails", is_present=True, detail=f"{total:.1f} W: {listed}")
