"""`edgecv run`: a model over a video, pictures or a camera."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
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
    Precision,
    ProposalsPath,
    Quiet,
    Threads,
    console,
    print_choice,
    print_table,
    write_json,
)
from edgecv.errors import EdgeCVError, InputError
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.run import RunSummary

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgecv.live import Address, LivePage
    from edgecv.stream.config.config import RunConfig, ServeConfig, SourceConfig
    from edgecv.stream.config.opening import OpenRun
    from edgecv.stream.places import Units

_BESIDE_A_FILE = ("model", "show", "serve", "token", "dry_run", "json", "quiet")
_REFRESH_S = 0.25
_MOST_TOLD = 10  # pictures of which each has its line


@app.command()
def run(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="A model: an ONNX file, a bundle, a server's (triton://…), a checkpoint; or "
            "a file that says all of a run: pipeline.toml."
        ),
    ],
    *,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="A video, an image, a folder, a glob, a URL (rtsp://…) or a camera: 0. Several "
            "share the model: --source A --source B."
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Annotated video (.mp4), picture, or folder of pictures. With several sources "
            "`{source}` in the name stands for each one's name: out-{source}.mp4."
        ),
    ] = None,
    jsonl: Annotated[Path | None, typer.Option(help="One line of JSON per frame.")] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            help="Anything that results can go to: out.mkv?segment=10min, out.csv, "
            "mqtt://host/topic, events://folder?class=person, https://…"
        ),
    ] = None,
    track: Annotated[
        bool, typer.Option("--track", help="Follow objects: each keeps its number.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Open a window; q closes it.")] = False,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="latest (newest frame wins), every (none is lost) or rate=10 (a second), for all "
            "sources or once for each. Default: latest of cameras, every of files."
        ),
    ] = None,
    budget_ms: Annotated[
        float,
        typer.Option(min=0, help="What a frame may wait for others to share a batch with."),
    ] = 0.0,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Most frames of a batch; default: one, on GPUs one per source."),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play files at their own pace, like a camera.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(help="Where each frame's times go, for ui.perfetto.dev (.json)."),
    ] = None,
    serve: Annotated[
        str | None,
        typer.Option(
            help="Show a live page in the browser: 8080 for this machine alone, 0.0.0.0:8080 for "
            "others too, who need the token.",
            metavar="[HOST:]PORT",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="EDGECV_TOKEN",
            help="What visitors of the live page must show; default: one is made where others can "
            "reach it.",
        ),
    ] = None,
    score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Score threshold; default: the model's.")
    ] = None,
    iou: Annotated[
        float | None, typer.Option(min=0, max=1, help="IoU threshold; default: the model's.")
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(min=2, help="Look at tiles of this side in pixels one by one: small objects."),
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(min=0, help="What tiles share of their sides; default: 0.2.")
    ] = None,
    roi: Annotated[
        str | None,
        typer.Option(
            help="The part of each frame to look at, in pixels or in parts of the sides: "
            "0.5,0,1,1.",
            metavar="X1,Y1,X2,Y2",
        ),
    ] = None,
    then: Annotated[
        list[Path] | None,
        typer.Option(help="A model that looks at each object found: --then classifier.onnx."),
    ] = None,
    proposals: ProposalsPath = None,
    device: Device = "auto",
    threads: Threads = 0,
    backend: Backend = "auto",
    precision: Precision = None,
    hint: Hint = None,
    cache: CacheFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show what would run.")
    ] = False,
    json: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Run a model over sources; CTRL-C closes the files so that they play.

    A file, pipeline.toml, says what options cannot: SIGHUP reads its thresholds and zones again.
    """
    from edgecv.stream.config.config import ModelConfig, OutputConfig, RunConfig, ServeConfig
    from edgecv.stream.config.plan import plan, plan_lines
    from edgecv.stream.config.reading import is_config_file, read_config
    from edgecv.stream.settings import Thresholds
    from edgecv.stream.tracking import TrackerConfig

    screen = console(quiet=quiet)
    if is_config_file(model):
        _refuse_beside_a_file(context, model)
        config = read_config(model)
    else:
        files = [str(path) for path in (save, jsonl) if path is not None]
        config = RunConfig(
            ModelConfig(
                str(model),
                device,
                threads,
                backend,
                precision,
                hint,
                None if cache is None else str(cache),
                None if proposals is None else str(proposals),
                batch,
                budget_ms,
                Thresholds(score, iou),
                tile,
                overlap,
                tuple(str(path) for path in then or ()),
            ),
            _sources_of(source or [], policy or [], roi, realtime=realtime),
            tuple(OutputConfig(uri) for uri in (*files, *(output or []))),
            TrackerConfig() if track else None,
            trace=None if trace is None else str(trace),
        )
    page = config.serve if serve is None else ServeConfig(serve)
    if page is not None and token is not None:
        page = replace(page, token=token)
    if dry_run:
        graph = plan(config)
        _address(config, page)
        for line in plan_lines(graph):
            screen.print(line, markup=False, soft_wrap=True)
        write_json(json, graph)
        return
    _run(config, screen, json=json, show=show, serve=page)


