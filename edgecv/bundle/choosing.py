"""Which entry of a bundle a machine runs, and why not the others.

A lower precision is taken by itself only where something speaks for it: it was measured to lose no
more accuracy than was allowed, or to be faster on this very processor. fp32 needs no argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from edgecv.bundle.machine import Machine
from edgecv.bundle.manifest import (
    EngineEntry,
    Latency,
    Manifest,
    ModelEntry,
    Runnable,
)
from edgecv.errors import InputError
from edgecv.precision import Precision

TENSORRT = "tensorrt"


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Args:
        entry: the file to open.
        backend: what opens it, one of `Machine.backends`.
        reason: why this one.
        passed_over: why not each of the others, by name.

    """

    entry: Runnable
    backend: str
    reason: str
    passed_over: Mapping[str, str] = field(default_factory=dict)


class _Standing(IntEnum):
    """How far an entry comes by itself."""

    IMPOSSIBLE = 0
    LAST_RESORT = 1  # it runs, and nothing speaks for it
    REFERENCE = 2  # fp32
    PREFERRED = 3
    BUILT_FOR_THIS = 4  # an engine


# Of entries of equal standing the one whose precision comes first. Without an argument for it, fp16
# is the safer one; with one, 8 bits gain more. The file for TensorRT is slow everywhere else.
_SAFEST: tuple[Precision, ...] = ("fp32", "fp16", "int8-cpu", "int8-tensorrt")
_FASTEST: tuple[Precision, ...] = ("int8-tensorrt", "int8-cpu", "fp16", "fp32")

# What holds of a precision outside of TensorRT whatever was measured.
_WITHOUT_FIGURES: dict[Precision, tuple[_Standing, str]] = {
    "fp32": (_Standing.REFERENCE, "fp32 runs everywhere and loses nothing"),
    "int8-tensorrt": (
        _Standing.LAST_RESORT,
        "its signed 8 bits are for TensorRT, and slow without it",
    ),
}


@dataclass(frozen=True)
class _Verdict:
    entry: Runnable
    backend: str
    standing: _Standing
    why: str

    def rank(self, latency_ms: float | None) -> tuple[int, float, int]:
        """Return the key by which verdicts are sorted, the best first."""
        if self.standing < _Standing.PREFERRED:  # nothing speaks for it: speed does not either
            return -self.standing, 0.0, _SAFEST.index(self.entry.precision)
        speed = 0.0 if latency_ms is None else latency_ms
        return -self.standing, speed, _FASTEST.index(self.entry.precision)


def choose(
    manifest: Manifest, machine: Machine, device: str = "auto", name: str | None = None
) -> Choice:
    """Choose what to run of a bundle.

    Args:
        manifest: what the bundle holds.
        machine: where it shall run.
        device: `auto`, `cpu` or `cuda`.
        name: the entry that the caller insists on, None for the best.

    Raises:
        InputError: if the machine has no such device, there is no such entry, or none can run; the
            message says why.

    """
    backends = _backends_on(machine, device)
    judge = _Judge(manifest, machine, backends, is_cpu=device == "cpu")
    if name is not None:
        entry = manifest.entry(name)
        if not isinstance(entry, ModelEntry | EngineEntry):
            known = ", ".join(each.name for each in manifest.runnable)
            raise InputError(f"`{name}` is no model. Choose one of {known}.")
        verdict = judge.verdict(entry)
        if verdict.standing == _Standing.IMPOSSIBLE:
            raise InputError(
                f"`{name}` cannot run here: {verdict.why}. Leave the name out, and the best entry "
                "that can is taken."
            )
        return Choice(entry, verdict.backend, "asked for by name")
    verdicts = judge.ranked()
    best, others = verdicts[0], verdicts[1:]
    if best.standing == _Standing.IMPOSSIBLE:
        reasons = "; ".join(f"{each.entry.name}: {each.why}" for each in verdicts)
        raise InputError(
            f"nothing in the bundle can run here. {reasons}. "
            "Add a file that can with `edgecv bundle add`."
        )
    reason = best.why
    if best.standing == _Standing.LAST_RESORT:
        reason = f"nothing better can run here ({best.why})"
    return Choice(
        best.entry,
        best.backend,
        reason,
        {
            each.entry.name: f"{best.entry.name} is the better choice"
            if each.standing >= _Standing.REFERENCE
            else each.why
            for each in others
        },
    )


