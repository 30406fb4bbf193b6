"""Adding to a bundle: under a lock, into a new file that takes the old one's place."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from edgecv.bundle.lock import locked
from edgecv.bundle.manifest import (
    MANIFEST_FILE,
    SUFFIX,
    CalibrationEntry,
    Contents,
    EngineEntry,
    Entry,
    Manifest,
    Measured,
    ModelEntry,
    common_spec,
    differences,
)
from edgecv.bundle.onnx_header import read_header
from edgecv.bundle.reading import Bundle
from edgecv.errors import InputError
from edgecv.files import replacing
from edgecv.precision import Precision
from edgecv.spec import ModelSpec

_OLDEST_DATE = (1980, 1, 1, 0, 0, 0)  # of a zip: the same contents give the same bytes
_PERMISSIONS = 0o100644 << 16  # a regular file, for whoever unpacks it with another tool
_ZIP64_BYTES = 1 << 31


@dataclass(frozen=True)
class Addition:
    """A file for a bundle, read and checked.

    Args:
        entry: what it is.
        content: its bytes.
        spec: the description that came with it, None where its kind carries none.

    """

    entry: Entry
    content: bytes
    spec: ModelSpec | None = None

    @property
    def precision(self) -> Precision | None:
        """What it computes with, None for a table."""
        return None if isinstance(self.entry, CalibrationEntry) else self.entry.precision


@dataclass(frozen=True)
class News:
    """What was measured of an entry that a bundle holds already.

    Args:
        name: the entry's.
        measured: what is new.

    """

    name: str
    measured: Measured


def read_model(
    path: Path, precision: Precision | None = None, measured: Measured | None = None
) -> Addition:
    """Read an ONNX file for a bundle.

    Args:
        path: the file, with a description and its weights inside.
        precision: what it computes with, None for what its description says.
        measured: what is known of it.

    Raises:
        InputError: if it is missing, no ONNX file, not whole, or onnxruntime cannot open it; a
            file that only TensorRT can run is not tried.
        SpecError: if it carries no usable description.

    """
    content = _read(path)
    header = read_header(content, path=path)
    if not header.plugins:
        from edgecv.runtime.onnxruntime import OnnxruntimeSession  # noqa: PLC0415  # slow to import

        OnnxruntimeSession(path, "cpu", content=content).close()
    chosen = precision or header.spec.provenance.precision
    entry = ModelEntry(chosen, contents_of(content), header.plugins, measured or Measured())
    return Addition(entry, content, header.spec)


def read_engine(
    path: Path,
    precision: Precision,
    *,
    gpu: str,
    capability: str,
    tensorrt: str,
    measured: Measured | None = None,
) -> Addition:
    """Read a TensorRT engine for a bundle.

    Args:
        path: the file.
        precision: see `EngineEntry`, as the three below.
        gpu: where it was built.
        capability: of that GPU.
        tensorrt: the version that built it.
        measured: what is known of it.

    Raises:
        InputError: if the file is missing or empty.
        SpecError: if the versions are none.

    """
    content = _read(path)
    contents = contents_of(content)
    entry = EngineEntry(gpu, capability, tensorrt, precision, contents, measured or Measured())
    return Addition(entry, content)


def read_calibration(path: Path) -> Addition:
    """Read a calibration table for a bundle.

    Raises:
        InputError: if the file is missing or holds no JSON object.

    """
    content = _read(path)
    try:
        is_object = isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise InputError(f"`{path}` is no calibration table: it must hold a JSON object.")
    return Addition(CalibrationEntry(contents_of(content)), content)


def contents_of(content: bytes) -> Contents:
    """Return length and checksum of a member."""
    return Contents(len(content), hashlib.sha256(content).hexdigest())


def add(
    path: Path | str,
    *additions: Addition | News,
    replace_existing: bool = False,
    timeout_s: float = 60.0,
) -> Manifest:
    """Add to a bundle, or make a new one: all of it or nothing.

    Processes that add at the same time wait for one another, and none undoes what another did.
    The order in which things were added does not show in the file.

    Args:
        path: the bundle, which must end in `.edgecv`.
        additions: what to add. A file that is there already, byte for byte, is left alone, and
            what is known of it grows.
        replace_existing: let a file take the place of another of its name.
        timeout_s: how long to wait for others.

    Returns:
        The manifest afterwards.

    Raises:
        InputError: if the bundle is damaged, an addition belongs to another model or would replace
            another, or a new bundle would hold no ONNX file.
        OutputError: if the file cannot be written, or another process holds on to it.

    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"`{path}`: a bundle must end in `{SUFFIX}`, got `{path.suffix}`.")
    with locked(path, timeout_s=timeout_s), ExitStack() as stack:
        for orphan in path.parent.glob(f".{path.stem}.partial-*{path.suffix}"):
            orphan.unlink(missing_ok=True)  # of a writer that was killed: the lock is ours
        old = stack.enter_context(Bundle(path)) if path.exists() else None
        before = None if old is None else old.manifest
        manifest = before
        fresh: dict[str, bytes] = {}
        # Models first: a new bundle's description comes from one.
        for addition in sorted(additions, key=lambda each: not _is_model(each)):
            if isinstance(addition, News):
                manifest = _with_news(path, manifest, addition)
            else:
                manifest = _joined(path, manifest, addition, replace_existing=replace_existing)
                fresh[addition.entry.file] = addition.content
        if manifest is None:
            raise InputError(f"`{path}` would be empty. Name an ONNX file to begin with.")
        if manifest != before:
            _write(path, manifest, old, fresh)
    return manifest


