"""`edgecv eval`: accuracy through the pipeline that `run` uses."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from edgecv.cli.app import app
from edgecv.cli.console import (
    Backend,
    CacheFolder,
    Device,
    JsonPath,
    ModelPath,
    Precision,
    ProposalsPath,
    Quiet,
    Threads,
    await_engine,
    console,
    print_choice,
    print_problems,
    print_table,
    require_extra,
    write_json,
)
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.data import ClassificationDataset, DetectionDataset, SegmentationDataset
    from edgecv.evaluation import ClassificationEvaluation, Evaluation, SegmentationEvaluation
    from edgecv.runtime.model import Model
    from edgecv.stream.runner import Runner

_COLUMNS = {
    "AP": "AP",
    "AP50": "AP50",
    "AP75": "AP75",
    "VOC2010_AP50": "VOC AP50",
    "best_F1": "best F1",
    "best_F1_score": "at score",
}
_MASK_COLUMNS = {"mask_AP": "mask AP", "mask_AP50": "mask AP50", "mask_AP75": "mask AP75"}
_KEYPOINT_COLUMNS = {
    "keypoint_AP": "keypoint AP",
    "keypoint_AP50": "keypoint AP50",
    "keypoint_AP75": "keypoint AP75",
}
_CLASS_COLUMNS = {
    "top1": "top-1 (recall)",
    "top5": "top-5",
    "precision": "precision",
    "num_images": "images",
}
_PIXEL_COLUMNS = {
    "IoU": "IoU",
    "Dice": "Dice",
    "accuracy": "accuracy",
    "precision": "precision",
    "num_pixels": "pixels",
}
_DEFAULT_SCORE = 0.001
_MOST_CONFUSED = 12  # classes whose confusion matrix fits a terminal


@app.command(name="eval")
def evaluate_model(
    model: ModelPath,
    *,
    data: Annotated[
        str,
        typer.Option(
            help="bccd, voc:DIR, coco:DIR, yolo:DIR; by class: folder:DIR; by pixel: labels:DIR."
        ),
    ],
    split: Annotated[
        str | None, typer.Option(help="Default: test, else val, else the only one.")
    ] = None,
    score: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Score threshold; higher ones lower AP.",
            show_default=str(_DEFAULT_SCORE),
        ),
    ] = None,
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
    tile: Annotated[
        int | None, typer.Option(min=2, help="Look at tiles of this side in pixels, as `run` does.")
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(min=0, help="What tiles share of their sides; default: 0.2.")
    ] = None,
    proposals: ProposalsPath = None,
    device: Device = "auto",
    threads: Threads = 0,
    backend: Backend = "auto",
    precision: Precision = None,
    cache: CacheFolder = None,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Measure AP, also of masks and keypoints, a classifier's accuracy, or IoU, also per class."""
    # These keep `edgecv --help` quick.
    from edgecv.data import open_classification, open_dataset, open_segmentation
    from edgecv.files import make_folder
    from edgecv.proposals import read_proposals
    from edgecv.runtime.model import load
    from edgecv.stream.models import assembled

    screen = console(quiet=quiet)
    with load(
        model, device, threads=threads, backend=backend, precision=precision, cache=cache
    ) as loaded:
        print_choice(screen, loaded.session)
        await_engine(screen, loaded.session)
        kind = {"classify": "a classifier", "segment": "a segmentation model"}.get(loaded.spec.task)
        packages = ("faster_coco_eval",) if kind is None else ()
        require_extra("eval", *packages, *(("matplotlib",) if report else ()))
        if report is not None:
            make_folder(report)  # before the work, not after
        opened = loaded
        if proposals is not None:
            opened = loaded.with_proposals(read_proposals(proposals))
        looking = assembled(opened, tile=tile, overlap=overlap)
        command = _Command(screen, model, report, opened.session.backend)
        if kind is not None and (score is not None or iou is not None):
            raise InputError(f"{kind} has no thresholds. Leave out `--score` and `--iou`.")
        if loaded.spec.task == "segment":
            scenes = open_segmentation(data, split, on_bad=on_bad)
            figures = command.segmenter(opened, scenes)
            problems = scenes.problems
        elif loaded.spec.task == "classify":
            images = open_classification(data, split, on_bad=on_bad)
            figures = command.classifier(opened, images)
            problems = images.problems
        else:
            objects = open_dataset(data, split, on_bad=on_bad)
            chosen = _DEFAULT_SCORE if score is None else score
            figures = command.detector(looking, objects, chosen, iou, tile)
            problems = objects.problems
    skipped = [str(problem) for problem in problems]
    write_json(
        json,
        {
            "model": str(model),
            "backend": command.backend,
            "tile": tile,
            **figures,
            "skipped": skipped,
        },
    )


