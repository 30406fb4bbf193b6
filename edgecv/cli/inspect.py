"""`edgecv inspect`: what an ONNX file holds, what it costs, and which targets run it."""

from collections import defaultdict
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgecv.cli.app import app
from edgecv.cli.console import JsonPath, Quiet, console, print_table, require_extra, write_json
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.export.inspection.summary import Summary, Tensor
    from edgecv.export.inspection.support import Finding, Support, Target

_MARKS = {"supported": "yes", "plugin": "plugin", "limited": "limited", "unsupported": "no"}
_STYLES = {"supported": "green", "plugin": "cyan", "limited": "yellow", "unsupported": "red"}
_TITLES = {
    "tensorrt-10.3": "TensorRT 10.3",
    "tensorrt-10.13": "TensorRT 10.13+",
    "tensorrt-11": "TensorRT 11",
}
_NODES_SHOWN = 2


class _Target(str, Enum):
    """`edgecv.export.inspection.support.Target` for typer, whose lists hold no literals."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT_10_3 = "tensorrt-10.3"
    TENSORRT_10_13 = "tensorrt-10.13"
    TENSORRT_11 = "tensorrt-11"


@app.command(name="inspect")
def inspect_model(
    model: Annotated[Path, typer.Argument(help="Any ONNX file, described or not.")],
    *,
    target: Annotated[
        list[_Target] | None,
        typer.Option(help="Check against this, exit code 1 if it cannot run. May come again."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="A row for each layer.")] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images a call, where the graph leaves it open.")
    ] = None,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Show operators, parameters, MACs and memory of an ONNX file, and which targets run it."""
    require_extra("export", "onnx", "onnx_ir")
    from edgecv.bundle.reading import is_bundle, split_entry
    from edgecv.export.graphs.model_file import read_onnx  # onnx takes a while to import
    from edgecv.export.inspection.summary import summarise
    from edgecv.export.inspection.support import TARGETS, support

    if is_bundle(model):
        raise InputError(
            f"`{model}` is a bundle. Unpack the file to look at: `edgecv bundle extract "
            f"{split_entry(model)[0]} fp32 -o DIR`."
        )
    screen = console(quiet=quiet)
    targets: Sequence[Target] = (
        TARGETS if not target else [cast("Target", str(one.value)) for one in target]
    )
    with screen.status("reading"):
        graph = read_onnx(model)
        summary = summarise(graph, model, batch=batch)
        answers = [support(graph, model, name) for name in targets]
    _print_facts(screen, model, summary)
    _print_operators(screen, summary, answers)
    if layers:
        _print_layers(screen, summary)
    _print_findings(screen, answers)
    figures = {
        "model": str(model),
        **summary.to_plain(with_layers=layers),
        "support": [answer.to_plain() for answer in answers],
    }
    write_json(json, figures)
    if target and not all(answer.is_runnable for answer in answers):
        raise typer.Exit(1)


def _print_facts(screen: Console, path: Path, summary: "Summary") -> None:
    from edgecv.export.inspection.description import in_words

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()

    def add(name: str, text: str) -> None:
        facts.add_row(name, Text(text))

    domains = {name: version for name, version in summary.opset.items() if name != "ai.onnx"}
    opset = f"opset {summary.opset.get('ai.onnx', '–')}, IR version {summary.ir_version}"
    further = "".join(f", {name} {version}" for name, version in domains.items())
    made_by = f", made by {summary.producer}" if summary.producer else ""
    add("file", f"{_bytes(path.stat().st_size)}, {opset}{further}{made_by}")
    for name, tensors in (("inputs", summary.inputs), ("outputs", summary.outputs)):
        for index, tensor in enumerate(tensors):
            add("" if index else name, _tensor(tensor))
    for function in summary.functions:
        overload = f" ({function.overload})" if function.overload else ""
        add("function", f"{function.name}{overload}, {function.num_nodes} nodes")
    if summary.spec is not None:
        for name, text in in_words(summary.spec).items():
            add({"input": "takes", "output": "gives"}.get(name, name), text)
    elif summary.spec_error:
        add("model", summary.spec_error)
    else:
        add("model", "not described; `edgecv adopt` gives it a description")
    stored = ", ".join(
        f"{_bytes(entry.num_bytes)} {name}"
        for name, entry in summary.constants.items()
        if entry.num_bytes >= sum(one.num_bytes for one in summary.constants.values()) / 1000
    )
    add("parameters", f"{_count(summary.parameters).strip() or 0}, stored as {stored or 'nothing'}")
    images = "1 image" if summary.batch == 1 else f"{summary.batch} images"
    unknown = f"; {summary.unknown_macs} layers of unknown size" if summary.unknown_macs else ""
    work = f"{_count(summary.macs) or '0 '}MAC for {images}"
    add("work", f"{work}, which is {_count(2 * summary.macs) or '0 '}FLOP{unknown}")
    for name, (number, macs) in summary.arithmetic.items():
        share = f", {macs / summary.macs:.0%} of the MACs" if summary.macs else ""
        noun = "convolution or product" if number == 1 else "convolutions and products"
        add("", f"{number} {noun} in {name}{share}")
    peak = summary.peak
    data = f"; {peak.num_unknown} tensors of unknown size" if peak.num_unknown else ""
    add("memory", f"{_bytes(peak.num_bytes)} of activations at most, at `{peak.layer}`{data}")
    add("", "tensors live from their node to their last reader; nothing in place or fused")
    screen.print(Text(str(path)), style="bold")
    screen.print(Padding(facts, (0, 0, 1, 0)))


