"""The tensors inside an ONNX graph: their values on real images, and how far two sets are apart."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.export.graphs.fixed_shapes import with_shapes
from edgecv.export.graphs.model_file import read_onnx
from edgecv.export.inspection.macs import static_shape

Feeds = Mapping[str, NDArray[Any]]

UNKNOWN_BYTES = 2**20  # taken for a tensor whose size depends on the data
_ERRORS_ONLY = 3  # onnxruntime's severity scale: 2 warning, 3 error


@dataclass(frozen=True)
class TensorDifference:
    """How far a tensor is from the reference's, over all images looked at.

    Args:
        name: the tensor's, in the reference.
        absolute: largest |candidate - reference|.
        relative: `absolute` over the largest magnitude of the reference; infinite where one of
            them is not finite in another place than the other, or the shapes differ.
        snr_db: power of the reference over that of the difference, None where they are equal or
            it cannot be told.

    """

    name: str
    absolute: float
    relative: float
    snr_db: float | None


class Graph:
    """One of the two: a file, and what goes into it for each image."""

    def __init__(self, path: Path, feeds: Sequence[Feeds]) -> None:
        """Read the file; `feeds` hold the inputs by name, one entry an image."""
        self.path = path
        self.model = read_onnx(path)
        self.feeds = feeds
        self.nodes = {
            name: node
            for node in self.model.graph.node
            if node.op_type != "Constant"
            for name in node.output
            if name
        }

    @property
    def operators(self) -> list[str]:
        """The operators in the order of the file, without constants."""
        return [node.op_type for node in self.model.graph.node if node.op_type != "Constant"]

    def num_bytes(self) -> dict[str, int]:
        """Return what each tensor takes, an estimate where its size depends on the data."""
        sizes = {}
        for node in with_shapes(self.model).graph:
            for value in node.outputs:
                shape = static_shape(value)
                width = 4 if value.dtype is None else value.dtype.itemsize
                known = None if shape is None else math.ceil(math.prod(shape) * width)
                sizes[value.name or ""] = UNKNOWN_BYTES if known is None else known
        return sizes

    def values(self, names: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the values of some tensors, image by image."""
        probed = onnx.ModelProto()
        probed.CopyFrom(self.model)
        del probed.graph.output[:]
        probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = session_of(probed, self.path)
        for feeds in self.feeds:
            values = run_session(session, list(names), feeds, self.path)
            yield dict(zip(names, values, strict=True))


class Gathered:
    """The difference of one tensor, gathered over images."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.is_incomparable = False  # text, or a sequence
        self._absolute = self._magnitude = self._signal = self._noise = 0.0

    def add(self, wanted: NDArray[Any], found: NDArray[Any]) -> None:
        """Take in the values of one image."""
        tensors = (wanted, found)
        if not all(isinstance(one, np.ndarray) and one.dtype.kind in "biuf" for one in tensors):
            self.is_incomparable = True
            return
        if wanted.shape != found.shape:
            self._absolute = math.inf
            return
        left, right = wanted.astype(np.float64), found.astype(np.float64)
        is_same = (left == right) | (np.isnan(left) & np.isnan(right))
        with np.errstate(invalid="ignore"):
            difference = np.where(is_same, 0.0, np.abs(left - right))
        # NaN on one side alone: as far apart as can be.
        difference[np.isnan(difference)] = np.inf
        left = left[np.isfinite(left)]
        self._absolute = max(self._absolute, float(difference.max(initial=0.0)))
        self._magnitude = max(self._magnitude, float(np.abs(left).max(initial=0.0)))
        self._signal += float(np.square(left).sum())
        self._noise += float(np.square(difference).sum())

    def difference(self, name: str) -> TensorDifference:
        """Return how far the two are apart over what was taken in."""
        relative = 0.0 if self._absolute == 0 else self._absolute / max(self._magnitude, 1e-12)
        ratio = self._signal / self._noise if self._noise > 0 else 0.0
        snr_db = 10 * math.log10(ratio) if 0 < ratio < math.inf else None
        return TensorDifference(name, self._absolute, relative, snr_db)


def session_of(model: onnx.ModelProto, path: Path) -> onnxruntime.InferenceSession:
    """Open a graph as it stands: nothing fused, so that each tensor is what its node computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no public base class
        raise InputError(
            f"`{path}`: its layers cannot be looked at: {str(error).strip().splitlines()[0]}. "
            "Export it again."
        ) from error


def run_session(
    session: onnxruntime.InferenceSession, names: list[str] | None, feeds: Feeds, path: Path
) -> list[Any]:
    """Return the outputs of these names, all for None.

    Raises:
        InputError: if the graph fails on these inputs; the message names `path`.

    """
    try:
        return list(session.run(names, dict(feeds)))
    except Exception as error:  # onnxruntime's errors share no public base class
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"`{path}` does not run: {reason}. Export it again.") from error