class _Command:
    """What is printed and written, a method a family of tasks; each returns the figures."""

    def __init__(self, screen: Console, path: Path, report: Path | None, backend: str) -> None:
        self.screen = screen
        self.path = path
        self.report = report
        self.backend = backend

    def detector(
        self,
        model: "Model | Runner",
        dataset: "DetectionDataset",
        score: float,
        iou: float | None,
        tile: int | None,
    ) -> dict[str, Any]:
        from edgecv.evaluation import evaluate
        from edgecv.report import Report, write_report

        result: Evaluation = self._followed(
            len(dataset.samples),
            lambda on_image: evaluate(
                model, dataset, score_threshold=score, iou_threshold=iou, on_image=on_image
            ),
        )
        images = f"{len(dataset.samples)} images"
        images += "" if tile is None else f" in tiles of {tile} pixels"
        title = f"{self.path} on {dataset.name} {dataset.split}, {images}"
        print_table(self.screen, title, ("metric", "value"), [*result.metrics.summary.items()])
        columns = _COLUMNS
        for further in (_MASK_COLUMNS, _KEYPOINT_COLUMNS):
            columns = columns | (further if further.keys() <= result.metrics.summary.keys() else {})
        rows = [
            (name, *(values[key] for key in columns))
            for name, values in result.metrics.per_class.items()
        ]
        print_table(self.screen, "Per class", ("class", *columns.values()), rows)
        thresholds = (
            f"Thresholds: score {result.score_threshold:g}, IoU {result.iou_threshold:g}, "
            f"{result.max_detections} detections an image."
        )
        self.screen.print(f"{thresholds} Backend: {self.backend}.")
        print_problems(self.screen, dataset.problems)
        if self.report is not None:
            facts = (f"Split {dataset.split}, {images}.", thresholds, f"Backend: {self.backend}.")
            name = f"{self.path.stem} on {dataset.name}"
            written = Report(name, facts, result.metrics, result.confusion)
            self.screen.print(f"Report: {write_report(written, self.report)}")
        return result.to_plain()

    def classifier(self, model: "Model", dataset: "ClassificationDataset") -> dict[str, Any]:
        from edgecv.evaluation import evaluate_classifier
        from edgecv.report import ClassificationReport, write_report

        result: ClassificationEvaluation = self._followed(
            len(dataset.samples),
            lambda on_image: evaluate_classifier(model, dataset, on_image=on_image),
        )
        metrics = result.metrics
        images = f"{len(dataset.samples)} images"
        title = f"{self.path} on {dataset.name} {dataset.split}, {images}"
        print_table(self.screen, title, ("metric", "value"), [*metrics.summary.items()])
        rows = [
            (name, *(values[key] for key in _CLASS_COLUMNS))
            for name, values in metrics.per_class.items()
        ]
        print_table(self.screen, "Per class", ("class", *_CLASS_COLUMNS.values()), rows)
        labels = metrics.confusion.labels
        if len(labels) <= _MOST_CONFUSED:
            counts = zip(labels, metrics.confusion.counts.tolist(), strict=True)
            header = ("true \\ predicted", *labels)
            print_table(
                self.screen, "Confusion matrix", header, [(name, *row) for name, row in counts]
            )
        else:
            self.screen.print("The confusion matrix is in `--report DIR` and `--json FILE`.")
        if dataset.note:
            self.screen.print(f"{dataset.note}.", markup=False)
        self.screen.print(f"Backend: {self.backend}.")
        print_problems(self.screen, dataset.problems)
        if self.report is not None:
            facts = (f"Split {dataset.split}, {images}.", f"Backend: {self.backend}.")
            name = f"{self.path.stem} on {dataset.name}"
            written = ClassificationReport(name, facts, metrics)
            self.screen.print(f"Report: {write_report(written, self.report)}")
        return result.to_plain()

    def segmenter(self, model: "Model", dataset: "SegmentationDataset") -> dict[str, Any]:
        from edgecv.evaluation import evaluate_segmentation, examples_of
        from edgecv.report import SegmentationReport, write_report

        result: SegmentationEvaluation = self._followed(
            len(dataset.samples),
            lambda on_image: evaluate_segmentation(model, dataset, on_image=on_image),
        )
        metrics = result.metrics
        images = f"{len(dataset.samples)} images"
        title = f"{self.path} on {dataset.name} {dataset.split}, {images}"
        print_table(self.screen, title, ("metric", "value"), [*metrics.summary.items()])
        rows = [
            (name, *(values[key] for key in _PIXEL_COLUMNS))
            for name, values in metrics.per_class.items()
        ]
        print_table(self.screen, "Per class", ("class", *_PIXEL_COLUMNS.values()), rows)
        self.screen.print("The confusion matrix is in `--report DIR` and `--json FILE`.")
        self.screen.print(f"Backend: {self.backend}.")
        print_problems(self.screen, dataset.problems)
        if self.report is not None:
            facts = (f"Split {dataset.split}, {images}.", f"Backend: {self.backend}.")
            name = f"{self.path.stem} on {dataset.name}"
            examples = examples_of(model, dataset, metrics)
            written = SegmentationReport(name, facts, metrics, examples)
            self.screen.print(f"Report: {write_report(written, self.report)}")
        return result.to_plain()

    def _followed(self, num_images: int, work: Callable[[Callable[[], None]], Any]) -> Any:  # noqa: ANN401
        """Return what `work` returns, a bar following its images."""
        with Progress(console=self.screen, transient=True) as bar:
            task = bar.add_task("images", total=num_images)
            return work(lambda: bar.advance(task))
