"""A whole export: which images, which precisions, which files, and the report of it all."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx

from edgecv.bundle.manifest import Latency, Measured
from edgecv.bundle.writing import add, read_calibration, read_model
from edgecv.data import open_for_task
from edgecv.errors import AccuracyError, InputError
from edgecv.export.calibrating import (
    TABLE,
    calibration_images,
    calibrations_of,
    spread,
    write_table,
)
from edgecv.export.comparison.parity import ParityReport
from edgecv.export.graphs.model_file import write_onnx
from edgecv.export.graphs.target import check_with_definitions, for_tensorrt
from edgecv.export.inspection.support import reservations, tensorrt_support
from edgecv.export.precisions.calibration import Calibration
from edgecv.export.precisions.measuring import Figures, Images, in_precisions
from edgecv.export.precisions.ranges import CalibrationMethod
from edgecv.export.precisions.report import PrecisionReport, summary_rows, write_precision_report
from edgecv.export.precisions.tensorrt_int8 import tensorrt_int8_violations
from edgecv.export.source import Source, split_images
from edgecv.precision import Precision
from edgecv.progress import Follow, unfollowed
from edgecv.provenance import cpu_name, versions_in_use
from edgecv.stream.sources import images_of

Target = Literal["onnxruntime", "tensorrt"]

BUNDLE = ".edgecv"
_NAMED_COSTS = 5  # layers that a refusal names


@dataclass(frozen=True)
class Destination:
    """Where what is exported goes.

    Args:
        path: an ONNX file, `NAME.onnx`, which of several precisions becomes `NAME.fp16.onnx` and
            so on; or a bundle, which holds float32 in any case.
        precisions: those wanted, at least one.
        target: what will run the files; see `edgecv.export.graphs.target.for_tensorrt`.

    """

    path: Path
    precisions: tuple[Precision, ...]
    target: Target = "onnxruntime"

    def __post_init__(self) -> None:
        """Refuse a path that is neither, and a bundle of files that most devices cannot run."""
        if self.path.suffix.lower() not in (".onnx", BUNDLE):
            raise InputError(
                f"`{self.path}`: an export ends in `.onnx` or `{BUNDLE}`. Change `-o`."
            )
        if self.is_bundle and self.target == "tensorrt":
            raise InputError(
                "a bundle keeps files that onnxruntime runs too, and TensorRT's builder drops the "
                "bodies by itself. Leave out `--target`, or write `.onnx` files."
            )

        if self.target == "tensorrt" and "int8-cpu" in self.precisions:
            raise InputError(
                "TensorRT takes symmetric 8 bits alone. Use `--precision int8-tensorrt`, or leave "
                "out `--target`."
            )

    @property
    def is_bundle(self) -> bool:
        """Whether all precisions go into one file."""
        return self.path.suffix.lower() == BUNDLE

    def of(self, precision: Precision) -> Path:
        """Return the file of one precision."""
        several = len(self.precisions) > 1 and precision != "fp32" and not self.is_bundle
        return self.path.with_suffix(f".{precision}.onnx") if several else self.path


@dataclass(frozen=True)
class ExportJob:
    """What is exported and what it is measured on.

    Args:
        source: the float32 graph.
        data: the address of annotated images to measure accuracy on, None to measure none.
        split: of them.
        max_drop: see `edgecv.export.precisions.measuring.Images`.
        iou_threshold: see there.
        images: a folder of images to compare on, None for those of the split.
        num_images: how many of them.
        calibration: a folder, an address whose train split is taken, or a table's file; None for
            the training's own images.
        calibration_images: how many images to calibrate with.
        calibration_method: see `edgecv.export.precisions.calibration.calibrate`; None tries one
            after the other where there is a limit to the drop; without one it is `min-max`.
        reduce_range: give 8-bit weights 7 bits, see `edgecv.export.precisions.quantise.quantise`.
        threads: of onnxruntime, 0 for one per core.
        report: a folder for the report, None for none.
        follow: see `edgecv.export.precisions.measuring.in_precisions`.

    """

    source: Source
    data: str | None = None
    split: str = "val"
    max_drop: float | None = None
    iou_threshold: float | None = None
    images: Path | None = None
    num_images: int = 8
    calibration: str | None = None
    calibration_images: int = 64
    calibration_method: CalibrationMethod | None = None
    reduce_range: bool = False
    threads: int = 0
    report: Path | None = None
    follow: Follow = unfollowed


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Args:
        title: what was measured on what.
        figures: of each precision, float32 first; empty where nothing was measured.
        facts: sentences on how the figures were come by.
        written: the files.
        max_drop: the limit of the gate, None for none.
        parity: how a checkpoint's graph compared with PyTorch, None of an ONNX file.

    """

    title: str
    figures: tuple[Figures, ...]
    facts: tuple[str, ...]
    written: tuple[Path, ...]
    max_drop: float | None
    parity: ParityReport | None

    def summary(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return the header and the rows of the table that compares the precisions."""
        return summary_rows(self.figures)

    def report(self) -> PrecisionReport:
        """Return what a report tells."""
        return PrecisionReport(self.title, self.facts, self.figures, self.max_drop)

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries, lists and numbers."""
        return {
            **self.report().to_plain(),
            "parity": None if self.parity is None else self.parity.to_plain(),
            "written": [str(path) for path in self.written],
        }

    def refuse_failed(self) -> None:
        """Raise for what did not pass the gate.

        Raises:
            AccuracyError: naming the precisions and the layers that cost most.

        """
        complaints = [_complaint(entry) for entry in self.figures if not entry.has_passed]
        if complaints:
            raise AccuracyError(
                f"{' '.join(complaints)} Allow more with `--max-drop`, calibrate with more images "
                "or by another `--calibration-method`."
            )


def export_source(job: ExportJob, destination: Destination) -> Exported:
    """Convert, measure, and write what passed.

    Float32 alone is written as it is: there is nothing to compare it with.

    Raises:
        InputError: if images are missing or cannot be used, or 8 bits have nothing to be
            calibrated with.
        OutputError: if a file cannot be written.

    """
    source, wanted = job.source, destination.precisions
    is_plain = wanted == ("fp32",) and job.data is None and job.report is None
    if is_plain and not destination.is_bundle:
        path = destination.path
        graph, reserved = _for_target(source.graph, destination.target)
        write_onnx(graph, path)
        return Exported(path.name, (), tuple(reserved), (path,), None, source.parity)
    images = _images(job)
    tables: Mapping[str, Calibration] = {}
    if any(precision.startswith("int8") for precision in wanted):
        tables = calibrations_of(
            source,
            job.calibration,
            num_images=job.calibration_images,
            method=job.calibration_method,
            stopped=destination.path.with_suffix(f".calibration{TABLE}"),
            threads=job.threads,
            follow=job.follow,
        )
    made = in_precisions(
        source.graph,
        source.spec,
        wanted,
        images,
        calibrations=tables,
        reduce_range=job.reduce_range,
        threads=job.threads,
        follow=job.follow,
    )
    passed = {entry.precision: entry for entry in made.figures if entry.has_passed}
    graphs = {name: graph for name, graph in made.graphs.items() if name in passed}
    kept = [name for name in wanted if name in passed]
    written = tuple(dict.fromkeys(destination.of(name) for name in kept))
    misgivings: list[str] = []
    if destination.is_bundle and kept:
        _bundle(destination.path, graphs, passed, tables, job)
    elif not destination.is_bundle:
        for name in kept:
            graph, reserved = _for_target(graphs[name], destination.target)
            write_onnx(graph, destination.of(name))
            misgivings += [f"{name}: {sentence}" for sentence in reserved]
    num_calibrated = max((table.num_images for table in tables.values()), default=0)
    title = source.spec.provenance.model or destination.path.stem
    facts = (*_facts(job, made.figures, num_calibrated), *misgivings)
    found = Exported(title, made.figures, facts, written, job.max_drop, source.parity)
    if job.report is not None:
        write_precision_report(found.report(), job.report)
    return found


def _for_target(graph: onnx.ModelProto, target: Target) -> tuple[onnx.ModelProto, list[str]]:
    """Return the graph for a target, and what some versions of it have against the graph."""
    if target == "onnxruntime":
        return graph, []
    check_with_definitions(graph)  # both lives of the same graph are checked
    violations = tensorrt_int8_violations(graph)
    if violations:
        raise InputError(f"TensorRT would refuse the 8 bits of the graph: {'; '.join(violations)}.")
    written = for_tensorrt(graph)
    return written, reservations(tensorrt_support(written))


def _images(job: ExportJob) -> Images:
    source = job.source
    task = source.spec.task
    held_out = None
    if job.data is not None:
        held_out = open_for_task(task, job.data, job.split, on_bad="skip")
    if job.images is not None:
        compared: Sequence[Path] = images_of(job.images)
    elif held_out is not None:
        compared = [sample.image_path for sample in held_out.samples]
    elif source.data is not None:
        compared = split_images(task, source.data, job.split)
    elif job.calibration is not None and not job.calibration.endswith(TABLE):
        compared = calibration_images(source, job.calibration)
    else:
        raise InputError(
            "export compares precisions on real images, and an ONNX file does not say where some "
            "are. Name a folder with `--images`, or annotated ones with `--data`."
        )
    return Images(
        spread(compared, job.num_images),
        held_out,
        job.max_drop,
        job.iou_threshold,
        source.proposals,
        num_pictures=0 if job.report is None else 3,
    )


def _bundle(
    path: Path,
    graphs: Mapping[Precision, onnx.ModelProto],
    figures: Mapping[Precision, Figures],
    tables: Mapping[str, Calibration],
    job: ExportJob,
) -> None:
    """Put all into one file, with what was measured of each."""
    with tempfile.TemporaryDirectory() as folder:
        additions = []
        for precision, graph in graphs.items():
            file = Path(folder) / f"{precision}.onnx"
            write_onnx(graph, file)
            additions.append(read_model(file, precision, _measured(figures[precision], job)))
        used = [entry.calibration for entry in figures.values() if entry.calibration]
        if tables:
            file = Path(folder) / "calibration.json"
            write_table(tables[used[0]] if used else next(iter(tables.values())), file)
            additions.append(read_calibration(file))
        add(path, *additions, replace_existing=True)


def _measured(entry: Figures, job: ExportJob) -> Measured:
    latencies: tuple[Latency, ...] = ()
    if entry.latency is not None:
        backend = "onnxruntime cpu"
        latencies = (Latency(cpu_name(), backend, job.threads, entry.latency.median_ms),)
    accuracy = entry.accuracy
    if accuracy is not None:  # a manifest is strict JSON; of objects that are not there, AP is NaN
        finite = {name: value for name, value in accuracy.figures.items() if math.isfinite(value)}
        accuracy = replace(accuracy, figures=finite)
    return Measured(accuracy, job.max_drop, latencies)


def _facts(job: ExportJob, figures: Sequence[Figures], num_calibrated: int) -> list[str]:
    versions = ", ".join(f"{k} {v}" for k, v in versions_in_use("onnx", "onnxruntime").items())
    threads = {0: "a thread a core", 1: "one thread"}.get(job.threads, f"{job.threads} threads")
    facts = [
        f"Latency: the network alone, median, {threads} of {cpu_name()}, in turns; {versions}."
    ]
    if job.data is not None:
        facts.insert(0, f"Accuracy: on {job.data} {job.split}, through the pipeline of `run`.")
    else:
        facts.insert(0, "Accuracy was not measured: name annotated images with `--data`.")
    if job.source.tuned_for is not None:
        facts.append(
            f"The weights were fine-tuned with the rounding of {job.source.tuned_for}: in float32 "
            "they are worse than those they came from, which `edgecv verify` compares with."
        )
    for entry in figures:
        if entry.calibration:
            facts.append(
                f"{entry.precision}: ranges by {entry.calibration} on {num_calibrated} images."
            )
        if entry.precision == "int8-tensorrt":
            facts.append("int8-tensorrt is written for TensorRT: its latency here says nothing.")
    return facts


def _complaint(entry: Figures) -> str:
    costs = ", ".join(f"{cost.name} ({cost.snr_db:.1f} dB)" for cost in entry.costs[:_NAMED_COSTS])
    most = max(attempt.num_returned for attempt in entry.attempts)
    return (
        f"{entry.precision} drops by {entry.drop:.4f} even with {most} of its layers in float32, "
        f"and was not written; the layers that cost most by themselves are {costs}."
    )
