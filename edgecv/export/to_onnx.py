"""PyTorch → ONNX: one file that describes itself, written only if it computes the same."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnx
import torch
from torch import Tensor, nn

from edgecv.errors import InputError
from edgecv.export.edge_nms import EdgeNMS, append_edge_nms
from edgecv.export.metadata import write_spec
from edgecv.export.parity import ParityReport, Tolerance, check_parity
from edgecv.files import replacing
from edgecv.models import Detector
from edgecv.models.session import TorchSession
from edgecv.models.suppress import SuppressedTorchSession
from edgecv.provenance import git_revision, versions_in_use
from edgecv.runtime.onnxruntime import OnnxruntimeSession
from edgecv.spec import FusedOutput, ModelSpec

OPSETS = (19, 20)
_IR_VERSION = 10  # onnx writes a newer one by itself than onnxruntime reads

Head = Literal["fused", "raw"]


@dataclass(frozen=True)
class ExportOptions:
    """How a detector is exported.

    Args:
        head: `fused` ends the graph in `EdgeNMS`, `raw` leaves decoding to the runtime.
        opset: 19 or 20.
        batch: images a call, None for any number.
        max_detections: rows of a fused output.

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
    detector: Detector,
    spec: ModelSpec,
    path: Path,
    images: Sequence[Path],
    *,
    options: ExportOptions,
    tolerance: Tolerance,
) -> ParityReport:
    """Export a detector and compare the file with it on real images; then only is it kept.

    Args:
        detector: on the CPU.
        spec: its description with raw heads, as training leaves it.
        path: the ONNX file to write.
        images: image files to compare on, at least one.
        options: the form of the graph.
        tolerance: what may differ by how much.

    Returns:
        What was compared and how far the two were apart.

    Raises:
        ParityError: if they differ by more; nothing is written.
        OutputError: if the file cannot be written.

    """
    if not images:
        raise InputError("export compares on real images, got none. Name some with `--images DIR`.")
    with replacing(path) as partial:  # first, so that a bad place is known before the work
        model, reference = _build(detector.eval(), spec, options)
        onnx.save(model, partial)
        with contextlib.closing(OnnxruntimeSession(partial, "cpu")) as candidate:
            return check_parity(reference, candidate, images, tolerance=tolerance)


def _build(
    detector: Detector, spec: ModelSpec, options: ExportOptions
) -> tuple[onnx.ModelProto, TorchSession]:
    """Return the described graph, and the PyTorch model that it must match."""
    provenance = replace(
        spec.provenance,
        versions=versions_in_use("torch", "torchvision", "onnx", "onnxscript"),
        git_revision=git_revision(Path.cwd()),
    )
    postprocess = replace(spec.postprocess, max_detections=options.max_detections)
    spec = replace(spec, provenance=provenance, postprocess=postprocess)
    model = _trace(detector, spec, options)
    reference = TorchSession(detector, spec)
    if options.head == "fused":
        append_edge_nms(
            model,
            EdgeNMS(options.max_detections, class_agnostic=postprocess.class_agnostic),
            score_threshold=postprocess.score_threshold,
            iou_threshold=postprocess.iou_threshold,
        )
        spec = replace(spec, output=FusedOutput())
        reference = SuppressedTorchSession(detector, spec)
    write_spec(model, spec)
    onnx.checker.check_model(model, full_check=True)
    return model, reference


class _Decoded(nn.Module):
    """The detector with its boxes decoded, as the part of a fused graph before EdgeNMS."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.detector.decoded(self.detector(images))


def _trace(detector: Detector, spec: ModelSpec, options: ExportOptions) -> onnx.ModelProto:
    fused = options.head == "fused"
    module = _Decoded(detector) if fused else detector
    # Traced with two images where the batch is free: with one, the exporter would fix it at 1.
    example = torch.zeros(options.batch or 2, 3, *spec.input.size_hw)
    free_batch = {0: torch.export.Dim("batch", min=1)}
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=options.opset,
            input_names=[spec.input.name],
            output_names=["boxes", "scores"] if fused else list(detector.head_names),
            dynamic_shapes=None if options.batch else (free_batch,),
            verbose=False,
        )
    if program is None:  # dynamo=True always returns one; the annotation covers the old exporter
        raise RuntimeError("torch.onnx.export returned no program.")
    model = program.model_proto
    model.ir_version = _IR_VERSION
    model.producer_name = "edgecv"
    return model


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
