"""`edgecv export`: from `best.pt` to an ONNX file that was compared with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgecv.cli.app import app
from edgecv.cli.console import (
    JsonPath,
    Quiet,
    console,
    print_table,
    require_extra,
    write_json,
)

if TYPE_CHECKING:
    from edgecv.proposals import Proposals
    from edgecv.spec import Task


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.pt or last.pt of a training run.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")],
    head: Annotated[
        Literal["fused", "raw"],
        typer.Option(
            help="fused ends the graph in EdgeNMS or probabilities; raw leaves that to the runtime."
        ),
    ] = "fused",
    opset: Annotated[int, typer.Option(help="19 or 20.")] = 20,
    batch: Annotated[
        int | None, typer.Option(help="Images a call; any number when left out.")
    ] = None,
    max_detections: Annotated[int, typer.Option(help="Rows of a fused output.")] = 100,
    images: Annotated[
        Path | None,
        typer.Option(help="Images to compare on; default: the training's validation split."),
    ] = None,
    num_images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 8,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Export a trained model; nothing is written unless it matches PyTorch on real images."""
    require_extra("export", "onnx", "onnxscript")
    require_extra("train", "torch", "torchvision")
    from edgecv.export.parity import Tolerance  # torch takes seconds to import
    from edgecv.export.to_onnx import ExportOptions, export_onnx
    from edgecv.train.checkpoint import load_trained

    screen = console(quiet=quiet)
    options = ExportOptions(head=head, opset=opset, batch=batch, max_detections=max_detections)
    trained = load_trained(checkpoint)
    compared = _images_to_compare(images, trained.spec.task, trained.config.data)[:num_images]
    with screen.status("exporting and comparing"):
        report = export_onnx(
            trained.network,
            trained.spec,
            output,
            compared,
            options=options,
            tolerance=Tolerance(),
            proposals=_proposals_to_compare(images, trained.config.proposals),
        )
    rows = [
        (entry.name, f"{entry.absolute:.2e}", f"{entry.relative:.2e}") for entry in report.outputs
    ]
    title = f"Largest difference from PyTorch on {report.num_images} images"
    print_table(screen, title, ("output", "absolute", "of the largest value"), rows)
    boxes = "" if trained.spec.task == "classify" else f"boxes within {report.box_px:.1e} px, "
    screen.print(
        f"{report.unit.capitalize()}: {report.num_reference} in PyTorch, {report.num_candidate} "
        f"exported, {report.num_matched} matched; {boxes}scores within {report.score:.1e}."
    )
    screen.print(f"Wrote {output} ({output.stat().st_size / 1e6:.1f} MB, {head} head).")
    write_json(json, {"model": str(output), "head": head, "opset": opset, **report.to_plain()})


def _proposals_to_compare(folder: Path | None, file: str | None) -> "Proposals | None":
    """Return the training's proposals; None for other images than the training's, or for none."""
    from edgecv.proposals import read_proposals

    is_known = folder is None and file is not None and Path(file).is_file()
    return read_proposals(Path(file)) if is_known and file is not None else None


def _images_to_compare(folder: Path | None, task: "Task", data: str) -> list[Path]:
    """Return the images of `folder`, else those of the validation split of `data`."""
    from edgecv.data import open_for_task
    from edgecv.stream.sources import images_of

    if folder is not None:
        return images_of(folder)
    return [sample.image_path for sample in open_for_task(task, data, "val", on_bad="skip").samples]