def _run(
    config: "RunConfig",
    screen: Console,
    *,
    json: Path | None,
    show: bool,
    serve: "ServeConfig | None",
) -> None:
    """Run, follow on the screen, and tell at the end what came of it."""
    from edgecv.stream.config.opening import open_run
    from edgecv.stream.notices import Notices
    from edgecv.stream.sources.uri import shown
    from edgecv.stream.window import Window

    if show and len(config.sources) > 1:
        raise InputError("`--show` shows a single source. Leave it out, or name only one.")
    if show:
        config = replace(config, draw=True)
    notices = Notices()
    with ExitStack() as stack:
        opened = stack.enter_context(open_run(config, notices))
        print_choice(screen, opened.model.session)
        window = None
        if show:
            window = stack.enter_context(Window(f"edgecv – {opened.sources[0].name}"))
        classes, num_frames = opened.model.spec.classes, opened.num_frames
        page = stack.enter_context(_live_page(opened, serve, screen))
        status = stack.enter_context(_LiveLine(screen, num_frames, classes))
        notices.listen(lambda notice: screen.print(f"{notice.origin}: {notice.text}", markup=False))
        speaks = num_frames is not None and num_frames <= _MOST_TOLD

        def follow(result: StreamResult) -> bool:
            status.update(result)
            if page is not None:
                page.publish(result)
            if speaks and result.frame.path is not None:
                told = f"{result.frame.path}: {result.result.headline(classes)}"
                screen.print(told, markup=False, soft_wrap=True)
            return window is None or window.show(result)

        opened.models.warm_up()
        on_start = None if page is None else page.attach
        summary = opened.run(on_result=follow, on_start=on_start)
        backend = opened.model.backend
    print_summary(screen, summary)
    written = [sink.name for sink in summary.sinks if sink.num_written]
    written += [] if config.trace is None else [config.trace]
    if written:
        screen.print(f"Wrote {', '.join(written)}.", markup=False)
    names = [shown(one.uri) for one in config.sources]
    header = {"model": config.model.path, "source": names if len(names) > 1 else names[0]}
    write_json(json, header | {"backend": backend} | summary.to_plain())
    if summary.failures:
        raise EdgeCVError(". ".join(each.rstrip(".") for each in summary.failures) + ".")


@contextmanager
def _live_page(
    opened: "OpenRun", serve: "ServeConfig | None", screen: Console
) -> "Iterator[LivePage | None]":
    """Open the page of a run and say where it is; None for a run without one."""
    from edgecv.live import LivePage
    from edgecv.stream.config.config import expanded
    from edgecv.stream.config.locating import Located
    from edgecv.stream.config.outputs import is_drawn

    config = opened.config
    address = _address(config, serve)
    if serve is None or address is None:
        yield None
        return
    with Located(config, ("serve",)):
        page = LivePage(
            opened.model.spec,
            address,
            opened.notices,
            title=Path(config.model.path).name,
            token=None if serve.token is None else expanded(serve.token),
            is_drawn=is_drawn(config),
        )
    with page:
        screen.print(f"Live page: {page.url}", markup=False, soft_wrap=True)
        yield page


