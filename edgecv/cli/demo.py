"""`edgecv demo`: the whole line in a few minutes."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from edgecv.cli.app import app
from edgecv.cli.console import JsonPath, Quiet, console, print_table, require_extra, write_json
from edgecv.cli.training_bar import TrainingBar
from edgecv.errors import InputError

_MARK = ".edgecv-demo"  # so that a folder of somebody else is never cleared


@app.command()
def demo(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder; an older demo in it is replaced.")
    ] = Path("runs/demo"),
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Train, export, check, evaluate and run a detector, and write a page about it."""
    require_extra("train", "torch", "torchvision", "faster_coco_eval", "tensorboard")
    require_extra("export", "onnx", "onnxscript")
    from edgecv.demo.demo import run_demo  # torch takes seconds to import
    from edgecv.demo.report import write_report

    screen = console(quiet=quiet)
    _clear(output)
    with TrainingBar(screen) as bar:
        result = run_demo(output, bar, lambda text: screen.print(text, style="bold"))
    page = output / "index.html"
    write_report(result, page)
    metrics = result.evaluation.metrics
    rows = [(name, values["AP"], values["AP50"]) for name, values in metrics.per_class.items()]
    rows.append(("all", metrics.summary["AP"], metrics.summary["AP50"]))
    print_table(screen, f"Test: {result.data}", ("class", "AP", "AP50"), rows)
    screen.print(
        f"Parity: {result.parity.num_matched} of {result.parity.num_reference} detections match "
        f"PyTorch within {result.parity.box_px:.1e} px. "
        f"Network alone: {result.speed.inference.median_ms:.1f} ms."
    )
    screen.print(f"Done in {result.seconds:.0f} s. Open {page}")
    write_json(json, result.to_plain())


def _clear(folder: Path) -> None:
    """Make room for a new demo.

    Raises:
        InputError: if `folder` holds something that no demo put there.

    """
    if folder.exists():
        if not (folder / _MARK).exists() and any(folder.iterdir()):
            raise InputError(
                f"`{folder}` holds something else than a demo. Choose another with `--output`."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