def _backends_on(machine: Machine, device: str) -> tuple[str, ...]:
    """Return the machine's backends that run on the device."""
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"`device` must be one of auto, cpu, cuda, got {device!r}.")
    if device == "auto":
        return machine.backends
    is_cpu = device == "cpu"
    found = tuple(each for each in machine.backends if each.endswith(" cpu") == is_cpu)
    if not found:
        raise InputError(
            f"`device` is {device!r}, but this machine offers only {', '.join(machine.backends)}. "
            "Install the GPU build: `pip uninstall onnxruntime; pip install onnxruntime-gpu`."
        )
    return found


class _Judge:
    """What speaks for and against each entry on one machine."""

    def __init__(
        self, manifest: Manifest, machine: Machine, backends: tuple[str, ...], *, is_cpu: bool
    ) -> None:
        self._manifest = manifest
        self._machine = machine
        self._has_tensorrt = TENSORRT in backends
        self._is_cpu = is_cpu
        self._onnx_backend = next((each for each in backends if each != TENSORRT), None)
        self._reference = next(
            (entry for entry in manifest.models if entry.precision == "fp32"), None
        )

    def ranked(self) -> list[_Verdict]:
        """Return the verdicts of all entries, the best first."""
        verdicts = [self.verdict(entry) for entry in self._manifest.runnable]
        top = max(verdict.standing for verdict in verdicts)
        rivals = [each.entry for each in verdicts if each.standing == top]
        latencies = {entry.name: self._latencies(entry) for entry in rivals}
        # Speeds decide among the best only where all were measured in the same way.
        common = set.intersection(*(set(found) for found in latencies.values()))
        setting = min(common) if common else None
        return sorted(
            verdicts,
            key=lambda each: each.rank(
                latencies[each.entry.name][setting]
                if setting is not None and each.entry.name in latencies
                else None
            ),
        )

    def verdict(self, entry: Runnable) -> _Verdict:
        """Return what is to be said of one entry."""
        if isinstance(entry, EngineEntry):
            standing, why = self._of_engine(entry)
            return _Verdict(entry, TENSORRT, standing, why)
        if self._onnx_backend is None:
            return _Verdict(entry, "", _Standing.IMPOSSIBLE, "there is no backend for ONNX files")
        if entry.plugins:
            why = f"it needs TensorRT and edgecv's plugin of {', '.join(entry.plugins)}"
            return _Verdict(entry, "", _Standing.IMPOSSIBLE, why)
        standing, why = self._of_model(entry, self._onnx_backend)
        return _Verdict(entry, self._onnx_backend, standing, why)

    def _of_engine(self, engine: EngineEntry) -> tuple[_Standing, str]:
        if mismatch := self._mismatch(engine):
            return _Standing.IMPOSSIBLE, mismatch
        kept, told = self._accuracy(engine)
        if kept is False:
            return _Standing.LAST_RESORT, told
        if kept is None and engine.precision.startswith("int8"):
            return _Standing.LAST_RESORT, f"{told}, and 8 bits may cost some"
        return _Standing.BUILT_FOR_THIS, f"it was built for this {engine.gpu}"

    def _mismatch(self, engine: EngineEntry) -> str:
        """Return why an engine cannot be loaded, empty if it can."""
        gpu = self._machine.gpu
        if self._is_cpu or gpu is None:
            return f"it was built for {engine.gpu}, and there is no GPU in use here"
        built, here = engine.capability, gpu.capability
        obstacles = {
            f"it was built for {engine.gpu}, and this is {gpu.name}": engine.gpu != gpu.name,
            f"it was built for compute capability {built}, and this GPU has {here}": built != here,
            f"it was built with TensorRT {engine.tensorrt}, and here is "
            f"{gpu.tensorrt or 'none'}": engine.tensorrt != gpu.tensorrt,
            "it fits this GPU, but there is no backend for engines here": not self._has_tensorrt,
        }
        return next((why for why, stands in obstacles.items() if stands), "")

    def _of_model(self, entry: ModelEntry, backend: str) -> tuple[_Standing, str]:
        if entry.precision in _WITHOUT_FIGURES:
            return _WITHOUT_FIGURES[entry.precision]
        kept, accuracy = self._accuracy(entry)
        is_faster, speed = self._speed(entry)
        if kept is False or is_faster is False:
            return _Standing.LAST_RESORT, accuracy if kept is False else speed
        is_cpu = backend.endswith(" cpu")
        is_expected, expectation = self._expectation(entry.precision, is_cpu=is_cpu)
        is_preferred = {
            ("fp16", True): is_faster,
            ("fp16", False): True,
            # Without the instructions it is not the speed alone that suffers.
            ("int8-cpu", True): is_expected and (kept or is_faster),
            ("int8-cpu", False): False,
        }[entry.precision, is_cpu]
        if is_preferred:
            known = ((expectation, is_expected), (accuracy, kept), (speed, is_faster))
            return _Standing.PREFERRED, "; ".join(text for text, holds in known if holds)
        return _Standing.LAST_RESORT, f"{accuracy}, and {speed}" if is_expected else expectation

    def _expectation(self, precision: Precision, *, is_cpu: bool) -> tuple[bool, str]:
        """Return whether a lower precision should be faster here, and why."""
        if precision == "fp16":
            if is_cpu:
                return False, "a CPU gains nothing from fp16 as a rule, and was not measured to"
            return True, "a GPU computes fp16 faster than fp32"
        if not is_cpu:
            return False, "onnxruntime gains nothing from 8 bits on a GPU"
        if self._machine.int8_instructions:
            return True, f"this CPU has {self._machine.int8_instructions}"
        return False, "this CPU has no 8-bit dot products: slow, and its sums overflow"

    def _accuracy(self, entry: Runnable) -> tuple[bool | None, str]:
        """Return whether the drop is within its limit, None where that is not known; and why."""
        own = entry.measured.accuracy
        base = None if self._reference is None else self._reference.measured.accuracy
        if own is None or base is None:
            whose = "its" if own is None else "fp32's"
            return None, f"{whose} accuracy was not measured"
        if (own.metric, own.data, own.split) != (base.metric, base.data, base.split):
            return None, (
                f"its accuracy ({own.metric} on {own.data} {own.split}) was measured otherwise "
                f"than fp32's ({base.metric} on {base.data} {base.split})"
            )
        drop, most = base.value - own.value, entry.measured.max_drop
        told = f"its {own.metric} of {own.value:.3f} is {abs(drop):.3f} "
        told += f"{'below' if drop > 0 else 'above'} fp32's"
        if most is None:
            return None, f"{told}, and no limit was set"
        return drop <= most, f"{told}, {'within' if drop <= most else 'beyond'} the limit {most:g}"

    def _speed(self, entry: Runnable) -> tuple[bool | None, str]:
        """Return whether it was measured here to be faster than fp32, None where it was not."""
        own = self._latencies(entry)
        base = {} if self._reference is None else self._latencies(self._reference)
        common = sorted(own.keys() & base.keys())
        if not common:
            return None, "its speed was not measured on this processor"
        ours, theirs = own[common[0]], base[common[0]]  # 0, one thread per core, comes first
        compared = "faster" if ours < theirs else "not faster"
        told = f"it was measured {compared} here, {ours:.1f} ms against {theirs:.1f} ms of fp32"
        return ours < theirs, told

    def _latencies(self, entry: Runnable) -> dict[int, float]:
        """Return the milliseconds on this processor by number of threads."""
        gpu = self._machine.gpu
        is_engine = isinstance(entry, EngineEntry)
        backend = TENSORRT if is_engine else self._onnx_backend
        is_cpu = backend is not None and backend.endswith(" cpu")
        processor = self._machine.cpu if is_cpu else (None if gpu is None else gpu.name)

        def is_here(latency: Latency) -> bool:
            return latency.processor == processor and latency.backend == backend

        found = entry.measured.latencies
        return {latency.threads: latency.median_ms for latency in found if is_here(latency)}
