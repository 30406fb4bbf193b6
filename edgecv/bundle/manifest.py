"""The manifest of a bundle: what it holds, what was measured of it, and the checksums.

The names of the members follow from what they are, and are written nowhere: an archive cannot
make up a path.
"""

import json
import re
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import quote_plus

from edgecv.errors import InputError, SpecError
from edgecv.metrics.accuracy import Accuracy
from edgecv.precision import PRECISIONS, Precision
from edgecv.records import from_plain, require, to_plain
from edgecv.spec import ModelSpec, Provenance

SUFFIX = ".edgecv"
MANIFEST_FILE = "manifest.json"
CALIBRATION = "calibration"
SCHEMA = 1


@dataclass(frozen=True)
class Contents:
    """What a member must be, byte by byte.

    Args:
        size_bytes: its length.
        sha256: its SHA-256, 64 hexadecimal digits.

    """

    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what is no length and no checksum."""
        require(self.size_bytes >= 1, "size_bytes", "be at least 1", self.size_bytes)
        is_digest = re.fullmatch("[0-9a-f]{64}", self.sha256) is not None
        require(is_digest, "sha256", "be 64 lower-case hexadecimal digits", self.sha256)


@dataclass(frozen=True)
class Latency:
    """How fast the network alone was on one machine.

    Args:
        processor: the CPU as `edgecv.provenance.cpu_name` gives it, or the GPU's name.
        backend: such as `onnxruntime cpu`.
        threads: of one inference, 0 for one per core.
        median_ms: milliseconds a call.

    """

    processor: str
    backend: str
    threads: int
    median_ms: float

    def __post_init__(self) -> None:
        """Refuse what no clock shows."""
        require(self.threads >= 0, "latency.threads", "be 0 or more", self.threads)
        require(self.median_ms > 0, "latency.median_ms", "be positive", self.median_ms)

    @property
    def setting(self) -> tuple[str, str, int]:
        """What must be the same for two latencies to be compared."""
        return self.processor, self.backend, self.threads


@dataclass(frozen=True)
class Measured:
    """What is known of an entry.

    Args:
        accuracy: of its results, None if nobody measured it.
        max_drop: how far `accuracy` may lie below that of fp32, None for no limit.
        latencies: one for each processor, backend and number of threads.

    """

    accuracy: Accuracy | None = None
    max_drop: float | None = None
    latencies: tuple[Latency, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a negative limit and a setting that was measured twice."""
        is_limit = self.max_drop is None or self.max_drop >= 0
        require(is_limit, "max_drop", "be 0 or more", self.max_drop)
        settings = [latency.setting for latency in self.latencies]
        rule = "hold each processor, backend and number of threads once"
        require(len(set(settings)) == len(settings), "latencies", rule, settings)

    def updated(self, newer: "Measured") -> "Measured":
        """Return what is known after `newer` was measured too; the newer figure wins."""
        latencies = {each.setting: each for each in (*self.latencies, *newer.latencies)}
        return Measured(
            accuracy=newer.accuracy or self.accuracy,
            max_drop=self.max_drop if newer.max_drop is None else newer.max_drop,
            latencies=tuple(latencies[setting] for setting in sorted(latencies)),
        )


@dataclass(frozen=True)
class ModelEntry:
    """An ONNX file.

    Args:
        precision: what it computes with.
        contents: the file.
        plugins: operators of domain `edgecv` that it has no function body for: only TensorRT with
            edgecv's plugins runs it.
        measured: what is known of it.

    """

    precision: Precision
    contents: Contents
    plugins: tuple[str, ...] = ()
    measured: Measured = field(default_factory=Measured)

    @property
    def name(self) -> str:
        """What a user calls it."""
        return self.precision

    @property
    def file(self) -> str:
        """The member that holds it."""
        return f"{self.name}.onnx"


@dataclass(frozen=True)
class EngineEntry:
    """A TensorRT engine, which runs on the kind of GPU and the version that built it.

    Args:
        gpu: the GPU's name as CUDA gives it.
        capability: its compute capability, such as `8.7`.
        tensorrt: TensorRT's version, such as `10.3.0`.
        precision: of the ONNX file that it was built from.
        contents: the file.
        measured: what is known of it.

    """

    gpu: str
    capability: str
    tensorrt: str
    precision: Precision
    contents: Contents
    measured: Measured = field(default_factory=Measured)

    def __post_init__(self) -> None:
        """Refuse versions that are none."""
        require(bool(self.gpu.strip()), "engine.gpu", "be the GPU's name", self.gpu)
        is_capability = re.fullmatch(r"[0-9]{1,3}\.[0-9]", self.capability) is not None
        require(is_capability, "engine.capability", "be like 8.7", self.capability)
        is_version = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}){1,3}", self.tensorrt) is not None
        require(is_version, "engine.tensorrt", "be like 10.3.0", self.tensorrt)

    @property
    def name(self) -> str:
        """What a user calls it: the GPU, its architecture, TensorRT's version, the precision."""
        # quote_plus turns no two names into one and leaves no separator of folders.
        architecture = f"sm{self.capability.replace('.', '')}"
        return f"{quote_plus(self.gpu)}-{architecture}-trt{self.tensorrt}-{self.precision}"

    @property
    def file(self) -> str:
        """The member that holds it."""
        return f"{self.name}.engine"