def _print_operators(screen: Console, summary: "Summary", answers: Sequence["Support"]) -> None:
    work: dict[str, int] = defaultdict(int)
    weights: dict[str, int] = defaultdict(int)
    for layer in summary.layers:
        work[layer.operator] += layer.macs or 0
        weights[layer.operator] += layer.parameters
    table = Table(header_style="dim", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("operator")
    for name in ("nodes", "parameters", "MACs"):
        table.add_column(name, justify="right")
    for answer in answers:
        table.add_column(_title(answer), justify="center")
    for operator, number in summary.operators.items():
        verdicts = [answer.verdict(operator) for answer in answers]
        marks = [Text(_MARKS[verdict], style=_STYLES[verdict]) for verdict in verdicts]
        figures = (_count(weights[operator]).strip() or "–", _count(work[operator]).strip() or "–")
        table.add_row(operator, str(number), *figures, *marks)
    screen.print("Operators", style="bold")
    screen.print(table)


def _print_layers(screen: Console, summary: "Summary") -> None:
    rows = [
        (
            layer.name,
            layer.operator,
            "?" if layer.shape is None else "x".join(map(str, layer.shape)) or "scalar",
            layer.arithmetic or layer.dtype,
            _count(layer.parameters).strip() or "–",
            "?" if layer.macs is None else _count(layer.macs).strip() or "–",
        )
        for layer in summary.layers
    ]
    header = ("layer", "operator", "output", "type", "parameters", "MACs")
    print_table(screen, "Layers", header, rows)


def _print_findings(screen: Console, answers: Sequence["Support"]) -> None:
    """Print each finding once, with the targets that it is true of."""
    targets: dict[Finding, list[str]] = defaultdict(list)
    for answer in answers:
        for finding in answer.findings:
            targets[finding].append(_title(answer))
    grid = Table.grid(padding=(0, 2))
    for finding, titles in targets.items():
        line = Text.assemble((finding.operator, "bold"))
        shown = [name for name in finding.nodes[:_NODES_SHOWN] if name]
        more = len(finding.nodes) - len(shown)
        if shown:
            line.append(f" ({', '.join(shown)}{f' and {more} more' if more else ''})", style="dim")
        line.append(f" on {_joined(titles)}: {finding.reason}.")
        if finding.remedy:
            line.append(f" {finding.remedy[0].upper()}{finding.remedy[1:]}.")
        grid.add_row(Text(_MARKS[finding.verdict], style=_STYLES[finding.verdict]), line)
    if targets:
        screen.print(Padding(grid, (0, 0, 1, 0)))
    for answer in answers:
        screen.print(_conclusion(answer))


def _conclusion(answer: "Support") -> Text:
    number = sum(entry.verdict == "unsupported" for entry in answer.findings)
    if number:
        reasons = "1 reason" if number == 1 else f"{number} reasons"
        return Text(f"{_title(answer)} does not run it, for {reasons} above.", style="red")
    if answer.target == "onnxruntime":
        return Text(f"{_title(answer)} opens it.", style="green")
    plugins = any(entry.verdict == "plugin" for entry in answer.findings)
    text = Text(f"{_title(answer)} should run it", style="green")
    text.append(", with edgecv's plugins" if plugins else "")
    return text.append(", by what its parser is known to take.")


def _title(answer: "Support") -> str:
    return _TITLES.get(answer.target, f"{answer.target} {answer.version}")


def _joined(titles: Sequence[str]) -> str:
    """Return names as a list, a name that begins as the one before it without that beginning."""
    short = [
        title.removeprefix("TensorRT ") if index and "TensorRT" in titles[index - 1] else title
        for index, title in enumerate(titles)
    ]
    return ", ".join(short)


def _tensor(tensor: "Tensor") -> str:
    shape = ", ".join(map(str, tensor.shape))
    optional = ", optional" if tensor.is_optional else ""
    return f"{tensor.name} [{shape}] {tensor.dtype}{optional}"


def _bytes(number: int) -> str:
    return f"{_count(number) or '0 '}B"


def _count(number: int) -> str:
    """Return a number in three digits before its prefix: `1.65 G`, `12 `; empty for 0."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            digits = 2 if number < 10 * size else 1 if number < 100 * size else 0
            return f"{number / size:.{digits}f} {unit}"
    return f"{number} " if number else ""
