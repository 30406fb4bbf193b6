"""`edgecv verify`: do two forms of a model do the same, and where do they part?"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from edgecv.cli.app import app
from edgecv.cli.console import (
    Device,
    JsonPath,
    ProposalsPath,
    Quiet,
    Threads,
    console,
    follower,
    print_problems,
    print_table,
    require_extra,
    write_json,
)
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.data import AnyDataset
    from edgecv.export.comparison.pairs import Opened
    from edgecv.export.comparison.verify import Side, Verification

_FURTHER_METRICS = ("AP", "AP50", "AP75", "mask_AP", "keypoint_AP", "mIoU", "top1", "top5")
_MEGABYTE = 1e6


@app.command()
def verify(
    reference: Annotated[
        Path,
        typer.Argument(
            help="The one that is right: best.pt, an ONNX file, b.edgecv#fp16, m.engine, "
            "triton://host:8000/model."
        ),
    ],
    candidate: Annotated[Path, typer.Argument(help="The one that is questioned, likewise.")],
    *,
    data: Annotated[
        str | None,
        typer.Option(help="Measure both: bccd, voc:DIR, coco:DIR, yolo:DIR; folder:DIR."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Default: test, else val, else the only one.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Compare on the images of this folder; needs no labels.")
    ] = None,
    num_images: Annotated[
        int, typer.Option(min=1, help="On how many images outputs and results are compared.")
    ] = 16,
    max_drop: Annotated[
        float | None, typer.Option(help="Exit code 1 if AP or top-1 drops by more.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="... if an output differs by more of its largest value."),
    ] = None,
    max_unmatched: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="... if more of the results are only in one of the two."),
    ] = None,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Look for the first layer that diverges in any case.")
    ] = False,
    repeat: Annotated[int, typer.Option(min=1, help="Calls of each that are timed.")] = 30,
    on_bad: Annotated[
        Literal["error", "skip"], typer.Option(help="What to do with a broken annotation.")
    ] = "error",
    proposals: ProposalsPath = None,
    device: Device = "auto",
    threads: Threads = 0,
    backend: Annotated[
        str,
        typer.Option(
            help="What runs the ONNX files, as of `run`; two with a comma for each its own: "
            "onnxruntime,openvino:bf16."
        ),
    ] = "auto",
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Compare two models: outputs, results, accuracy, latency, and the layer where they part.

    Without a limit, they must agree as far as float32 or float16 allow; 8 bits need one.
    """
    require_extra("export", "onnx", "onnx_ir")
    if any(path.suffix == ".pt" for path in (reference, candidate)):
        require_extra("train", "torch", "torchvision")
    from edgecv.export.comparison.pairs import open_pair  # onnx takes a while to import
    from edgecv.export.comparison.verify import Limits
    from edgecv.export.comparison.verify import verify as verify_pair
    from edgecv.proposals import read_proposals
    from edgecv.runtime.contenders import parse_pair

    screen = console(quiet=quiet)
    limits = Limits(max_drop, tolerance, max_unmatched)
    if max_drop is not None and data is None:
        raise InputError("`--max-drop` needs data to measure on. Name some with `--data`.")
    with screen.status("opening"):
        pair = open_pair(
            reference, candidate, device, threads=threads, backends=parse_pair(backend)
        )
    try:
        dataset = _dataset(data, split, pair[0], on_bad)
        compared = _spread(_images(images, dataset, pair), num_images)
        with Progress(console=screen, transient=True) as bar:
            found = verify_pair(
                *pair,
                compared,
                dataset=dataset,
                limits=limits,
                search=bisect,
                repeat=repeat,
                proposals=None if proposals is None else read_proposals(proposals),
                follow=follower(bar),
            )
    finally:
        for opened in pair:
            opened.model.close()
    where = "" if dataset is None else f"{dataset.name} {dataset.split}"
    _print(screen, found, where, 0 if dataset is None else len(dataset.samples))
    print_problems(screen, [] if dataset is None else dataset.problems)
    _conclude(screen, found)
    figures = {"data": data, "split": None if dataset is None else dataset.split}
    write_json(json, {**figures, "images": [str(path) for path in compared], **found.to_plain()})
    if found.violations:
        raise typer.Exit(1)


def _dataset(
    data: str | None, split: str | None, opened: "Opened", on_bad: Literal["error", "skip"]
) -> "AnyDataset | None":
    from edgecv.data import open_for_task

    if data is None:
        return None
    if opened.model.spec.task not in ("classify", "segment"):
        require_extra("eval", "faster_coco_eval")
    return open_for_task(opened.model.spec.task, data, split, on_bad=on_bad)


