"""`edgecv bench`: latency and FPS of the network, of each stage, of the stream; or of backends."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from edgecv.cli.app import app
from edgecv.cli.console import (
    CacheFolder,
    Device,
    Hint,
    JsonPath,
    ModelPath,
    Precision,
    Quiet,
    Threads,
    await_engine,
    console,
    print_choice,
    print_table,
    write_json,
)
from edgecv.cli.run import print_summary
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.backend_comparison import Comparison
    from edgecv.bench import PowerReport
    from edgecv.data import AnyDataset
    from edgecv.runtime.contenders import Contender
    from edgecv.runtime.model import Model
    from edgecv.runtime.session import RunOptions


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
    backend: Annotated[
        str,
        typer.Option(
            help="What runs it, as of `run`; all, or several with commas, to compare them in one "
            "table: onnxruntime,openvino,openvino:bf16."
        ),
    ] = "auto",
    data: Annotated[
        str | None,
        typer.Option(help="Of a comparison: measure the accuracy of each too, on bccd, coco:DIR…"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of the data. Default: test, else val, else the only one.")
    ] = None,
    precision: Precision = None,
    hint: Hint = None,
    cache: CacheFolder = None,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Measure how fast a model is on this machine, or compare the backends that can run it."""
    from edgecv.runtime.contenders import ALL, parse_contenders  # keeps `edgecv --help` quick
    from edgecv.runtime.session import RunOptions

    screen = console(quiet=quiet)
    contenders = parse_contenders(backend, model, device)
    if backend.strip() == ALL or len(contenders) > 1:
        _refuse_of_one(source=source, precision=precision, hint=hint)
        options = RunOptions(device, threads, cache=cache)
        compared = _compare(screen, model, contenders, options, repeat, (data, split))
        write_json(json, {"model": str(model), **compared.to_plain()})
        return
    if data is not None or split is not None:
        raise InputError(
            "`--data` and `--split` are for a comparison of backends. Add `--backend all`, or "
            "measure the accuracy of one with `edgecv eval`."
        )
    named = contenders[0].precision
    if None not in (named, precision) and named != precision:
        raise InputError(
            f"`--precision` is {precision}, but `--backend` asks for {named}. Leave one out."
        )
    options = RunOptions(device, threads, contenders[0].backend, named or precision, hint, cache)
    _measure(screen, model, options, (source, warm_up, repeat), json)


def _refuse_of_one(**given: object) -> None:
    """Refuse options that speak of a single backend."""
    for name, value in given.items():
        if value is not None:
            remedy = " Write it behind a backend: openvino:bf16." if name == "precision" else ""
            raise InputError(
                f"`--{name}` is for one backend, and several are compared. Leave it out.{remedy}"
            )


def _measure(
    screen: Console,
    path: Path,
    options: "RunOptions",
    amounts: tuple[str | None, int, int],
    json: Path | None,
) -> None:
    from edgecv.bench import bench as measure
    from edgecv.board.energy import open_power_probe
    from edgecv.runtime.model import Model
    from edgecv.runtime.session import open_as
    from edgecv.stream.sources.uri import is_path

    source, warm_up, repeat = amounts
    with ExitStack() as stack:
        model = stack.enter_context(Model(open_as(path, options)))
        is_run_for_throughput = source is not None and is_path(source) and options.hint is None
        streaming = model
        if is_run_for_throughput and not model.prefers_batches:  # on a CPU
            streaming = Model(open_as(path, replace(options, hint="throughput")))
            stack.enter_context(streaming)
            streaming.session.warm_up()
        print_choice(screen, model.session)
        await_engine(screen, model.session)
        probe = open_power_probe()
        if probe is not None:
            stack.enter_context(probe)
        with screen.status("measuring"):
            report = measure(
                model,
                source,
                warm_up=warm_up,
                repeat=repeat,
                threads=options.threads,
                streaming=streaming,
                power=probe,
            )
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
        names = ", ".join(report.stream.num_by_backend)
        screen.print(f"The whole stream, on {names}:", style="bold")
        print_summary(screen, report.stream)
        share = report.stream.fps * report.inference.median_ms / 1e3
        screen.print(f"That is {share:.0%} of the network alone, an image after the other.")
    if report.power is not None:
        _print_power(screen, report.power)
    write_json(json, {"model": str(path), **report.to_plain()})


def _print_power(screen: Console, power: "PowerReport") -> None:
    rows = [
        (
            name,
            use.mean_w,
            use.peak_w,
            f"{use.fps:.1f}",
            use.fps_per_watt,
            use.joules_per_frame,
            use.joules_above_idle_per_frame,
        )
        for name, use in power.uses.items()
    ]
    rails = " + ".join(power.total_of)
    title = f"Power of {power.scope}, by {power.source} ({rails}); idle {power.idle_w:.2f} W"
    header = ("part", "mean W", "peak W", "FPS", "FPS per W", "J per frame", "J above idle")
    print_table(screen, title, header, rows)
    for name, use in power.uses.items():
        if use.is_short:
            screen.print(
                f"The {name} took {use.seconds:.1f} s: too short to rely on. Give a longer video.",
                style="yellow",
            )
        for reason in use.throttling:
            told = f"Throttled during the {name}: {reason}."
            screen.print(told, style="yellow", markup=False)
    if not any(use.throttling for use in power.uses.values()):
        screen.print("No throttling was seen.", style="dim")


def _compare(
    screen: Console,
    path: Path,
    contenders: "list[Contender]",
    options: "RunOptions",
    repeat: int,
    data: tuple[str | None, str | None],
) -> "Comparison":
    from edgecv.backend_comparison import compare_backends
    from edgecv.data import open_for_task
    from edgecv.runtime.racing import remember_comparison

    name, split = data

    def ground_truth(model: "Model") -> "AnyDataset":
        return open_for_task(model.spec.task, name or "", split)

    with screen.status("opening") as status:
        compared = compare_backends(
            path,
            contenders,
            options,
            repeat=repeat,
            open_dataset=None if name is None else ground_truth,
            on_step=status.update,
        )
    machine = compared.machine
    versions = ", ".join(f"{each} {version}" for each, version in machine["versions"].items())
    screen.print(f"{machine['cpu']}; threads: {machine['threads']}")
    screen.print(versions, style="dim")
    metric = next((row.accuracy.metric for row in compared.rows if row.accuracy), None)
    header = ("backend", "median ms", "p95 ms", "images/s", "difference")
    rows: list[tuple[object, ...]] = []
    for row in compared.rows:
        apart = "–" if row.difference is None else f"{row.difference:.1e}"
        speed = f"{row.per_second:.1f}"
        figures = (row.backend, row.latency.median_ms, row.latency.p95_ms, speed, apart)
        rows.append((*figures, *(() if row.accuracy is None else (f"{row.accuracy.value:.4f}",))))
    title = (
        f"{repeat} calls of each in turns; images/s with {machine['callers']} callers at once; "
        "difference from the first, of the largest value"
    )
    print_table(screen, title, (*header, *(() if metric is None else (metric,))), rows)
    for failed, reason in compared.failures.items():
        screen.print(f"{failed}: {reason}", markup=False, soft_wrap=True)
    if remember_comparison(path, options, compared.exchangeable_ms):
        screen.print("`--backend auto` goes by these figures from now on.", markup=False)
    return compared
