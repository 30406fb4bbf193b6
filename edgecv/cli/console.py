"""What the commands share: the options `--json` and `-q`, and how figures are shown."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edgecv.errors import InputError, MissingDependencyError
from edgecv.files import write_text
from edgecv.progress import Advance, Follow

if TYPE_CHECKING:
    from edgecv.runtime.session import Session

JsonPath = Annotated[
    Path | None, typer.Option("--json", help="Write the figures to this file, for machines.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "gpu", "npu"],
    typer.Option(help="Where it runs; auto takes a CUDA GPU if usable. gpu and npu: OpenVINO's."),
]
Threads = Annotated[
    int, typer.Option(min=0, help="CPU threads of one inference, 0 for one per core.")
]
Backend = Annotated[
    Literal["auto", "onnxruntime", "onnxruntime-tensorrt", "openvino", "tensorrt", "torch"],
    typer.Option(
        help="What runs it; auto takes the fastest here: torch only for checkpoints, tensorrt only "
        "for engines. With an ONNX file, tensorrt builds the engine while another serves."
    ),
]
Precision = Annotated[
    Literal["fp32", "fp16", "bf16"] | None,
    typer.Option(
        "--precision", help="Of a checkpoint, OpenVINO or TensorRT; other files have their own."
    ),
]
Hint = Annotated[
    Literal["latency", "throughput"] | None,
    typer.Option(
        help="What OpenVINO, or onnxruntime on a CPU, tunes for. [default: latency; in `run` "
        "throughput of files]",
        show_default=False,
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder for OpenVINO's compiled networks, TensorRT's engines."),
]
ProposalsPath = Annotated[
    Path | None,
    typer.Option(
        "--proposals",
        help="Regions for a model that looks at given ones: a file of `edgecv data propose`.",
    ),
]


ModelPath = Annotated[
    Path,
    typer.Argument(
        help="An ONNX file of `export` or `adopt`; a bundle: b.edgecv, or b.edgecv#fp16 of it; "
        "a server's: triton://host:8000/model; or a checkpoint: best.pt."
    ),
]

_PROBLEMS_SHOWN = 10
_LOOK_S = 0.5


def console(*, quiet: bool) -> Console:
    """Return where a command prints for people."""
    return Console(quiet=quiet, highlight=False)


def write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write `figures` where `--json` asked for them, if it did."""
    if path is not None:
        write_text(path, json.dumps(figures, indent=1, allow_nan=False) + "\n")


def require_extra(extra: str, *modules: str) -> None:
    """Refuse to start a command whose packages are not installed.

    Raises:
        MissingDependencyError: with the command that installs them.

    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"this command needs {', '.join(missing)}. "
            f"Install it with `pip install 'edgecv[{extra}]'`."
        )


def print_choice(screen: Console, session: "Session") -> None:
    """Say which entry of a bundle or which backend was taken and why, if there was a choice."""
    from edgecv.runtime.bundled import BundleSession
    from edgecv.runtime.session import GraphSession

    reason = ""
    if isinstance(session, BundleSession):
        reason = session.choice.reason
    elif isinstance(session, GraphSession):
        reason = session.reason
    if reason:
        screen.print(f"{session.backend}: {reason}.", markup=False, soft_wrap=True)


def await_engine(screen: Console, session: "Session") -> None:
    """Wait until the engine of a session is built: a command that measures wants no other backend.

    Raises:
        DeviceError: if it could not be built or opened.

    """
    from edgecv.runtime.building import BuildingSession

    if isinstance(session, BuildingSession):
        with screen.status(session.backend) as status:
            while not session.wait(_LOOK_S):
                status.update(session.backend)


def print_table(
    screen: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Print a title and a table whose first column is text and whose others are figures."""
    table = Table(header_style="dim", box=SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    screen.print(title, style="bold")
    screen.print(table)


def follower(bar: Progress) -> Follow:
    """Return what draws a bar for each step."""

    def follow(step: str, total: int) -> Advance:
        task = bar.add_task(step, total=total)
        return lambda: bar.advance(task)

    return follow


def print_problems(screen: Console, problems: Sequence[object]) -> None:
    """Print how many annotations were left out, and the first of them."""
    if not problems:
        return
    screen.print(f"{len(problems)} broken annotations were left out:")
    for problem in problems[:_PROBLEMS_SHOWN]:
        screen.print(f"  {problem}", style="dim", markup=False)
    if len(problems) > _PROBLEMS_SHOWN:
        screen.print(f"  and {len(problems) - _PROBLEMS_SHOWN} more; `--json FILE` lists them all")


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) from `320` or `384x512` (height first).

    Raises:
        InputError: if `text` is neither.

    """
    parts = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isdigit() and int(part) > 0 for part in parts):
        return int(parts[0]), int(parts[-1])
    raise InputError(f"`--size` must be a number or HEIGHTxWIDTH, got {text!r}, such as 384x512.")


def parse_numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Return the three channel values of `0.5` or `0.485,0.456,0.406`, None for None.

    Raises:
        InputError: if `text` is neither.

    """
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) == 1:
        values *= 3
    if len(values) != 3:  # noqa: PLR2004  # a value per colour channel
        raise InputError(f"`{name}` must be one number or three with commas, got {text!r}.")
    return values


def parse_whole_numbers(name: str, text: str | None) -> tuple[int, ...] | None:
    """Return the numbers of `5,10,15`, None for None.

    Raises:
        InputError: if `text` is not such a list.

    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"`{name}` must be whole numbers with commas, got {text!r}.")
    return tuple(map(int, parts))


def parse_pairs(name: str, texts: Sequence[str] | None) -> dict[str, str] | None:
    """Return name and value of each `NAME=VALUE`, None for none.

    Raises:
        InputError: if a text has another form or a key comes twice.

    """
    pairs: dict[str, str] = {}
    for text in texts or ():
        key, _, value = (part.strip() for part in text.partition("="))
        if not (key and value):
            raise InputError(f"`{name}` must be NAME=VALUE, got {text!r}.")
        if key in pairs:
            raise InputError(f"`{name}` gives `{key}` twice. Leave one out.")
        pairs[key] = value
    return pairs or None


def parse_duration(name: str, text: str | None) -> float | None:
    """Return the seconds of `45m`, `1h30m` or `90s`, None for None.

    Raises:
        InputError: if `text` is not a duration.

    """
    if text is None:
        return None
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip().lower())
    if found is None or not any(found.groups()):
        raise InputError(f"`{name}` must be a duration such as 45m, 1h30m or 90s, got {text!r}.")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(3600 * hours + 60 * minutes + seconds)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
