"""`edgecv eval`: COCO and VOC metrics through the pipeline that `run` uses."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from edgecv.cli.app import app
from edgecv.cli.console import (
    Device,
    JsonPath,
    ProposalsPath,
    Quiet,
    Threads,
    console,
    print_problems,
    print_table,
    require_extra,
    write_json,
)

_COLUMNS = {
    "AP": "AP",
    "AP50": "AP50",
    "AP75": "AP75",
    "VOC2010_AP50": "VOC AP50",
    "best_F1": "best F1",
    "best_F1_score": "at score",
}


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
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html: curves, confusion matrix, figures by class."),
    ] = None,
    proposals: ProposalsPath = None,
    device: Device = "auto",
    threads: Threads = 0,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Measure AP on a data set, per class and by size."""
    require_extra("eval", "faster_coco_eval", *(("matplotlib",) if report else ()))
    from edgecv.data import open_dataset  # keeps `edgecv --help` quick
    from edgecv.evaluation import evaluate
    from edgecv.files import make_folder
    from edgecv.proposals import read_proposals
    from edgecv.report import Report, write_report
    from edgecv.runtime.model import load

    screen = console(quiet=quiet)
    if report is not None:
        make_folder(report)  # before the work, not after
    dataset = open_dataset(data, split, on_bad=on_bad)
    with (
        load(model, device, threads=threads) as opened,
        Progress(console=screen, transient=True) as bar,
    ):
        detector = opened
        if proposals is not None:
            detector = opened.with_proposals(read_proposals(proposals))
        task = bar.add_task("images", total=len(dataset.samples))
        result = evaluate(
            detector,
            dataset,
            score_threshold=score,
            iou_threshold=iou,
            on_image=lambda: bar.advance(task),
        )
        backend = detector.session.backend
    images = f"{len(dataset.samples)} images"
    title = f"{model} on {dataset.name} {dataset.split}, {images}"
    print_table(screen, title, ("metric", "value"), [*result.metrics.summary.items()])
    rows = [
        (name, *(values[key] for key in _COLUMNS))
        for name, values in result.metrics.per_class.items()
    ]
    print_table(screen, "Per class", ("class", *_COLUMNS.values()), rows)
    thresholds = (
        f"Thresholds: score {result.score_threshold:g}, IoU {result.iou_threshold:g}, "
        f"{result.max_detections} detections an image."
    )
    screen.print(f"{thresholds} Backend: {backend}.")
    print_problems(screen, dataset.problems)
    if report is not None:
        facts = (f"Split {dataset.split}, {images}.", thresholds, f"Backend: {backend}.")
        name = f"{model.stem} on {dataset.name}"
        page = write_report(Report(name, facts, result.metrics, result.confusion), report)
        screen.print(f"Report: {page}")
    skipped = [str(problem) for problem in dataset.problems]
    figures = {"model": str(model), "backend": backend, **result.to_plain(), "skipped": skipped}
    write_json(json, figures)