def _images(
    folder: Path | None,
    dataset: "AnyDataset | None",
    pair: Sequence["Opened"],
) -> list[Path]:
    """Return the images of the folder, else of the data, else those of a checkpoint's training."""
    from edgecv.data import open_for_task
    from edgecv.stream.sources import images_of

    if folder is not None:
        return images_of(folder)
    trained = next((opened.trained for opened in pair if opened.trained is not None), None)
    if dataset is None and trained is not None:
        dataset = open_for_task(trained.spec.task, trained.config.data, "val", on_bad="skip")
    if dataset is None:
        raise InputError(
            "verify compares on real images. Name a data set with `--data`, which measures too, or "
            "a folder with `--images`."
        )
    return [sample.image_path for sample in dataset.samples]


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Return `count` of the paths, evenly spread: those of one class may lie side by side."""
    count = min(count, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def _print(screen: Console, found: "Verification", where: str, num_images: int) -> None:
    sides = (found.reference, found.candidate)
    title = Text("reference  ", style="dim")
    title.append(f"{found.reference.path}\n", style="bold not dim")
    title.append("candidate  ").append(found.candidate.path, style="bold not dim")
    screen.print(title)
    screen.print()
    rows: list[tuple[object, ...]] = [
        ("backend", *(side.backend for side in sides), ""),
        ("precision", *(side.precision for side in sides), ""),
        _sizes(*sides),
    ]
    left, right = (side.latency.median_ms for side in sides)
    speed = f"{left / right:.2f}x as fast" if right < left else f"{right / left:.2f}x as slow"
    rows.append(("median latency", f"{left:.2f} ms", f"{right:.2f} ms", speed))
    for name in _FURTHER_METRICS:
        if all(name in side.metrics for side in sides):
            before, after = (side.metrics[name] for side in sides)
            change = "–" if math.isnan(after - before) else f"{after - before:+.4f}"
            rows.append((name, f"{before:.4f}", f"{after:.4f}", change))
    measured = f", measured on {where}, {num_images} images" if where else ""
    header = ("", "reference", "candidate", "change")
    print_table(screen, f"Compared on {found.parity.num_images} images{measured}", header, rows)
    outputs = [
        (
            entry.name,
            f"{entry.absolute:.2e}",
            f"{entry.relative:.2e}",
            "–" if entry.snr_db is None else f"{entry.snr_db:.1f}",
        )
        for entry in found.parity.outputs
    ]
    if outputs:
        header = ("output", "absolute", "of the largest value", "SNR dB")
        print_table(screen, "Largest difference", header, outputs)
    if found.parity.incomparable:
        names = ", ".join(f"`{name}`" for name in found.parity.incomparable)
        screen.print(f"Only in the reference, or of another shape: {names}.", markup=False)
    _print_results(screen, found)


def _sizes(left: "Side", right: "Side") -> tuple[object, ...]:
    sizes = (
        None if side.num_bytes is None else f"{side.num_bytes / _MEGABYTE:.2f} MB"
        for side in (left, right)
    )
    is_known = left.num_bytes is not None and right.num_bytes is not None
    return ("size", *sizes, f"{(right.num_bytes or 0) / (left.num_bytes or 1):.2f}x" * is_known)


def _print_results(screen: Console, found: "Verification") -> None:
    parity = found.parity
    boxes = "" if parity.unit == "images" else f"boxes within {parity.box_px:.2g} px, "
    screen.print(
        f"{parity.unit.capitalize()}: {parity.num_reference} in the reference, "
        f"{parity.num_candidate} in the candidate, {parity.num_matched} matched; {boxes}scores "
        f"within {parity.score:.2g}."
    )
    for note in found.notes:
        screen.print(f"Note: {note}", markup=False)


def _conclude(screen: Console, found: "Verification") -> None:
    """Print the verdict, and the layer that is to blame."""
    if found.divergence is not None:
        text = str(found.divergence)
        screen.print(f"Layers: {text}.", markup=False)
        if found.divergence.between:
            nodes = ", ".join(found.divergence.between)
            screen.print(
                f"Between its inputs and it lie {nodes}, which the reference has not: it may be "
                "one of them.",
                markup=False,
            )
        if found.divergence.chooses:
            screen.print(
                "It chooses, or follows a choice: of values that are nearly equal, rounding may "
                "let another win."
            )
    elif found.no_divergence:
        screen.print(f"No layer can be named: {found.no_divergence}", markup=False)
    if found.violations:
        screen.print(Text(f"They differ: {'; '.join(found.violations)}.", style="red"))
    elif found.is_judged:
        screen.print(Text("They agree within the limits.", style="green"))
    else:
        screen.print(
            "Not judged: name what is allowed with --max-drop, --tolerance or --max-unmatched."
        )
