"""What is known of an engine file: the record beside it, and whether it fits this machine.

An engine is a program for one GPU and one version of TensorRT. `model.engine.json` says which, of
which ONNX file and how it was made, and holds the model's description, which an engine cannot.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgecv.bundle.machine import Gpu
from edgecv.engine_recipe import Recipe
from edgecv.errors import DeviceError, InputError, SpecError
from edgecv.records import from_plain, to_plain
from edgecv.spec import ModelSpec

SCHEMA = 1
_AMPERE = 8  # the first compute capability of `ampere+`
_CHUNK = 1 << 20


@dataclass(frozen=True)
class FileIdentity:
    """A file by name and content."""

    name: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileIdentity":
        """Return that of a file."""
        return cls(path.name, sha256_of(path))


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine.

    Args:
        name: as TensorRT has it, the fused nodes of the ONNX file joined.
        kind: TensorRT's name of what it is.
        nodes: of the ONNX file that it is made of, as far as TensorRT says.
        computes_in: `fp32`, `fp16`, `bf16`, `int8`, `fp8`, ... of what it reads, empty if unknown.
        time_ms: median of one call, None where it was not measured.

    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    computes_in: str
    time_ms: float | None = None


@dataclass(frozen=True)
class EngineRecord:
    """How an engine was made.

    Args:
        engine_sha256: of the engine file, which tells that record and engine belong together.
        onnx: the file that it was built from.
        tensorrt: the version that built it.
        gpu: the name of the GPU that it was built on.
        compute_capability: of that GPU, such as `8.7`.
        multiprocessors: of that GPU.
        plugins: the plugin library that it needs, None if it needs none.
        recipe: what it was built by.
        command: what builds it again.
        duration_s: of the build.
        built_at: UTC, as ISO 8601 has it.
        log: the warnings and errors of TensorRT, and notes of edgecv.
        layers: what the engine consists of.
        spec: the description of the model, None where the ONNX file has none.
        schema: of the record.

    """

    engine_sha256: str
    onnx: FileIdentity
    tensorrt: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    plugins: FileIdentity | None
    recipe: Recipe
    command: str
    duration_s: float
    built_at: str
    log: tuple[str, ...] = ()
    layers: tuple[EngineLayer, ...] = ()
    spec: ModelSpec | None = None
    schema: int = SCHEMA

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries, lists, strings and numbers."""
        plain: dict[str, Any] = to_plain(replace(self, spec=None))
        plain["spec"] = None if self.spec is None else json.loads(self.spec.to_json())
        return plain

    def to_json(self) -> str:
        """Return the text of the file beside the engine."""
        return json.dumps(self.to_plain(), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, path: Path) -> "EngineRecord":
        """Return what a file says.

        Raises:
            SpecError: if it is not what `to_json` writes, or of a newer schema.

        """
        try:
            plain = json.loads(text)
        except ValueError as error:
            raise SpecError(f"`{path}` is not JSON: {error}. Build the engine again.") from error
        if not isinstance(plain, Mapping) or plain.get("schema") != SCHEMA:
            raise SpecError(
                f"`{path}` must be a record of schema {SCHEMA}. Update edgecv, or build the "
                "engine again."
            )
        described = plain.get("spec")
        try:
            record = from_plain(cls, {**plain, "spec": None}, where="")
        except SpecError as error:
            raise SpecError(f"`{path}`: {error} Build the engine again.") from error
        if described is None:
            return record
        return replace(record, spec=ModelSpec.from_json(json.dumps(described)))


@dataclass(frozen=True)
class Host:
    """What an engine meets where it is loaded.

    Args:
        tensorrt: the version that is installed.
        gpu: on which it would run.
        plugins: the plugin library that is installed, None if none is.

    """

    tensorrt: str
    gpu: Gpu
    plugins: Path | None = None


def record_path(engine: Path) -> Path:
    """Return where the record of an engine lies."""
    return engine.with_name(f"{engine.name}.json")


def read_record(engine: Path) -> EngineRecord:
    """Return the record beside an engine.

    Raises:
        InputError: if there is none, or it is of another engine.
        SpecError: if it cannot be read.

    """
    path = record_path(engine)
    for wanted in (engine, path):
        if not wanted.is_file():
            raise InputError(
                f"`{wanted}`: there is no such file. An engine and its record `{path.name}` lie "
                "side by side: copy both, or build it with `edgecv build`."
            )
    record = EngineRecord.from_json(path.read_text(encoding="utf-8"), path=path)
    if sha256_of(engine) != record.engine_sha256:
        raise InputError(
            f"`{engine}` is not the engine that `{path.name}` describes: it was changed, or only "
            f"one of them was copied. Copy both, or build it again: `{record.command}`."
        )
    return record


def check_engine(engine: Path, host: Host) -> EngineRecord:
    """Return the record of an engine that fits this machine.

    Raises:
        InputError: if there is no record, or it is of another engine.
        SpecError: if the record cannot be read.
        DeviceError: naming everything about this machine that the engine was not built for, and
            the command that builds it anew.

    """
    record = read_record(engine)
    found = mismatches(record, host)
    if found:
        raise DeviceError(
            f"`{engine}` does not fit this machine: {'; '.join(found)}. "
            f"Build it here: `{record.command}`."
        )
    return record


def mismatches(record: EngineRecord, host: Host) -> list[str]:
    """Return what about a machine an engine was not built for, in words; empty if it fits."""
    found = []
    if not _fits_version(record, host.tensorrt):
        found.append(f"it was built with TensorRT {record.tensorrt}, and this is {host.tensorrt}")
    if not _fits_gpu(record, host.gpu):
        found.append(
            f"it was built for {_words(record.gpu, record.compute_capability)}, and this is "
            f"{_words(host.gpu.name, host.gpu.capability)}"
        )
    elif _is_smaller_sibling(record, host.gpu):
        found.append(
            f"it was tuned for {record.multiprocessors} multiprocessors of {record.gpu}, and this "
            f"board has {host.gpu.multiprocessors}"
        )
    if record.plugins is not None:
        if host.plugins is None:
            found.append(f"it needs the plugins of `{record.plugins.name}`, which are not here")
        elif sha256_of(host.plugins) != record.plugins.sha256:
            found.append(f"it was built with other plugins than those of `{host.plugins}`")
    return found


def sha256_of(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fits_version(record: EngineRecord, version: str) -> bool:
    if not record.recipe.version_compatible:
        return record.tensorrt == version
    built, here = _numbers(record.tensorrt), _numbers(version)
    return built[:1] == here[:1] and built <= here


def _fits_gpu(record: EngineRecord, gpu: Gpu) -> bool:
    if record.recipe.hardware_compatibility == "ampere+":
        return _numbers(gpu.capability) >= (_AMPERE,)
    return record.compute_capability == gpu.capability


def _is_smaller_sibling(record: EngineRecord, gpu: Gpu) -> bool:
    """Tell whether a GPU of the same architecture has fewer multiprocessors: an Orin Nano, an NX.

    TensorRT refuses such an engine, or runs kernels that were chosen for a larger GPU.
    """
    is_portable = record.recipe.hardware_compatibility != "none"
    return not is_portable and gpu.multiprocessors < record.multiprocessors


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _words(name: str, capability: str) -> str:
    return f"{name} (compute capability {capability})"
