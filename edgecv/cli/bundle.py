"""`edgecv bundle`: one file with a model in every form that a device may want."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecv.cli.app import app
from edgecv.cli.console import Device, JsonPath, Quiet, console, print_table, write_json
from edgecv.errors import InputError
from edgecv.precision import Precision

if TYPE_CHECKING:
    from edgecv.bundle.manifest import Entry, Measured
    from edgecv.bundle.writing import Addition

bundle = typer.Typer(
    help="Keep a model's precisions, engines and measurements in one file.", no_args_is_help=True
)
app.add_typer(bundle, name="bundle")

BundlePath = Annotated[Path, typer.Argument(help="The bundle, NAME.edgecv.")]


@bundle.command()
def add(
    path: BundlePath,
    model: Annotated[
        Path | None, typer.Argument(help="An ONNX file of `export` or `adopt`.")
    ] = None,
    *,
    precision: Annotated[
        Precision | None, typer.Option(help="What it computes with; default: what the file says.")
    ] = None,
    metrics: Annotated[
        list[Path] | None,
        typer.Option(help="What `eval --json` or `bench --json` wrote of it; may be repeated."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(min=0, help="How far its accuracy may lie below that of fp32.")
    ] = None,
    engine: Annotated[
        Path | None, typer.Option(help="A TensorRT engine; without MODEL, give its --precision.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="The engine's GPU; default: this machine's, as the next two.")
    ] = None,
    capability: Annotated[
        str | None, typer.Option(help="That GPU's compute capability, such as 8.7.")
    ] = None,
    tensorrt: Annotated[
        str | None, typer.Option(help="TensorRT's version that built the engine, such as 10.3.0.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="The calibration table of the 8-bit files, JSON.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let a file take the place of another of its name.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Add an ONNX file, an engine, a calibration table, or what was measured of an entry.

    Figures alone, without MODEL, go to the entry of that --precision.
    """
    from edgecv.bundle.manifest import Measured
    from edgecv.bundle.measurements import read_measurements
    from edgecv.bundle.writing import News, read_calibration, read_model
    from edgecv.bundle.writing import add as add_to

    measured = Measured(max_drop=max_drop)
    for file in metrics or ():
        measured = measured.updated(read_measurements(file))
    additions: list[Addition | News] = []
    if model is not None:
        read = read_model(model, precision, measured)
        precision = read.precision
        additions.append(read)
    if engine is not None:
        built_on = _built_on(gpu, capability, tensorrt)
        own = measured if model is None else Measured()
        additions.append(_read_engine(engine, precision, built_on, own))
    if calibration is not None:
        additions.append(read_calibration(calibration))
    if model is None and engine is None and measured != Measured():
        if precision is None:
            raise InputError("say which entry was measured, with `--precision`.")
        additions.append(News(precision, measured))
    if not additions:
        raise InputError("there is nothing to add. Name an ONNX file, or see `--help`.")
    manifest = add_to(path, *additions, replace_existing=replace)
    names = ", ".join(entry.name for entry in manifest.entries)
    console(quiet=quiet).print(f"Wrote {path}: {names}.", markup=False, soft_wrap=True)


@bundle.command(name="list")
def list_entries(
    path: BundlePath, *, device: Device = "auto", json: JsonPath = None, quiet: Quiet = False
) -> None:
    """List what a bundle holds, what was measured of it, and what this machine would run."""
    from edgecv.bundle.choosing import choose
    from edgecv.bundle.machine import this_machine
    from edgecv.bundle.reading import Bundle
    from edgecv.records import to_plain

    screen = console(quiet=quiet)
    with Bundle(path) as opened:
        manifest = opened.manifest
    spec = manifest.spec
    height, width = spec.input.size_hw
    title = f"{path}: {spec.task}, {len(spec.classes)} classes, input {height}x{width}"
    rows: list[tuple[Any, ...]] = [
        (entry.name, _size(entry.contents.size_bytes), *_figures(entry.measured))
        for entry in manifest.runnable
    ]
    if manifest.calibration is not None:
        table = manifest.calibration
        rows.append((table.name, _size(table.contents.size_bytes), None, None, None, None))
    header = ("entry", "size", "metric", "value", "max drop", "latency ms")
    print_table(screen, title, header, rows)
    plain: dict[str, Any] = {"bundle": str(path), **to_plain(manifest)}
    try:
        machine = this_machine(with_gpu=device != "cpu" and manifest.speaks_of_gpus)
        choice = choose(manifest, machine, device)
    except InputError as error:
        screen.print(f"Here: {error}", markup=False, soft_wrap=True)
        plain["choice"] = None
    else:
        lines = [f"Here: {choice.entry.name} with {choice.backend}: {choice.reason}."]
        lines += [f"  not {name}: {why}." for name, why in choice.passed_over.items()]
        for line in lines:
            screen.print(line, markup=False, soft_wrap=True)
        plain["choice"] = {
            "entry": choice.entry.name,
            "backend": choice.backend,
            "reason": choice.reason,
            "passed_over": dict(choice.passed_over),
        }
    write_json(json, plain)