def _address(config: "RunConfig", serve: "ServeConfig | None") -> "Address | None":
    """Return where a page listens."""
    from edgecv.live import Address
    from edgecv.stream.config.locating import Located

    if serve is None:
        return None
    with Located(config, ("serve", "address")):
        return Address.parse(serve.address)


def _refuse_beside_a_file(context: typer.Context, file: Path) -> None:
    """Refuse options that stand in the file."""
    for name in context.params:
        source = context.get_parameter_source(name)
        is_given = source is not None and source.name == "COMMANDLINE"
        if is_given and name not in _BESIDE_A_FILE:
            raise InputError(
                f"`--{name.replace('_', '-')}` cannot be given with `{file}`. Write it into the "
                "file, or leave the file out."
            )


def _sources_of(
    uris: Sequence[str], policies: Sequence[str], roi: str | None, *, realtime: bool
) -> "tuple[SourceConfig, ...]":
    """Return the sources that options name."""
    from edgecv.stream.config.config import SourceConfig
    from edgecv.stream.models import parse_roi
    from edgecv.stream.policy import parse

    if not uris:
        raise InputError("`--source` is missing. Name a video, a folder, a URL or a camera: 0.")
    if len(policies) == 1:
        policies = [policies[0]] * len(uris)
    if policies and len(policies) != len(uris):
        raise InputError(
            f"`policy` must be one for all sources or one for each of the {len(uris)}, got "
            f"{len(policies)}."
        )
    region = None if roi is None else parse_roi(roi)
    units: Units = "relative" if region is None or max(region) <= 1 else "pixels"
    sources = []
    for number, uri in enumerate(uris):
        policy = parse(policies[number], is_live=False) if policies else None
        rate_hz = None if policy is None else policy.rate_hz
        keep = None if policy is None or rate_hz is not None else policy.keep
        sources.append(
            SourceConfig(
                uri,
                policy=keep,
                rate_hz=rate_hz,
                region=region,
                region_units=units,
                realtime=realtime,
            )
        )
    return tuple(sources)


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
    print_table(screen, "Stages", header, rows)
    found = ", ".join(f"{count} {name}" for name, count in summary.num_found.items())
    if len(summary.sources) > 1:
        _print_sources(screen, summary)
    screen.print(
        f"{summary.num_frames} frames in {summary.wall_s:.2f} s: {summary.fps:.1f} fps"
        + (f", {summary.num_dropped} dropped ({_reasons(summary)})" if summary.num_dropped else "")
        + (f", latency {summary.latency.median_ms:.1f} ms" if summary.latency else "")
        + (", interrupted" if summary.is_interrupted else "")
        + f". Found: {found or 'nothing'}."
    )
    if len(summary.num_by_backend) > 1:
        counts = ", then ".join(f"{n} on {name}" for name, n in summary.num_by_backend.items())
        screen.print(f"Frames by backend: {counts}.", markup=False, soft_wrap=True)


def _reasons(summary: RunSummary) -> str:
    """Return why frames were dropped, of all sources together."""
    dropped: Counter[str] = Counter()
    for status in summary.sources.values():
        dropped.update({why.value: count for why, count in status.counts.dropped.items()})
    return ", ".join(f"{count} {why}" for why, count in dropped.most_common())


def _print_sources(screen: Console, summary: RunSummary) -> None:
    """Print what became of the frames of each source."""
    rows: list[tuple[Any, ...]] = [
        (
            name,
            status.counts.decoded,
            status.counts.delivered,
            ", ".join(f"{count} {why.value}" for why, count in status.counts.dropped.items())
            or "0",
            "" if status.latency is None else status.latency.median_ms,
            "" if status.latency is None else status.latency.p95_ms,
        )
        for name, status in summary.sources.items()
    ]
    header = ("source", "decoded", "delivered", "dropped", "latency ms", "p95 ms")
    print_table(screen, "Sources: decoded = delivered + dropped", header, rows)


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
