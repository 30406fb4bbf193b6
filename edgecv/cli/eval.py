"""`edgecv eval`: COCO metrics through the pipeline that `run` uses."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from edgecv.cli.app import app
from edgecv.cli.console import (
    Device,
    JsonPath,
    Quiet,
    Threads,
    console,
    print_problems,
    print_table,
    require_extra,
    write_json,
)


@app.command(name="eval")
def evaluate_model(
    model: Annotated[Path, typer.Argument(help="An ONNX file of `export` or `adopt`.")],
    *,
    data: Annotated[str, typer.Option(help="bccd, voc:DIR, coco:DIR or yolo:DIR.")],
    split: Annotated[
        str | None, typer.Option(help="Default: test, else val, else the only one.")
    ] = None,
    score: Annotated[
        float, typer.Option(min=0, max=1, help="Score threshold; higher ones lower AP.")
    ] = 0.001,
    iou: Annotated[
        float | None, typer.Option(min=0, max=1, help="IoU threshold; default: the model's own.")
    ] = None,
    on_bad: Annotated[
        Literal["error", "skip"], typer.Option(help="What to do with a broken annotation.")
    ] = "error",
    device: Device = "auto",
    threads: Threads = 0,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Measure AP on a data set, per class and by size."""
    require_extra("eval", "faster_coco_eval")
    from edgecv.data import open_dataset  # keeps `edgecv --help` quick
    from edgecv.evaluation import evaluate
    from edgecv.runtime.model import load

    screen = console(quiet=quiet)
    dataset = open_dataset(data, split, on_bad=on_bad)
    with (
        load(model, device, threads=threads) as detector,
        Progress(console=screen, transient=True) as bar,
    ):
        task = bar.add_task("images", total=len(dataset.samples))
        result = evaluate(
            detector,
            dataset,
            score_threshold=score,
            iou_threshold=iou,
            on_image=lambda: bar.advance(task),
        )
        backend = detector.session.backend
    figures = result.to_plain()
    summary = [(name, value) for name, value in figures.items() if name.startswith(("AP", "AR"))]
    title = f"{model} on {dataset.name} {dataset.split}, {len(dataset.samples)} images"
    print_table(screen, title, ("metric", "value"), summary)
    per_class = figures["per_class"]
    rows = [(name, values["AP"], values["AP50"]) for name, values in per_class.items()]
    print_table(screen, "Per class", ("class", "AP", "AP50"), rows)
    screen.print(
        f"Thresholds: score {result.score_threshold:g}, IoU {result.iou_threshold:g}, "
        f"{result.max_detections} detections an image. Backend: {backend}."
    )
    print_problems(screen, dataset.problems)
    skipped = [str(problem) for problem in dataset.problems]
    write_json(json, {"model": str(model), "backend": backend, **figures, "skipped": skipped})
