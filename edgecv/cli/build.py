"""`edgecv build`: an ONNX file as a TensorRT engine, by a recipe."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from edgecv.cli.app import app
from edgecv.cli.build_progress import ProgressLines, progress_bar
from edgecv.cli.console import JsonPath, Quiet, console, print_table, require_extra, write_json

if TYPE_CHECKING:
    from edgecv.runtime.engine_record import EngineLayer, EngineRecord

_SLOWEST_SHOWN = 10


@app.command()
def build(
    model: Annotated[
        Path, typer.Argument(help="An ONNX file, of edgecv or adopted, or any other.")
    ],
    *,
    recipe: Annotated[
        str, typer.Option(help="A name such as orin-nano-fp16, or a file; a wrong name lists all.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: MODEL.engine.")
    ] = None,
    require_precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Exit code 1 if a convolution or matrix product computes in another."),
    ] = None,
    plugins: Annotated[
        Path | None, typer.Option(help="libedgecv_plugins.so; default: the installed one.")
    ] = None,
    layer_times: Annotated[
        bool, typer.Option("--layer-times", help="Time each layer of the engine.")
    ] = False,
    print_trtexec: Annotated[
        bool,
        typer.Option("--print-trtexec", help="Print trtexec's command for this engine, and stop."),
    ] = False,
    progress: Annotated[
        Literal["bar", "json"],
        typer.Option(help="json: a line a change on standard output, which has no other then."),
    ] = "bar",
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Build a TensorRT engine on the GPU that will run it; model.engine.json says how it was made.

    Types are those of the file: `edgecv export --precision fp16` comes first.
    """
    if progress == "json":
        # The program that started this calls it off so, even where SIGINT is ignored: behind `&`.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    require_extra("export", "onnx", "onnx_ir")
    from edgecv.export.engine.source import BuildJob

    screen = console(quiet=quiet or progress == "json")
    job = BuildJob(
        model,
        output or model.with_suffix(".engine"),
        recipe,
        plugins=plugins,
        required=require_precision,
        with_times=layer_times,
    )
    if print_trtexec:
        from edgecv.export.engine.trtexec import command_of

        command, written = command_of(job)
        if written is not None:
            screen.print(f"Wrote {written}, the graph as TensorRT reads it.", markup=False)
        typer.echo(command)
        return
    from edgecv.export.engine.build import build_engine

    if progress == "json":
        record = build_engine(job, ProgressLines())
    else:
        with progress_bar(screen) as show:
            record = build_engine(job, show)
    _print(screen, job.output, record)
    write_json(json, record.to_plain())


def _print(screen: Console, engine: Path, record: "EngineRecord") -> None:
    counts: dict[str, int] = {}
    for layer in record.layers:
        kind = layer.computes_in or "of no or an unknown type"
        counts[kind] = counts.get(kind, 0) + 1
    if any(layer.time_ms is not None for layer in record.layers):
        _print_slowest(screen, record.layers)
    for line in record.log:
        screen.print(line, style="dim", markup=False)
    types = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    screen.print(
        f"Built with TensorRT {record.tensorrt} on {record.gpu} in {record.duration_s:.0f} s. "
        f"Layers: {types or 'none are named'}.",
        markup=False,
    )
    megabytes = engine.stat().st_size / 1e6
    screen.print(f"Wrote {engine} ({megabytes:.1f} MB) and {engine.name}.json.", markup=False)


def _print_slowest(screen: Console, layers: Sequence["EngineLayer"]) -> None:
    timed = sorted(layers, key=lambda layer: -(layer.time_ms or 0.0))
    total = sum(layer.time_ms or 0.0 for layer in layers)
    rows = [
        (layer.name, layer.kind, layer.computes_in or "–", f"{layer.time_ms or 0.0:.3f}")
        for layer in timed[:_SLOWEST_SHOWN]
    ]
    title = f"The slowest of {len(layers)} layers, which take {total:.2f} ms together"
    print_table(screen, title, ("layer", "kind", "type", "ms"), rows)
