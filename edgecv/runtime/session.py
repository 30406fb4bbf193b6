"""A session: one model file, open on one backend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecv.bundle.reading import is_bundle
from edgecv.errors import InputError
from edgecv.spec import InputSpec, ModelSpec

Outputs = Mapping[str, NDArray[Any]]


class Session(Protocol):
    """What every backend offers; a batch goes in, the outputs by name come out."""

    @property
    def spec(self) -> ModelSpec:
        """The description that came with the file."""

    @property
    def backend(self) -> str:
        """Backend and device, such as `onnxruntime cpu`."""

    def run(
        self,
        batch: NDArray[Any],
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network.

        Args:
            batch: images in the layout, type and size of `spec.input`, see `input_shape`; at most
                as many as a fixed batch has.
            scalars: scalar inputs by name, such as the thresholds of a `fused` output.
            proposals: as `spec.proposals` describes them, None where it is None.

        Returns:
            The outputs by name, float16 as float32; they stay valid after the next call.

        """

    def warm_up(self) -> None:
        """Run once on an empty input, so that the first frame does not pay for set-up."""

    def close(self) -> None:
        """Give back the backend's memory; the session cannot be used afterwards."""


def input_shape(wanted: InputSpec) -> tuple[int, int, int]:
    """Return the shape of one image as the network takes it: (C, H, W), or (H, W, C) for `nhwc`."""
    channels = 1 if wanted.colour == "gray" else 3
    height, width = wanted.size_hw
    return (channels, height, width) if wanted.layout == "nchw" else (height, width, channels)


def no_proposals(spec: ModelSpec) -> NDArray[np.float32] | None:
    """Return proposals of one image that hold no region, None where there is no such input."""
    wanted = spec.proposals
    return None if wanted is None else np.zeros((1, wanted.count, 4), np.float32)


def filled(rows: NDArray[Any], batch_size: int | None) -> NDArray[Any]:
    """Return as many rows as a graph of a fixed batch takes: the last comes again.

    Args:
        rows: (B, ...), at least one.
        batch_size: of the graph, None where it takes any.

    """
    missing = 0 if batch_size is None else batch_size - len(rows)
    if missing <= 0:
        return rows
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])


def is_remote(path: Path | str) -> bool:
    """Tell whether a path is the address of a model server; a `Path` has lost one of its `/`."""
    return str(path).startswith("triton:/")


def open_session(path: Path | str, device: str = "auto", *, threads: int = 0) -> Session:
    """Open a model file on the backend that fits the file and the device.

    Args:
        path: an ONNX file with an edgecv description, or a bundle: of `b.edgecv` the entry that
            suits this machine best, of `b.edgecv#fp16` the one of that name. Or the model of a
            Triton Inference Server: `triton://host:8000/model`.
        device: `auto` (the fastest that is installed), `cpu` or `cuda`.
        threads: threads of one inference on the CPU, 0 for one per core.

    Raises:
        InputError: if the file is missing, of an unknown kind or damaged, nothing in a bundle runs
            here, or the device is not available; the message says what to install.
        SpecError: if the file carries no usable description.
        ServerError: if a server does not answer.

    """
    if is_remote(path):
        from edgecv.runtime.triton import TritonSession  # noqa: PLC0415  # slow to import

        return TritonSession(path, device, threads=threads)
    if is_bundle(path):
        from edgecv.runtime.bundled import open_bundle  # noqa: PLC0415  # slow to import

        return open_bundle(path, device, threads=threads)
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise InputError(
            f"`{path}`: a model file must end in `.onnx` or `.edgecv`, got `{path.suffix}`."
        )
    if not path.is_file():
        raise InputError(f"`{path}`: there is no such model file. Check the path.")

    from edgecv.runtime.onnxruntime import OnnxruntimeSession  # noqa: PLC0415  # slow to import

    return OnnxruntimeSession(path, device, threads=threads)
