"""`edgecv export`: a checkpoint or an ONNX file in the precisions asked for, each measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from edgecv.cli.app import app
from edgecv.cli.console import (
    JsonPath,
    Quiet,
    Threads,
    console,
    follower,
    parse_size,
    print_table,
    require_extra,
    write_json,
)
from edgecv.errors import InputError
from edgecv.precision import PRECISIONS, Precision

if TYPE_CHECKING:
    from edgecv.export.comparison.parity import ParityReport
    from edgecv.export.exporting import Exported
    from edgecv.spec import Task

Precisions = tuple[Precision, ...]


@app.command()
def export(
    source: Annotated[
        Path, typer.Argument(help="best.pt or last.pt of a training, or an ONNX file of edgecv's.")
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="An ONNX file, or a bundle (.edgecv); several precisions make NAME.fp16.onnx and "
            "so on. Default: SOURCE.onnx, of several precisions SOURCE.edgecv.",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help=f"One or more of {', '.join(PRECISIONS)}, with commas.")
    ] = "fp32",
    data: Annotated[
        str | None,
        typer.Option(help="Annotated images to measure accuracy on: bccd, coco:DIR, folder:DIR …"),
    ] = None,
    split: Annotated[str, typer.Option(help="Of the data.")] = "val",
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="How far AP, mask AP, mIoU or top-1 may drop; layers return to float32 until it "
            "holds. Without `--data` it is measured on the training's own.",
        ),
    ] = None,
    iou: Annotated[
        float | None, typer.Option(min=0, max=1, help="IoU threshold while it is measured.")
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Images for 8 bits: a folder, or data whose train split is taken; or the table of "
            "an earlier calibration (.json). Default: the training's own."
        ),
    ] = None,
    calibration_images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 64,
    calibration_method: Annotated[
        Literal["min-max", "entropy", "percentile", "mse"] | None,
        typer.Option(
            help="How outliers are weighed; default: min-max, then the others if `--max-drop` asks."
        ),
    ] = None,
    reduce_range: Annotated[
        bool,
        typer.Option(
            "--reduce-range",
            help="8-bit weights in 7 bits, for x86 processors without VNNI, whose sums overflow.",
        ),
    ] = False,
    target: Annotated[
        Literal["onnxruntime", "tensorrt"],
        typer.Option(help="tensorrt: plugin nodes, without the bodies that onnxruntime needs."),
    ] = "onnxruntime",
    head: Annotated[
        Literal["fused", "raw"] | None,
        typer.Option(
            help="Of a checkpoint: fused, the default, ends the graph in EdgeNMS or probabilities; "
            "raw leaves that to the runtime."
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="Of a checkpoint: 19 or 20, the default.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=0, help="Images a call, 0 for any number; default: any.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="Of an ONNX file: 416, HEIGHTxWIDTH, or free, where it allows it."),
    ] = None,
    max_detections: Annotated[
        int | None, typer.Option(help="Of a checkpoint: rows of a fused output, default 100.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images to compare on; default: those of the data's split."),
    ] = None,
    num_images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 8,
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html and export.json.")
    ] = None,
    threads: Threads = 0,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Export a model in one or more precisions, each measured beside the original.

    A checkpoint's graph is written only if it matches PyTorch on real images.
    """
    require_extra("export", "onnx", "onnxscript", "onnxslim")
    if source.suffix.lower() == ".pt":
        require_extra("train", "torch", "torchvision")
    if report is not None:
        require_extra("eval", "matplotlib")
    from edgecv.export.exporting import Destination, ExportJob, export_source
    from edgecv.export.source import GraphOptions, open_source

    screen = console(quiet=quiet)
    precisions = _precisions(precision)
    destination = Destination(output or _beside(source, precisions), precisions, target)
    options = GraphOptions(
        head=head,
        opset=opset,
        batch=batch,
        size_hw=None if size is None else (0, 0) if size == "free" else parse_size(size),
        max_detections=max_detections,
    )
    with screen.status(f"reading {source.name}, and comparing it where there is PyTorch"):
        opened = open_source(source, options, images=images, num_images=num_images)
    if opened.parity is not None:
        _print_parity(screen, opened.parity, opened.spec.task)
    measured_on = data or (opened.data if max_drop is not None else None)
    if measured_on is not None and opened.spec.task != "classify":
        require_extra("eval", "faster_coco_eval")
    with Progress(console=screen, transient=True) as bar:
        job = ExportJob(
            opened,
            data=measured_on,
            split=split,
            max_drop=max_drop,
            iou_threshold=iou,
            images=images,
            num_images=num_images,
            calibration=calibration,
            calibration_images=calibration_images,
            calibration_method=calibration_method,
            reduce_range=reduce_range,
            threads=threads,
            report=report,
            follow=follower(bar),
        )
        made = export_source(job, destination)
    _print_made(screen, made)
    write_json(json, made.to_plain())
    made.refuse_failed()


def _precisions(text: str) -> Precisions:
    """Return what `--precision` names, each once.

    Raises:
        InputError: if one is unknown.

    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    known = {str(name): name for name in PRECISIONS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"`--precision` must be some of {', '.join(PRECISIONS)}, got {unknown[0]!r}."
        )
    return tuple(known[name] for name in names)


def _beside(source: Path, precisions: Precisions) -> Path:
    return source.with_suffix(".edgecv" if len(precisions) > 1 else ".onnx")


def _print_parity(screen: Console, parity: "ParityReport", task: "Task") -> None:
    rows = [
        (entry.name, f"{entry.absolute:.2e}", f"{entry.relative:.2e}") for entry in parity.outputs
    ]
    title = f"Largest difference from PyTorch on {parity.num_images} images"
    print_table(screen, title, ("output", "absolute", "of the largest value"), rows)
    boxes = "" if task == "classify" else f"boxes within {parity.box_px:.1e} px, "
    screen.print(
        f"{parity.unit.capitalize()}: {parity.num_reference} in PyTorch, {parity.num_candidate} "
        f"exported, {parity.num_matched} matched; {boxes}scores within {parity.score:.1e}."
    )


def _print_made(screen: Console, made: "Exported") -> None:
    """Print how the precisions compare, and what was written."""
    if made.figures:
        header, rows = made.summary()
        print_table(screen, made.title, header, rows)
    for sentence in made.facts:
        screen.print(sentence, markup=False)
    for path in made.written:
        screen.print(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB).", markup=False)
