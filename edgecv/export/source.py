"""What is exported: a checkpoint or an ONNX file, as a float32 graph that describes itself."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgecv.data import open_for_task
from edgecv.errors import InputError
from edgecv.export.comparison.parity import ParityReport, Tolerance
from edgecv.export.graphs.input_shape import with_batch, with_size
from edgecv.export.graphs.metadata import read_spec
from edgecv.export.graphs.model_file import read_onnx
from edgecv.export.graphs.simplify import simplify
from edgecv.precision import Precision
from edgecv.proposals import Proposals, read_proposals
from edgecv.spec import ModelSpec, Task
from edgecv.stream.sources import images_of

CHECKPOINT = ".pt"


@dataclass(frozen=True)
class GraphOptions:
    """The form of the graph; None: as the source has it, see `edgecv.export.to_onnx.ExportOptions`.

    Args:
        head: `fused` or `raw`, of a checkpoint.
        opset: of a checkpoint.
        batch: images a call; 0 for any number.
        size_hw: of an ONNX file: height and width in pixels; (0, 0) for any.
        max_detections: rows of a checkpoint's fused output.

    """

    head: str | None = None
    opset: int | None = None
    batch: int | None = None
    size_hw: tuple[int, int] | None = None
    max_detections: int | None = None


@dataclass(frozen=True)
class Source:
    """A float32 graph, and what is known of where it came from.

    Args:
        graph: simplified; its description is inside.
        spec: that description.
        parity: how it compared with PyTorch, None of an ONNX file.
        data: the address of the data that it was trained on, None where that is unknown.
        proposals: of the images of those data, None for none.
        tuned_for: the precision whose rounding its weights were fine-tuned with, None for none.

    """

    graph: onnx.ModelProto
    spec: ModelSpec
    parity: ParityReport | None = None
    data: str | None = None
    proposals: Proposals | None = None
    tuned_for: Precision | None = None


def open_source(
    path: Path, options: GraphOptions, *, images: Path | None = None, num_images: int = 8
) -> Source:
    """Return the graph of a checkpoint, compared with it, or of an ONNX file.

    Args:
        path: `best.pt` or `last.pt` of a training, or an ONNX file with a description.
        options: the form of the graph.
        images: a folder of images to compare a checkpoint on, None for its validation split.
        num_images: how many of them.

    Raises:
        InputError: if the file cannot be used, or an option does not suit it.
        ParityError: if the graph does not match the checkpoint.

    """
    if path.suffix.lower() == CHECKPOINT:
        return _of_checkpoint(path, options, images, num_images)
    graph = read_onnx(path)
    spec = read_spec(graph, path=path)
    if spec.provenance.precision != "fp32":
        raise InputError(
            f"`{path}` is in {spec.provenance.precision} already: what is lost cannot be had back. "
            "Export the float32 file that it was made of."
        )
    for name in ("head", "opset", "max_detections"):
        if getattr(options, name) is not None:
            raise InputError(
                f"`--{name.replace('_', '-')}` chooses how a checkpoint becomes a graph, and "
                f"`{path}` is a graph already. Leave it out."
            )
    graph = simplify(graph)
    if options.batch is not None:
        graph = with_batch(graph, options.batch or None)
    if options.size_hw is not None:
        graph = with_size(graph, options.size_hw if any(options.size_hw) else None)
    return Source(graph, read_spec(graph, path=path))


def split_images(task: Task, data: str, split: str) -> list[Path]:
    """Return the image files of a split; broken annotations do not matter."""
    return [sample.image_path for sample in open_for_task(task, data, split, on_bad="skip").samples]


def _of_checkpoint(
    path: Path, options: GraphOptions, images: Path | None, num_images: int
) -> Source:
    from edgecv.export.to_onnx import ExportOptions, export_onnx  # noqa: PLC0415  # torch is slow
    from edgecv.train.checkpoint import load_trained  # noqa: PLC0415

    if options.size_hw is not None:
        raise InputError(
            "`--size` is for ONNX files: a checkpoint was trained at one size. "
            "Train it at another with `edgecv train --size`."
        )
    wanted = {
        name: value
        for name in ("head", "opset", "max_detections")
        if (value := getattr(options, name)) is not None
    }
    form = ExportOptions(**wanted, batch=options.batch or None)
    trained = load_trained(path)
    config = trained.config
    is_known = images is None and config.proposals is not None and Path(config.proposals).is_file()
    proposals = read_proposals(Path(config.proposals)) if is_known else None  # type: ignore[arg-type]
    compared = (
        images_of(images)
        if images is not None
        else split_images(trained.spec.task, config.data, "val")
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        report = export_onnx(
            trained.network,
            trained.spec,
            file,
            compared[:num_images],
            options=form,
            tolerance=Tolerance(),
            proposals=proposals,
        )
        graph = read_onnx(file)
    return Source(
        graph,
        read_spec(graph, path=path),
        report,
        config.data,
        proposals,
        config.fake_quantise,
    )