@bundle.command()
def verify(path: BundlePath, *, quiet: Quiet = False) -> None:
    """Check every checksum and every description in a bundle."""
    from edgecv.bundle.reading import Bundle

    screen = console(quiet=quiet)
    with Bundle(path) as opened:
        opened.verify(
            lambda entry: screen.print(f"{entry.name}: {entry.contents.sha256}", markup=False)
        )
        count = len(opened.manifest.entries)
    screen.print(f"{path} is whole: {count} entries.", markup=False, soft_wrap=True)


@bundle.command()
def extract(
    path: BundlePath,
    entries: Annotated[
        list[str] | None, typer.Argument(help="Names that `list` shows; default: everything.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")],
    best: Annotated[bool, typer.Option("--best", help="Only what this machine would run.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Write a bundle's files into a folder, under the names that they have in it."""
    from edgecv.bundle.choosing import choose
    from edgecv.bundle.machine import this_machine
    from edgecv.bundle.manifest import MANIFEST_FILE
    from edgecv.bundle.reading import Bundle
    from edgecv.files import write_text

    if best and entries:
        raise InputError("`--best` chooses by itself. Leave out the names, or `--best`.")
    screen = console(quiet=quiet)
    with Bundle(path) as opened:
        manifest = opened.manifest
        wanted: list[Entry] = [manifest.entry(name) for name in entries or ()]
        if best:
            machine = this_machine(with_gpu=device != "cpu" and manifest.speaks_of_gpus)
            choice = choose(manifest, machine, device)
            screen.print(f"{choice.entry.name}: {choice.reason}", markup=False, soft_wrap=True)
            wanted = [choice.entry]
        written = [opened.extract(entry, output) for entry in wanted or manifest.entries]
    if not wanted:
        write_text(output / MANIFEST_FILE, manifest.to_json())
        written.insert(0, output / MANIFEST_FILE)
    names = ", ".join(map(str, written))
    screen.print(f"Wrote {names}.", markup=False, soft_wrap=True)


def _built_on(gpu: str | None, capability: str | None, tensorrt: str | None) -> dict[str, str]:
    """Return what an engine was built on; this machine's facts stand in for what was not said."""
    from edgecv.bundle.machine import find_gpu

    facts = {"gpu": gpu, "capability": capability, "tensorrt": tensorrt}
    if not all(facts.values()) and (found := find_gpu()) is not None:
        facts = {
            "gpu": gpu or found.name,
            "capability": capability or found.capability,
            "tensorrt": tensorrt or found.tensorrt,
        }
    missing = [f"`--{name}`" for name, value in facts.items() if not value]
    if missing:
        raise InputError(
            f"this machine does not say on what the engine was built. Give {', '.join(missing)}."
        )
    return {name: str(value) for name, value in facts.items()}


def _read_engine(
    path: Path, precision: Precision | None, built_on: dict[str, str], measured: "Measured"
) -> "Addition":
    from edgecv.bundle.writing import read_engine

    if precision is None:
        raise InputError("an engine does not say its precision. Give it with `--precision`.")
    return read_engine(path, precision, **built_on, measured=measured)


def _figures(measured: "Measured") -> tuple[Any, ...]:
    """Return the cells of a row: metric, value, limit, the latency on this CPU."""
    from edgecv.provenance import cpu_name

    accuracy = measured.accuracy
    here = [each for each in measured.latencies if each.processor == cpu_name()]
    return (
        None if accuracy is None else f"{accuracy.metric}, {accuracy.data} {accuracy.split}",
        None if accuracy is None else accuracy.value,
        measured.max_drop,
        min((each.median_ms for each in here), default=None),
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.2f} MB"
