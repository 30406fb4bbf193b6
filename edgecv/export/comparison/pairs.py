"""Opening two forms of a model so that they can be compared."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgecv.bundle.manifest import ModelEntry
from edgecv.bundle.reading import Bundle
from edgecv.errors import InputError
from edgecv.export.comparison.divergence import precision_of
from edgecv.export.graphs.model_file import read_onnx
from edgecv.precision import Precision
from edgecv.runtime.building import wait_for_engine
from edgecv.runtime.bundled import BundleSession
from edgecv.runtime.contenders import Contender
from edgecv.runtime.engine_record import EngineRecord, read_record, sha256_of
from edgecv.runtime.model import Model, load
from edgecv.runtime.session import is_remote
from edgecv.spec import ModelSpec

if TYPE_CHECKING:
    from edgecv.train.checkpoint import Trained

CHECKPOINT = ".pt"
ENGINE = ".engine"
ONNX = ".onnx"


class Opened:
    """An open model: a file, the entry of a bundle, a server's, a checkpoint, or an engine."""

    def __init__(self, path: Path, model: Model, trained: "Trained | None" = None) -> None:
        """Hold what `open_pair` opened."""
        self.path = path
        self.model = model
        self.trained = trained
        session = model.session
        self._entry = session.choice.entry if isinstance(session, BundleSession) else None

    @cached_property
    def record(self) -> EngineRecord | None:
        """How it was built, None of what is no engine."""
        is_engine = self.path.suffix.lower() == ENGINE and not is_remote(self.path)
        return read_record(self.path) if is_engine else None

    def is_made_of(self, other: "Opened") -> bool | None:
        """Tell whether this engine was built of the other's ONNX file, None if that cannot be."""
        is_onnx = other.path.suffix.lower() == ONNX and not is_remote(other.path)
        if self.record is None or not is_onnx:
            return None
        return self.record.onnx.sha256 == sha256_of(other.path)

    @property
    def has_graph(self) -> bool:
        """Whether its layers can be looked at."""
        is_file = self.path.suffix.lower() == ONNX and not is_remote(self.path)
        return self.trained is not None or is_file or isinstance(self._entry, ModelEntry)

    @property
    def precision(self) -> Precision:
        """What it computes with, by its description and by its graph where there is one."""
        declared = self.model.spec.provenance.precision
        if self._entry is not None:
            return self._entry.precision
        if self.trained is not None or not self.has_graph:
            return declared
        return precision_of(read_onnx(self.path), declared)

    @property
    def rounding(self) -> Precision:
        """The precision whose tolerance suits it: TF32 has as many digits as float16."""
        has_tf32 = self.record is not None and self.record.recipe.tf32
        return "fp16" if has_tf32 and self.precision == "fp32" else self.precision

    @property
    def num_bytes(self) -> int | None:
        """Of the file, with those that it keeps its weights in; None of a server's model."""
        if self._entry is not None:
            return self._entry.contents.size_bytes
        return None if is_remote(self.path) else _size_of(self.path)

    def graph_file(self, folder: Path) -> Path | None:
        """Return its ONNX file, that of a bundle unpacked into `folder`; None where it has none."""
        session = self.model.session
        if isinstance(session, BundleSession) and isinstance(self._entry, ModelEntry):
            with Bundle(session.bundle) as bundle:
                return bundle.extract(self._entry, folder)
        return self.path if self.has_graph and self.trained is None else None


def open_pair(
    reference: Path,
    candidate: Path,
    device: str = "auto",
    *,
    threads: int = 0,
    backends: tuple[Contender, Contender] = (Contender(), Contender()),
) -> tuple[Opened, Opened]:
    """Open two models so that they can be compared.

    A checkpoint ends in results where the other does, else in raw heads; thresholds are the
    reference's in both, where the candidate's are not fixed inside its graph.

    Args:
        reference: the one that is right.
        candidate: the one that is questioned; the same file is compared on two backends.
        device: see `edgecv.load`.
        threads: see `edgecv.load`.
        backends: that run the two; a checkpoint has its own.

    Raises:
        InputError: if a file cannot be opened, or the two have another task or other classes.

    """
    paths = (reference, candidate)
    loaded = [
        None
        if _is_checkpoint(path)
        else load(path, device, threads=threads, backend=one.backend, precision=one.precision)
        for path, one in zip(paths, backends, strict=True)
    ]
    for model in loaded:
        if model is not None:
            wait_for_engine(model.session)
    opened = []
    for path, own, other in zip(paths, loaded, reversed(loaded), strict=True):
        like = None if other is None else other.spec
        opened.append(_open_checkpoint(path, like) if own is None else Opened(path, own))
    left, right = (entry.model.spec for entry in opened)
    for key in ("task", "classes", "keypoints"):
        if getattr(left, key) != getattr(right, key):
            raise InputError(
                f"verify: the {key} of `{reference}` is {_shown(getattr(left, key))}, of "
                f"`{candidate}` {_shown(getattr(right, key))}. Compare models of one purpose."
            )
    return opened[0], opened[1]


def _size_of(path: Path) -> int:
    if path.suffix.lower() != ONNX:
        return path.stat().st_size
    model = onnx.load(path, load_external_data=False)
    names = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = [path, *(path.parent / name for name in names)]
    return sum(file.stat().st_size for file in files if file.is_file())


def _is_checkpoint(path: Path) -> bool:
    return path.suffix.lower() == CHECKPOINT


def _open_checkpoint(path: Path, like: ModelSpec | None) -> Opened:
    """Open a checkpoint so that it ends as a model of the description `like` does."""
    from edgecv.models.fused import torch_session  # noqa: PLC0415  # torch takes seconds to import
    from edgecv.train.checkpoint import load_trained  # noqa: PLC0415

    trained = load_trained(path)
    spec = trained.spec
    output = trained.network.fused_output()
    if like is not None and isinstance(like.output, type(output)):
        spec = replace(spec, output=output, postprocess=like.postprocess)
    return Opened(path, Model(torch_session(trained.network, spec)), trained)


def _shown(value: object) -> str:
    return f"{len(value)}: {', '.join(value)}" if isinstance(value, tuple) else str(value)