@dataclass(frozen=True)
class CalibrationEntry:
    """The calibration table: the ranges that the 8-bit files were made with, as JSON.

    Args:
        contents: the file.

    """

    contents: Contents

    @property
    def name(self) -> str:
        """What a user calls it."""
        return CALIBRATION

    @property
    def file(self) -> str:
        """The member that holds it."""
        return f"{CALIBRATION}.json"


Runnable: TypeAlias = ModelEntry | EngineEntry
Entry: TypeAlias = ModelEntry | EngineEntry | CalibrationEntry


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds.

    Args:
        spec: what all its files have in common, see `common_spec`.
        models: at most one a precision, in the order of `PRECISIONS`.
        engines: at most one for each GPU, capability, TensorRT version and precision, by name.
        calibration: the table, None if there is none.

    """

    spec: ModelSpec
    models: tuple[ModelEntry, ...] = ()
    engines: tuple[EngineEntry, ...] = ()
    calibration: CalibrationEntry | None = None

    def __post_init__(self) -> None:
        """Refuse entries of one name, and a bundle of no model."""
        require(bool(self.models), "models", "hold at least one ONNX file", [])
        names = [entry.name for entry in self.entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, "models", "hold each entry once", twice)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that it holds."""
        table = () if self.calibration is None else (self.calibration,)
        return (*self.runnable, *table)

    @property
    def runnable(self) -> tuple[Runnable, ...]:
        """The models and engines."""
        return (*self.models, *self.engines)

    @property
    def speaks_of_gpus(self) -> bool:
        """Whether a GPU's name and version can change what is to be done with it."""
        latencies = [each for entry in self.models for each in entry.measured.latencies]
        return bool(self.engines) or any(not each.backend.endswith(" cpu") for each in latencies)

    def entry(self, name: str) -> Entry:
        """Return the entry of a name.

        Raises:
            InputError: if there is none.

        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.entries)
        raise InputError(f"the bundle has no entry `{name}`. It has: {known}.")

    def with_entry(self, entry: Entry) -> "Manifest":
        """Return the manifest with one more entry, in the place of an older one of its name."""
        if isinstance(entry, CalibrationEntry):
            return replace(self, calibration=entry)
        if isinstance(entry, EngineEntry):
            engines = {each.name: each for each in (*self.engines, entry)}
            return replace(self, engines=tuple(engines[name] for name in sorted(engines)))
        models = {each.precision: each for each in (*self.models, entry)}
        present = [models[precision] for precision in PRECISIONS if precision in models]
        return replace(self, models=tuple(present))

    def to_json(self) -> str:
        """Return the manifest as JSON text; the same manifest always gives the same text."""
        plain = {"schema": SCHEMA, **to_plain(self), "spec": json.loads(self.spec.to_json())}
        return json.dumps(plain, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Return the manifest that `text` holds.

        Raises:
            SpecError: if it is not JSON, of a newer schema, has unknown or missing keys, or
                contradicts itself.

        """
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"its manifest is not JSON: {error}. Copy it again.") from error
        if not isinstance(plain, dict):
            raise SpecError("its manifest is not a JSON object. Copy it again.")
        schema = plain.pop("schema", None)
        if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
            raise SpecError(
                f"its `schema` is {schema}, this edgecv reads up to {SCHEMA}. "
                "Update it with `pip install --upgrade edgecv`."
            )
        require(schema == SCHEMA and schema is not True, "schema", f"be {SCHEMA}", schema)
        spec = ModelSpec.from_json(json.dumps(plain.pop("spec", None)))
        entries: _Entries = from_plain(_Entries, plain, where="manifest")
        return cls(spec, entries.models, entries.engines, entries.calibration)


@dataclass(frozen=True)
class _Entries:
    """The manifest's keys besides `schema` and `spec`, which have a reader of their own."""

    models: tuple[ModelEntry, ...]
    engines: tuple[EngineEntry, ...]
    calibration: CalibrationEntry | None


def common_spec(spec: ModelSpec) -> ModelSpec:
    """Return what the files of one bundle share: all but where they came from and their floats."""
    dtype = "float32" if spec.input.dtype == "float16" else spec.input.dtype
    return replace(spec, input=replace(spec.input, dtype=dtype), provenance=Provenance())


def differences(left: object, right: object, where: str = "") -> list[str]:
    """Return where two records differ, as `classes[1]: 'cat' and 'dog'`."""
    left, right = to_plain(left), to_plain(right)
    found: list[str] = []
    if isinstance(left, dict) and isinstance(right, dict):
        for key in dict.fromkeys((*left, *right)):
            place = f"{where}.{key}" if where else key
            found += differences(left.get(key), right.get(key), place)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (ours, theirs) in enumerate(zip(left, right, strict=True)):
            found += differences(ours, theirs, f"{where}[{index}]")
    elif left != right:
        found.append(f"{where}: {left!r} and {right!r}")
    return found
