"""`edgecv bench`: latency and FPS of the network, of each stage and of the whole stream."""

from typing import Annotated

import typer

from edgecv.cli.app import app
from edgecv.cli.console import (
    Backend,
    Device,
    JsonPath,
    ModelPath,
    Quiet,
    Threads,
    TorchPrecision,
    console,
    print_choice,
    print_table,
    write_json,
)
from edgecv.cli.run import print_summary


@app.command()
def bench(
    model: ModelPath,
    *,
    source: Annotated[
        str | None, typer.Option(help="A video or pictures; without, a frame of noise.")
    ] = None,
    warm_up: Annotated[int, typer.Option(min=0, help="Calls before the first that counts.")] = 10,
    repeat: Annotated[int, typer.Option(min=1, help="Calls that count.")] = 100,
    device: Device = "auto",
    threads: Threads = 0,
    backend: Backend = "auto",
    precision: TorchPrecision = None,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Measure how fast a model is on this machine."""
    from edgecv.bench import bench as measure  # keeps `edgecv --help` quick
    from edgecv.runtime.model import load

    screen = console(quiet=quiet)
    with load(model, device, threads=threads, backend=backend, precision=precision) as detector:
        print_choice(screen, detector.session)
        with screen.status("measuring"):
            report = measure(detector, source, warm_up=warm_up, repeat=repeat, threads=threads)
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    screen.print(f"{machine['cpu']}; {machine['backend']}, threads: {machine['threads']}")
    screen.print(f"{versions}; frames {report.frame}", style="dim")
    rows = [
        (
            name,
            part.median_ms,
            part.p90_ms,
            part.p95_ms,
            part.p99_ms,
            f"{1e3 / part.median_ms:.1f}",
        )
        for name, part in {"network alone": report.inference, **report.stages}.items()
    ]
    title = f"{repeat} calls after {warm_up} to warm up, one thread of Python"
    header = ("part", "median ms", "p90 ms", "p95 ms", "p99 ms", "per second")
    print_table(screen, title, header, rows)
    if report.stream is not None:
        screen.print("The whole stream:", style="bold")
        print_summary(screen, report.stream)
        share = report.stream.fps * report.inference.median_ms / 1e3
        screen.print(f"That is {share:.0%} of what the network alone would allow.")
    write_json(json, {"model": str(model), **report.to_plain()})