def _is_model(addition: Addition | News) -> bool:
    return isinstance(addition, Addition) and isinstance(addition.entry, ModelEntry)


def _with_news(path: Path, manifest: Manifest | None, news: News) -> Manifest:
    if manifest is None:
        raise InputError(f"`{path}`: there is no such bundle. Name an ONNX file to begin with.")
    entry = manifest.entry(news.name)
    if isinstance(entry, CalibrationEntry):
        raise InputError(f"`{news.name}` is no model, and nothing can be measured of it.")
    return manifest.with_entry(replace(entry, measured=entry.measured.updated(news.measured)))


def _joined(
    path: Path, manifest: Manifest | None, addition: Addition, *, replace_existing: bool
) -> Manifest:
    entry = addition.entry
    if manifest is None:
        if addition.spec is None or not isinstance(entry, ModelEntry):
            raise InputError(f"`{path}` is new, and a bundle begins with an ONNX file. Name one.")
        return Manifest(common_spec(addition.spec), (entry,))
    if addition.spec is not None:
        found = differences(manifest.spec, common_spec(addition.spec))
        if found:
            raise InputError(
                f"`{path}` is the bundle of another model; in it and in the file: "
                f"{'; '.join(found)}. Make a bundle of its own."
            )
    old = next((each for each in manifest.entries if each.name == entry.name), None)
    if old is not None and old.contents == entry.contents:
        if isinstance(old, CalibrationEntry) or isinstance(entry, CalibrationEntry):
            return manifest
        return manifest.with_entry(replace(old, measured=old.measured.updated(entry.measured)))
    if old is not None and not replace_existing:
        raise InputError(
            f"`{path}` holds another `{entry.name}` already. Let the new one take its place with "
            "`--replace`."
        )
    return manifest.with_entry(entry)


def _write(path: Path, manifest: Manifest, old: Bundle | None, fresh: Mapping[str, bytes]) -> None:
    """Write the archive; what is not `fresh` comes from `old`, checked on the way."""
    with (
        replacing(path) as partial,
        zipfile.ZipFile(partial, "w", compression=zipfile.ZIP_STORED) as archive,
    ):
        archive.writestr(_member(MANIFEST_FILE), manifest.to_json())
        for entry in manifest.entries:
            is_large = entry.contents.size_bytes >= _ZIP64_BYTES
            with archive.open(_member(entry.file), "w", force_zip64=is_large) as target:
                if entry.file in fresh:
                    target.write(fresh[entry.file])
                elif old is not None:
                    old.copy(entry, target)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _OLDEST_DATE)
    info.compress_type = zipfile.ZIP_STORED
    info.create_system = 3  # Unix, wherever it was written
    info.external_attr = _PERMISSIONS
    return info


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"`{path}` cannot be read: {reason}. Check the path.") from error
    if not content:
        raise InputError(f"`{path}` is empty. Make it again.")
    return content
