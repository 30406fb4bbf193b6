"""`edgecv run`: a model over a video, pictures or a camera."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from edgecv.cli.app import app
from edgecv.cli.console import (
    Backend,
    CacheFolder,
    Device,
    Hint,
    JsonPath,
    ModelPath,
    Precision,
    ProposalsPath,
    Quiet,
    Threads,
    console,
    print_choice,
    print_table,
    write_json,
)
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.run import RunSummary

if TYPE_CHECKING:
    from typing_extensions import Self

_REFRESH_S = 0.25
_MOST_TOLD = 10  # pictures of which each has its line


@app.command()
def run(
    model: ModelPath,
    *,
    source: Annotated[
        str,
        typer.Option(help="A video, an image, a folder, a glob, a URL (rtsp://…) or a camera: 0."),
    ],
    save: Annotated[
        Path | None, typer.Option(help="Annotated video (.mp4), picture, or folder of pictures.")
    ] = None,
    jsonl: Annotated[Path | None, typer.Option(help="One line of JSON per frame.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Open a window; q closes it.")] = False,
    score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Score threshold; default: the model's.")
    ] = None,
    iou: Annotated[
        float | None, typer.Option(min=0, max=1, help="IoU threshold; default: the model's.")
    ] = None,
    proposals: ProposalsPath = None,
    device: Device = "auto",
    threads: Threads = 0,
    backend: Backend = "auto",
    precision: Precision = None,
    hint: Hint = None,
    cache: CacheFolder = None,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Run a model over a source; CTRL-C closes the files so that they play."""
    from edgecv.proposals import read_proposals
    from edgecv.runtime.model import load  # onnxruntime takes a while to import
    from edgecv.stream.run import run_stream
    from edgecv.stream.sinks import JsonlSink, open_sink
    from edgecv.stream.sources import open_source
    from edgecv.stream.window import Window

    screen = console(quiet=quiet)
    with ExitStack() as stack:
        detector = stack.enter_context(
            load(
                model,
                device,
                threads=threads,
                backend=backend,
                precision=precision,
                hint=hint,
                cache=cache,
            )
        )
        print_choice(screen, detector.session)
        detector = detector.with_thresholds(score=score, iou=iou)
        if proposals is not None:
            detector = detector.with_proposals(read_proposals(proposals))
        opened = stack.enter_context(open_source(source))
        window = stack.enter_context(Window(f"edgecv – {opened.name}")) if show else None
        classes = detector.spec.classes
        sinks = [] if save is None else [open_sink(save, opened, classes)]
        sinks += [] if jsonl is None else [JsonlSink(jsonl, classes)]
        status = stack.enter_context(_LiveLine(screen, opened.num_frames, classes))

        speaks = opened.num_frames is not None and opened.num_frames <= _MOST_TOLD

        def follow(result: StreamResult) -> bool:
            status.update(result)
            if speaks and result.frame.path is not None:
                told = f"{result.frame.path}: {result.result.headline(classes)}"
                screen.print(told, markup=False, soft_wrap=True)
            return window is None or window.show(result)

        detector.session.warm_up()
        summary = run_stream(
            opened, detector, sinks=sinks, draw=show or save is not None, on_result=follow
        )
    print_summary(screen, summary)
    written = [str(path) for path in (save, jsonl) if path is not None]
    if written:
        screen.print(f"Wrote {', '.join(written)}.")
    header = {"model": str(model), "source": source, "backend": detector.session.backend}
    write_json(json, header | summary.to_plain())


def print_summary(screen: Console, summary: RunSummary) -> None:
    """Print what a run did and where its time went."""
    rows: list[tuple[Any, ...]] = [
        (
            name,
            stage.work.median_ms,
            stage.work.p95_ms,
            stage.wait.median_ms,
            stage.work.mean_ms * summary.num_frames / (summary.wall_s * 10 or 1.0),
        )
        for name, stage in summary.stages.items()
    ]
    header = ("stage", "median ms", "p95 ms", "waiting ms", "busy %")
    print_table(screen, "Stages, each in a thread of its own", header, rows)
    found = ", ".join(f"{count} {name}" for name, count in summary.num_found.items())
    screen.print(
        f"{summary.num_frames} frames in {summary.wall_s:.2f} s: {summary.fps:.1f} fps"
        + (f", {summary.num_dropped} dropped" if summary.num_dropped else "")
        + (f", latency {summary.latency.median_ms:.1f} ms" if summary.latency else "")
        + (", interrupted" if summary.is_interrupted else "")
        + f". Found: {found or 'nothing'}."
    )


class _LiveLine:
    """One line that follows a run: frames, FPS of the last moments, latency, the last result."""

    def __init__(self, screen: Console, num_frames: int | None, classes: Sequence[str]) -> None:
        self._live = Live(console=screen, transient=True, auto_refresh=False)
        self._of = "" if num_frames is None else f"/{num_frames}"
        self._classes = classes
        self._since = time.perf_counter()
        self._count = 0

    def __enter__(self) -> "Self":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, result: StreamResult) -> None:
        self._count += 1
        now = time.perf_counter()
        if now - self._since < _REFRESH_S:
            return
        fps = self._count / (now - self._since)
        self._since, self._count = now, 0
        self._live.update(
            f"frame {result.frame.index + 1}{self._of}  {fps:5.1f} fps  "
            f"latency {result.ledger.latency_ms:6.1f} ms  {result.result.headline(self._classes)}",
            refresh=True,
        )
