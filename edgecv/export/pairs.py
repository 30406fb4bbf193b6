"""Opening two forms of a model so that they can be compared."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from edgecv.errors import InputError
from edgecv.export.divergence import precision_of
from edgecv.export.model_file import read_onnx
from edgecv.precision import Precision
from edgecv.runtime.model import Model, load
from edgecv.spec import ModelSpec

if TYPE_CHECKING:
    from edgecv.train.checkpoint import Trained

CHECKPOINT = ".pt"
ONNX = ".onnx"


class Opened:
    """A model file that is open: an ONNX file, or a checkpoint in PyTorch."""

    def __init__(self, path: Path, model: Model, trained: "Trained | None" = None) -> None:
        """Hold what `open_pair` opened."""
        self.path = path
        self.model = model
        self.trained = trained

    @property
    def has_graph(self) -> bool:
        """Whether its layers can be looked at."""
        return self.trained is not None or self.path.suffix.lower() == ONNX

    @property
    def precision(self) -> Precision:
        """What it computes with, by its description and by its graph where there is one."""
        declared = self.model.spec.provenance.precision
        if self.path.suffix.lower() != ONNX:
            return declared
        return precision_of(read_onnx(self.path), declared)


def open_pair(
    reference: Path, candidate: Path, device: str = "auto", *, threads: int = 0
) -> tuple[Opened, Opened]:
    """Open two models so that they can be compared.

    A checkpoint ends in results where the other does, else in raw heads; thresholds are the
    reference's in both, where the candidate's are not fixed inside its graph.

    Raises:
        InputError: if a file cannot be opened, or the two have another task or other classes.

    """
    others = {
        path: None if _is_checkpoint(path) else load(path, device, threads=threads)
        for path in (reference, candidate)
    }
    opened = []
    for path, other in ((reference, others[candidate]), (candidate, others[reference])):
        own = others[path]
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


def size_of(path: Path) -> int:
    """Return the bytes of a model file, with the files that an ONNX file keeps its weights in."""
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
