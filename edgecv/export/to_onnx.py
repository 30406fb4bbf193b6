"""PyTorch → ONNX: one file that describes itself, written only if it computes the same."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx
import torch
from torch import Tensor, nn

from edgecv.errors import InputError
from edgecv.export.comparison.parity import ParityReport, Tolerance, check_parity
from edgecv.export.graphs.metadata import write_spec
from edgecv.export.graphs.simplify import simplify
from edgecv.export.operators.definitions import define_operators
from edgecv.export.operators.translation import translation_table
from edgecv.files import replacing
from edgecv.models import Network
from edgecv.models.fused import fused, torch_session
from edgecv.models.session import TorchSession
from edgecv.output_spec import FusedOutput
from edgecv.proposals import Proposals
from edgecv.provenance import git_revision, versions_in_use
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.spec import ModelSpec

OPSETS = (19, 20)
_IR_VERSION = 10  # onnx writes a newer one by itself than onnxruntime reads

Head = Literal["fused", "raw"]


@dataclass(frozen=True)
class ExportOptions:
    """How a network is exported.

    Args:
        head: `fused` ends the graph in results, a detector's in `EdgeNMS` and a classifier's in
            probabilities; `raw` leaves what follows the network to the runtime.
        opset: 19 or 20.
        batch: images a call, None for any number.
        max_detections: rows of a detector's fused output.

    """

    head: Head = "fused"
    opset: int = 20
    batch: int | None = None
    max_detections: int = 100

    def __post_init__(self) -> None:
        """Refuse what the exporter cannot do."""
        if self.opset not in OPSETS:
            raise InputError(
                f"export: `opset` must be 19 or 20, got {self.opset}. Use `--opset 20`."
            )
        if self.batch is not None and self.batch < 1:
            raise InputError(f"export: `batch` must be 1 or more, got {self.batch}.")
        if self.max_detections < 1:
            raise InputError(
                f"export: `max_detections` must be 1 or more, got {self.max_detections}."
            )


def export_onnx(
    network: Network,
    spec: ModelSpec,
    path: Path,
    images: Sequence[Path],
    *,
    options: ExportOptions,
    tolerance: Tolerance,
    proposals: Proposals | None = None,
) -> ParityReport:
    """Export a network and compare the file with it on real images; then only is it kept.

    Args:
        network: on the CPU.
        spec: its description with raw heads, as training leaves it.
        path: the ONNX file to write.
        images: image files to compare on, at least one.
        options: the form of the graph.
        tolerance: what may differ by how much.
        proposals: of the images, for a model that looks at given regions; None for windows.

    Returns:
        What was compared and how far the two were apart.

    Raises:
        ParityError: if they differ by more; nothing is written.
        OutputError: if the file cannot be written.

    """
    if not images:
        raise InputError("export compares on real images, got none. Name some with `--images DIR`.")
    with replacing(path) as partial:  # first, so that a bad place is known before the work
        model, reference = _build(network.eval(), spec, options)
        onnx.save(model, partial)
        with contextlib.closing(OnnxruntimeSession(partial, "cpu")) as candidate:
            return check_parity(
                reference, candidate, images, tolerance=tolerance, proposals=proposals
            )


def _build(
    network: Network, spec: ModelSpec, options: ExportOptions
) -> tuple[onnx.ModelProto, TorchSession]:
    """Return the described graph, and the PyTorch model that it must match."""
    provenance = replace(
        spec.provenance,
        versions=versions_in_use("torch", "torchvision", "onnx", "onnxscript"),
        git_revision=git_revision(Path.cwd()),
    )
    postprocess = replace(spec.postprocess, max_detections=options.max_detections)
    spec = replace(spec, provenance=provenance, postprocess=postprocess)
    if options.head == "fused":
        spec = replace(spec, output=network.fused_output())
        model = _trace_fused(network, spec, options)
    elif isinstance(spec.output, FusedOutput):
        raise InputError(
            f"export: the heads of `{spec.provenance.model}` speak of regions, and nothing outside "
            "its graph can decode them. Use `--head fused`."
        )
    else:
        names = [spec.input.name], list(network.head_names)
        model = _trace(network, (_example(spec, options),), names, options)
    define_operators(model)
    write_spec(model, spec)
    model = simplify(model)
    onnx.checker.check_model(model, full_check=True)
    return model, torch_session(network, spec)


def _trace_fused(network: Network, spec: ModelSpec, options: ExportOptions) -> onnx.ModelProto:
    """Trace the network with what follows it; thresholds are inputs with a default."""
    wanted = spec.postprocess
    module = fused(network, wanted)
    thresholds = {
        name: torch.tensor(getattr(wanted, name), dtype=torch.float32)
        for name in module.scalar_names
    }
    names = [spec.input.name, *thresholds], module.output_names
    inputs: tuple[Tensor, ...] = (_example(spec, options), *thresholds.values())
    if spec.proposals is not None:
        names[0].append(spec.proposals.name)
        inputs += (torch.zeros(len(inputs[0]), spec.proposals.count, 4),)
    model = _trace(module.eval(), inputs, names, options)
    for name, value in thresholds.items():
        # An input with an initialiser of the same name is optional: its default is the initialiser.
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.numpy(), name))
    return model


def _example(spec: ModelSpec, options: ExportOptions) -> Tensor:
    """Return images to trace with; two where the batch is free: with one, it would be fixed."""
    return torch.zeros(options.batch or 2, 3, *spec.input.size_hw)


def _trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    names: tuple[list[str], list[str]],
    options: ExportOptions,
) -> onnx.ModelProto:
    """Return the graph of `module`; all inputs but scalars have a batch; `names` in and out."""
    batch = torch.export.Dim("batch", min=1)
    free_batch = tuple({0: batch} if value.ndim else None for value in inputs)
    with _quiet(), _out_of_place(module):
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=options.opset,
            input_names=names[0],
            output_names=names[1],
            dynamic_shapes=None if options.batch else free_batch,
            custom_translation_table=translation_table(),
            verbose=False,
        )
    if program is None:  # dynamo=True always returns one; the annotation covers the old exporter
        raise RuntimeError("torch.onnx.export returned no program.")
    model = program.model_proto
    if options.batch is None and not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        # torch's exporter falls back on a fixed batch without a word.
        raise RuntimeError(
            f"{type(module).__name__} makes its batch size a constant when it is traced. "
            "Take it from `tensor.shape[0]`, never from `len(tensor)`."
        )
    model.ir_version = _IR_VERSION
    model.producer_name = "edgecv"
    return model


@contextlib.contextmanager
def _out_of_place(module: nn.Module) -> Iterator[None]:
    """Let activations return new tensors while they are traced.

    A graph has no memory to save, and the exporter decomposes an in-place operator even where ONNX
    knows the operator: for the ReLU6 of a MobileNetV2, a third of the time of an export.
    """
    in_place: list[Any] = [
        part for part in module.modules() if getattr(part, "inplace", False) is True
    ]
    for part in in_place:
        part.inplace = False
    try:
        yield
    finally:
        for part in in_place:
            part.inplace = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes on its own internals from the user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
