"""A session: one model file, open on one backend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgecv.bundle.reading import is_bundle
from edgecv.errors import InputError, MissingDependencyError
from edgecv.frame_formats import ColourMatrix, ColourRange, FrameFormat, Pixels
from edgecv.output_spec import ObjectsOutput
from edgecv.placement import Placement
from edgecv.spec import InputSpec, ModelSpec

Outputs = Mapping[str, NDArray[Any]]
Batch: TypeAlias = Any  # an array of images, or a frame that a `FrameSession` has staged

Backend = Literal["auto", "onnxruntime", "onnxruntime-tensorrt", "openvino", "tensorrt", "torch"]
ComputePrecision = Literal["fp32", "fp16", "bf16"]
TorchPrecision = Literal["fp32", "fp16"]
Hint = Literal["latency", "throughput"]

CHECKPOINT = ".pt"
ENGINE = ".engine"

MAX_BATCH = 16  # images at once: beyond, no device gains, and memory grows on


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


@runtime_checkable
class FrameSession(Session, Protocol):
    """A session that fits frames itself, where its network runs, and answers later.

    Its outputs are on their way when `run` returns: who looks at one waits for all of them.
    """

    @property
    def frame_formats(self) -> tuple[FrameFormat, ...]:
        """What `stage` takes; frames of other formats are fitted first, and run as an array."""

    def stage(
        self,
        frame: Pixels,
        *,
        format: FrameFormat,  # noqa: A002
        matrix: ColourMatrix,
        range: ColourRange,  # noqa: A002
    ) -> tuple[Batch, Placement]:
        """Start the upload of a frame, which may be changed as soon as this returns.

        Returns:
            What `run` takes in place of an array, by itself or several in a list; and where the
            frame will lie in the network's input.

        """

    def run(
        self,
        batch: Batch,
        scalars: Mapping[str, float] | None = None,
        proposals: NDArray[np.float32] | None = None,
    ) -> Outputs:
        """Run the network on an array or on staged frames, see `Session.run`."""


@runtime_checkable
class DeferringSession(Session, Protocol):
    """A session whose outputs may be on their way when `run` returns.

    Until one of them was looked at, the batch may still be read, and must not be changed.
    """

    @property
    def num_requests(self) -> int:
        """How many calls of `run` it works on at the same time."""

    @property
    def answers_later(self) -> bool:
        """Whether they are; who looks at one waits for all of them."""


@runtime_checkable
class BatchingSession(Session, Protocol):
    """A session that runs several images at once and answers for each."""

    @property
    def max_batch(self) -> int:
        """How many; see `max_batch_of`."""


@runtime_checkable
class GraphSession(Session, Protocol):
    """A session of an ONNX graph, which several backends can open."""

    reason: str
    """Why `auto` took this backend; empty where it was asked for, or is the only one."""


def input_shape(wanted: InputSpec) -> tuple[int, int, int]:
    """Return the shape of one image as the network takes it: (C, H, W), or (H, W, C) for `nhwc`."""
    channels = 1 if wanted.colour == "gray" else 3
    height, width = wanted.size_hw
    return (channels, height, width) if wanted.layout == "nchw" else (height, width, channels)


def max_batch_of(
    spec: ModelSpec, batch_size: int | None, output_shapes: Sequence[Sequence[object]]
) -> int:
    """Return how many images a graph takes at once, 1 where their outputs cannot be told apart.

    Args:
        spec: of the graph.
        batch_size: of a fixed batch, None where it takes any: then `MAX_BATCH` at the most.
        output_shapes: of all outputs; a side that is no integer is free.

    """
    if isinstance(spec.output, ObjectsOutput):  # its rows are objects, not images
        return 1
    firsts = [shape[0] if len(shape) else 1 for shape in output_shapes]
    if batch_size is None:
        return 1 if any(isinstance(first, int) for first in firsts) else MAX_BATCH
    return batch_size if all(first == batch_size for first in firsts) else 1


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


@dataclass(frozen=True)
class RunOptions:
    """How a model file is to be run: the arguments of `open_session`, kept together."""

    device: str = "auto"
    threads: int = 0
    backend: Backend = "auto"
    precision: ComputePrecision | None = None
    hint: Hint | None = None
    cache: Path | None = None


def open_session(
    path: Path | str,
    device: str = "auto",
    *,
    threads: int = 0,
    backend: Backend = "auto",
    precision: ComputePrecision | None = None,
    hint: Hint | None = None,
    cache: Path | None = None,
) -> Session:
    """Open a model file on the backend that fits the file and the device.

    Args:
        path: an ONNX file with an edgecv description, or a bundle: of `b.edgecv` the entry that
            suits this machine best, of `b.edgecv#fp16` the one of that name. Or the model of a
            Triton Inference Server: `triton://host:8000/model`. Or a checkpoint of a training. Or
            an engine of `edgecv build`, with its record beside it.
        device: `auto` (the fastest that is installed), `cpu` or `cuda`; with OpenVINO also `gpu`
            and `npu`, which are Intel's.
        threads: threads of the CPU, 0 for one per core.
        backend: to insist on; `auto` takes `torch` for checkpoints, `tensorrt` for engines, and for
            an ONNX file what `edgecv.runtime.racing` finds to be the fastest here. `tensorrt`
            builds an engine of an ONNX file, while another backend runs it.
        precision: what the network computes with, where the backend lets one choose; None for
            `fp32` in a checkpoint and in OpenVINO on a CPU, for the file's own elsewhere.
        hint: what to tune for where a backend can (OpenVINO, and onnxruntime on a CPU): the time
            of one image, `latency`, or images per second, `throughput`; None for `latency`.
        cache: folder that OpenVINO's compiled networks or TensorRT's engines are kept in; None
            for none of OpenVINO's, and for `tensorrt` in the user's cache.

    Raises:
        InputError: if the file is missing, of an unknown kind or damaged, nothing in a bundle runs
            here, or the device is not available; the message says what to install.
        SpecError: if the file carries no usable description.
        ServerError: if a server does not answer.

    """
    return open_as(path, RunOptions(device, threads, backend, precision, hint, cache))


def open_as(path: Path | str, options: RunOptions) -> Session:
    """Open a model file as options say, see `open_session`."""
    suffix = "" if is_remote(path) else Path(path).suffix.lower()
    _refuse_other_backend(path, suffix, options)
    if is_remote(path):
        from edgecv.runtime.triton import TritonSession  # noqa: PLC0415  # slow to import

        return TritonSession(path, options.device, threads=options.threads)
    if is_bundle(path):
        from edgecv.runtime.bundled import open_bundle  # noqa: PLC0415  # slow to import

        return open_bundle(path, options)
    return _open_file(Path(path), suffix, options)


def _open_file(path: Path, suffix: str, options: RunOptions) -> Session:
    """Open a file by its ending."""
    if suffix not in (".onnx", CHECKPOINT, ENGINE):
        raise InputError(
            f"`{path}`: a model file must end in `.onnx`, `.edgecv`, `.engine` or `.pt`, got "
            f"`{path.suffix}`."
        )
    if not path.is_file():
        raise InputError(f"`{path}`: there is no such model file. Check the path.")
    if suffix == CHECKPOINT:
        return _open_checkpoint(path, options)
    if suffix == ENGINE:
        from edgecv.runtime.tensorrt import open_engine  # noqa: PLC0415  # slow to import

        return open_engine(path, options)
    if options.backend == "tensorrt":
        from edgecv.runtime.building import open_while_building  # noqa: PLC0415  # slow to import

        return open_while_building(path, options)
    if options.backend == "auto":
        from edgecv.runtime.racing import open_fastest  # noqa: PLC0415  # slow to import

        return open_fastest(path, options)
    return open_graph(path, options)


def open_graph(path: Path, options: RunOptions, content: bytes | None = None) -> GraphSession:
    """Open an ONNX graph on the backend that is named, `auto` for onnxruntime.

    Args:
        path: the file; with `content`, its name for messages.
        options: how to run it.
        content: the file's bytes, where they do not lie in a file of their own.

    Raises:
        MissingDependencyError: if the backend is not installed.
        InputError: see `open_session`.

    """
    if options.backend == "openvino":
        missing = [name for name in ("openvino", "onnx") if find_spec(name) is None]
        if missing:
            raise MissingDependencyError(
                f"`--backend openvino` needs {', '.join(missing)}. "
                "Install it with `pip install 'edgecv[openvino]'`."
            )
        from edgecv.runtime.openvino import OpenvinoSession  # noqa: PLC0415  # slow to import

        return OpenvinoSession(
            path,
            options.device,
            threads=options.threads,
            content=content,
            precision=options.precision,
            hint=options.hint or "latency",
            cache=options.cache,
        )
    from edgecv.runtime.onnxruntime import OnnxruntimeSession  # noqa: PLC0415  # slow to import

    return OnnxruntimeSession(
        path,
        options.device,
        threads=options.threads,
        content=content,
        tensorrt=options.backend == "onnxruntime-tensorrt",
        precision=options.precision,
        hint=options.hint or "latency",
        cache=options.cache,
    )


def _open_checkpoint(path: Path, options: RunOptions) -> Session:
    missing = [name for name in ("torch", "torchvision") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"`{path}` is a checkpoint and runs in PyTorch; {', '.join(missing)} is not installed. "
            "Install it with `pip install 'edgecv[train]'`, or export the checkpoint elsewhere."
        )
    from edgecv.runtime.torch import open_checkpoint  # noqa: PLC0415  # torch takes seconds

    precision = options.precision or "fp32"
    if precision == "bf16":
        raise InputError(
            f"`{path}` is a checkpoint, which runs in fp32 or fp16, got bf16. Choose one of them."
        )
    return open_checkpoint(path, options.device, threads=options.threads, precision=precision)


def _refuse_other_backend(path: Path | str, suffix: str, options: RunOptions) -> None:
    """Refuse what the kind of a file, or the backend, does not allow."""
    backend = options.backend
    is_checkpoint = suffix == CHECKPOINT
    if backend not in get_args(Backend):
        known = ", ".join(get_args(Backend))
        raise InputError(f"`backend` must be one of {known}, got {backend!r}.")
    if backend not in ("auto", "torch") and is_checkpoint:
        raise InputError(
            f"`{path}` is a checkpoint, which {backend} cannot open. Make an ONNX file of it "
            "with `edgecv export`, or leave out `--backend`."
        )
    if backend not in ("auto", "tensorrt") and suffix == ENGINE:
        raise InputError(
            f"`{path}` is an engine of TensorRT, which {backend} cannot open. Leave out "
            "`--backend`, or give the ONNX file that it was built from."
        )
    if backend == "torch" and not is_checkpoint:
        raise InputError(
            f"`{path}` is no checkpoint, and PyTorch runs nothing else. Give `best.pt` of a "
            "training, or leave out `--backend`."
        )
    if backend != "auto" and is_remote(path):
        raise InputError(
            f"`{path}` is run by a server, which chooses the backend. Leave out `--backend`."
        )
    choosing = ("openvino", "onnxruntime-tensorrt", "tensorrt")
    has_precisions = is_checkpoint or (backend in choosing and suffix != ENGINE)
    is_exact_cuda = backend == "onnxruntime" and options.precision == "fp32"
    if options.precision is not None and not (has_precisions or is_exact_cuda):
        raise InputError(
            f"`{path}` computes in the precision that it was exported in. Leave out `--precision`, "
            "export it again with `edgecv export --precision`, or name a backend that offers it: "
            f"{', '.join(f'`--backend {name}`' for name in choosing)}."
        )
    caching = ("openvino", "onnxruntime-tensorrt", "tensorrt")
    if options.cache is not None and suffix == ENGINE:
        raise InputError(
            f"`cache` keeps what is made of a model, got `{options.cache}` with the finished "
            f"engine `{path}`. Leave out `--cache`."
        )
    if options.cache is not None and backend not in caching:
        raise InputError(
            f"`cache` is for openvino, onnxruntime-tensorrt and tensorrt, got `{options.cache}` "
            f"with the backend {backend}. Name one of them with `--backend`, or leave out "
            "`--cache`."
        )
