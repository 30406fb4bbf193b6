"""A configuration opened: model, sources and sinks, ready to run."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from edgecv.closing import Closing
from edgecv.errors import EdgeCVError, InputError
from edgecv.runtime.session import Hint
from edgecv.stream.config.config import ModelConfig, OutputConfig, RunConfig, SourceConfig, expanded
from edgecv.stream.config.locating import Located
from edgecv.stream.config.reading import read_config
from edgecv.stream.config.reloading import HangUps
from edgecv.stream.inlet import unique_names
from edgecv.stream.job import StreamResult
from edgecv.stream.models import assembled, names_of_files
from edgecv.stream.notices import Notices
from edgecv.stream.run import OnStart, RunSummary, run_stream
from edgecv.stream.runner import Runnable, Runner, as_runner
from edgecv.stream.scene import SceneConfig
from edgecv.stream.settings import Settings
from edgecv.stream.sinks import Events, Sink, make_sink, scene_events
from edgecv.stream.sinks.uri import shows_frames
from edgecv.stream.sources import Source, open_source
from edgecv.stream.sources.naming import NamedSource
from edgecv.stream.sources.uri import is_path
from edgecv.stream.watching import Scenes

if TYPE_CHECKING:
    from edgecv.runtime.model import Model


class OpenRun(Closing):
    """A run whose model, sources and sinks are open, see `open_run`.

    Args:
        config: of it.
        models: closed with the run, without the thresholds of the configuration.
        sources: in the order of the configuration; closed with the run.
        hang_ups: on which the file is read again; closed with the run.
        notices: what happens beside the frames is said there.

    """

    def __init__(
        self,
        config: RunConfig,
        models: "OpenModels",
        sources: Sequence[Source],
        hang_ups: HangUps,
        notices: Notices,
    ) -> None:
        """Prepare everything but the threads.

        Raises:
            EdgeCVError: if an output cannot be opened, or the model does not have the thresholds
                or the classes that are asked for.

        """
        self.config, self.models, self.notices = config, models, notices
        self._hang_ups = hang_ups
        self.model = model = models.first
        self.sources = list(sources)
        self.scenes = scenes_of(config, [source.name for source in sources], model)
        self.settings = settings_of(config, models.runner, self.scenes)
        self._sinks = open_outputs(config, sources, model.spec.classes, notices)

    @property
    def num_frames(self) -> int | None:
        """How many frames there will be, None where that is unknown."""
        counts = [source.num_frames for source in self.sources]
        return None if None in counts else sum(count or 0 for count in counts)

    def run(
        self,
        *,
        on_result: Callable[[StreamResult], object] | None = None,
        on_start: OnStart | None = None,
    ) -> RunSummary:
        """Run to the end of the sources, or until a signal; once.

        A configuration that was read from a file is read again on SIGHUP, also if it came while
        the run was being opened.

        Args:
            on_result: see `run_stream`, as is `on_start`.
            on_start: called before the first result.

        Raises:
            EdgeCVError: see `run_stream`.

        """
        config, sinks, self._sinks = self.config, self._sinks, []
        sources, self.sources = self.sources, []
        wanted = config.sources
        with self._hang_ups.answered_by(self.reload):
            return run_stream(
                sources,
                self.settings,
                sinks=sinks,
                draw=is_drawn(config),
                on_result=on_result,
                policy=[
                    one.policy_of(is_live=source.is_live)
                    for one, source in zip(wanted, sources, strict=True)
                ],
                regions=[one.region_box for one in wanted],
                budget_ms=config.model.budget_ms,
                max_batch=config.model.batch,
                realtime=[one.realtime for one in wanted],
                scenes=self.scenes,
                trace=config.trace,
                notices=self.notices,
                on_start=on_start,
            )

    def reload(self) -> None:
        """Read the file again and take its thresholds, lines and zones; all of them or none.

        What happens is said by notices: also that the file is wrong, or that something else in it
        has changed, which takes a new start.
        """
        file = self.config.file
        if file is None:
            return
        origin = str(file)
        try:
            new = read_config(file)
            scenes = None
            if self.scenes is not None:
                watched = replace(new, tracking=self.config.tracker)
                scenes = scene_configs(watched, list(self.scenes.scenes), self.model)
            self.settings.apply(new.model.thresholds)
        except EdgeCVError as error:
            self.notices.say(origin, "reload", f"{error} The old thresholds and zones stay.")
            return
        if self.scenes is not None and scenes is not None:
            self.scenes.apply(scenes)
        text = "thresholds, lines and zones were read again."
        if ignored := _changed_beside(self.config, new, has_scenes=self.scenes is not None):
            text += f" What else has changed takes a new start: {', '.join(ignored)}."
        self.notices.say(origin, "reload", text)

    def close(self) -> None:
        """Close what the run has not closed."""
        with ExitStack() as stack:
            stack.callback(self._hang_ups.close)
            stack.callback(self.models.close)
            for source in self.sources:
                stack.callback(source.close)
            for sink in self._sinks:
                stack.callback(sink.discard)


def open_run(config: RunConfig, notices: Notices | None = None) -> OpenRun:
    """Open what a run needs.

    Args:
        config: from `read_config`, or made by hand.
        notices: what happens beside the frames is said there.

    Raises:
        EdgeCVError: if something cannot be opened; then nothing stays open.

    Example:
        >>> with open_run(read_config("pipeline.toml")) as opened:
        ...     summary = opened.run()

    """
    notices = Notices() if notices is None else notices
    with ExitStack() as stack:
        hang_ups = stack.enter_context(HangUps(are_wanted=config.file is not None))
        models = stack.enter_context(open_models(config))
        sources = []
        for number, one in enumerate(config.sources):
            with Located(config, ("source", number, "uri")):
                source = open_source(
                    expanded(one.uri),
                    timeout_s=one.timeout_s,
                    notices=notices,
                    hardware=one.hardware,
                    reconnect=one.reconnect,
                )
            sources.append(stack.enter_context(source))
        opened = OpenRun(config, models, named(sources, config.sources), hang_ups, notices)
        stack.pop_all()
    return opened


class OpenModels(Closing):
    """The models of a run, see `open_models`.

    Args:
        first: of which the thresholds and classes are.
        then: those that look at each object, by name.
        runner: what a stream makes of them.

    """

    def __init__(self, first: "Model", then: "Mapping[str, Model]", runner: Runner) -> None:
        """Take them over."""
        self.first, self.then, self.runner = first, then, runner

    def warm_up(self) -> None:
        """Run each once."""
        for model in (self.first, *self.then.values()):
            model.session.warm_up()

    def close(self) -> None:
        """Close all of them."""
        with ExitStack() as stack:
            for model in (self.first, *self.then.values()):
                stack.callback(model.close)


def open_models(config: RunConfig) -> OpenModels:
    """Open the models of a run, with their own thresholds.

    Raises:
        EdgeCVError: if one cannot be used, or cannot be run so; then none stays open.

    """
    one = config.model
    with ExitStack() as stack:
        first = stack.enter_context(_open_first(config))
        with Located(config, ("model", "then")):
            files = names_of_files(one.then)
            then = {
                name: stack.enter_context(_load(one, path, one.hint))
                for name, path in files.items()
            }
        with Located(config, ("model", "then" if then else "tile")):
            runner = as_runner(assembled(first, tile=one.tile, overlap=one.overlap, then=then))
        stack.pop_all()
    return OpenModels(first, then, runner)


def _open_first(config: RunConfig) -> "Model":
    """Open the model that sees the frames."""
    from edgecv.proposals import read_proposals  # noqa: PLC0415

    one = config.model
    with Located(config, ("model", "path")):
        model = _load(one, one.path, one.hint or _hint_for(config))
    if one.proposals is not None:
        try:
            return model.with_proposals(read_proposals(Path(one.proposals)))
        except BaseException:
            model.close()
            raise
    return model


def _hint_for(config: RunConfig) -> Hint:
    """Return what is tuned for: files wait, and of cameras the time of each frame counts."""
    for number, one in enumerate(config.sources):
        with Located(config, ("source", number, "uri")):
            if not is_path(expanded(one.uri)):
                return "latency"
        if one.realtime or one.policy_of(is_live=False).keep != "every":
            return "latency"
    return "throughput"


def _load(one: ModelConfig, path: Path | str, hint: Hint | None) -> "Model":
    from edgecv.runtime.model import load  # noqa: PLC0415  # onnxruntime takes a while to import

    return load(
        path,
        one.device,
        threads=one.threads,
        backend=one.backend,
        precision=one.precision,
        hint=hint,
        cache=None if one.cache is None else Path(one.cache),
    )


def named(sources: Sequence[Source], configs: Sequence[SourceConfig]) -> list[Source]:
    """Return sources under the names of their configuration, no two of which are the same."""
    under: list[Source] = [
        source if one.name is None else NamedSource(source, one.name)
        for source, one in zip(sources, configs, strict=True)
    ]
    return [
        source if source.name == name else NamedSource(source, name)
        for source, name in zip(under, unique_names(under), strict=True)
    ]


def settings_of(config: RunConfig, model: Runnable, scenes: Scenes | None) -> Settings:
    """Return the model with the thresholds of a run.

    Raises:
        InputError: if it does not have them.

    """
    lowest = None if scenes is None else scenes.lowest_score
    with Located(config, ("model", "thresholds")):
        return Settings(model, config.model.thresholds, lowest_score=lowest)


def scenes_of(config: RunConfig, names: Sequence[str], model: "Model") -> Scenes | None:
    """Return whom and what to watch in each source, None for nobody, see `scene_configs`.

    Raises:
        InputError: if the model finds no objects.

    """
    if config.tracker is None:
        return None
    if model.spec.task not in ("detect", "instance", "keypoints"):
        with Located(config, ("tracking",)):
            raise InputError(
                f"tracking: the model must find objects, got task {model.spec.task}. "
                "Leave out tracking, lines and zones."
            )
    return Scenes(scene_configs(config, names, model))


def scene_configs(
    config: RunConfig, names: Sequence[str], model: "Model"
) -> dict[str, SceneConfig]:
    """Return what is watched in each source, by its name.

    Args:
        config: of the run.
        names: of the sources, in order.
        model: whose classes are meant.

    Raises:
        InputError: if the model does not have a class, or a line or zone forgets too soon.

    """
    tracker = config.tracker
    if tracker is None:
        return {}
    ids = {name: number for number, name in enumerate(model.spec.classes)}
    lines, zones = [], []
    for number, one in enumerate(config.lines):
        with Located(config, ("line", number)):
            lines.append(replace(one.line, class_ids=_ids("line", one.classes, ids)))
            SceneConfig(tracker, lines=(lines[-1],))
    for number, place in enumerate(config.zones):
        with Located(config, ("zone", number)):
            zones.append(replace(place.zone, class_ids=_ids("zone", place.classes, ids)))
            SceneConfig(tracker, zones=(zones[-1],))

    def of(source: str) -> SceneConfig:
        return SceneConfig(
            tracker,
            tuple(
                line
                for line, one in zip(lines, config.lines, strict=True)
                if not one.sources or source in one.sources
            ),
            tuple(
                zone
                for zone, one in zip(zones, config.zones, strict=True)
                if not one.sources or source in one.sources
            ),
        )

    return {name: of(name) for name in names}


def _ids(kind: str, classes: Sequence[str], ids: Mapping[str, int]) -> tuple[int, ...] | None:
    for name in classes:
        if name not in ids:
            near = difflib.get_close_matches(name, ids, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(ids)}."
            raise InputError(f"{kind}: `classes` must be the model's, got {name!r}. {hint}")
    return tuple(ids[name] for name in classes) or None


def open_outputs(
    config: RunConfig, sources: Sequence[Source], classes: Sequence[str], notices: Notices
) -> list[Sink]:
    """Make the sinks of a run and open them, see `make_outputs`.

    Raises:
        EdgeCVError: if one cannot be used; then none stays open.

    """
    sinks = make_outputs(config, sources, classes, notices)
    try:
        for number, sink in enumerate(sinks):
            with Located(config, ("output", number, "uri")):
                sink.open()
    except BaseException:
        for sink in sinks:
            sink.discard()
        raise
    return sinks


def make_outputs(
    config: RunConfig, sources: Sequence[Source], classes: Sequence[str], notices: Notices
) -> list[Sink]:
    """Make the sinks of a run, which touches nothing.

    Args:
        config: of the run.
        sources: of it, under their names.
        classes: the model's.
        notices: where the sinks say what happens.

    Raises:
        EdgeCVError: if one cannot be used.

    """
    events = Events(
        scene_events,
        {
            "zone": [one.zone.name for one in config.zones],
            "dwell": [one.zone.name for one in config.zones if one.zone.dwell_s is not None],
            "line": [one.line.name for one in config.lines],
        },
    )
    sinks: list[Sink] = []
    for number, one in enumerate(config.outputs):
        those = [each for each in sources if not one.sources or each.name in one.sources]
        with Located(config, ("output", number, "uri")):
            address = expanded(address_of(one))
            sink = make_sink(address, those, classes, notices=notices, events=events)
        sinks.append(sink)
        if one.sources:
            sink.sources = frozenset(one.sources)
    return sinks


def address_of(output: OutputConfig) -> str:
    """Return an output's address with its options."""
    uri = output.uri
    if not output.options:
        return uri
    is_servers = uri.partition("://")[0].lower() in ("http", "https", "rtsp", "rtsps")
    mark = "#" if is_servers else "?"
    pairs = []
    for name, value in output.options.items():
        text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
        pairs.append(f"{name}={quote(text, safe='/,:${}')}")
    return f"{uri}{'&' if mark in uri else mark}{'&'.join(pairs)}"


def is_drawn(config: RunConfig) -> bool:
    """Tell whether results are drawn into the frames."""
    if config.draw is not None:
        return config.draw
    return any(shows_frames(one.uri) for one in config.outputs)


def _changed_beside(old: RunConfig, new: RunConfig, *, has_scenes: bool) -> list[str]:
    """Return what has changed in the file that a run does not take over."""
    changed = []
    if replace(old.model, thresholds=new.model.thresholds) != new.model:
        changed.append("the model")
    if old.sources != new.sources:
        changed.append("sources")
    if [address_of(one) for one in old.outputs] != [address_of(one) for one in new.outputs]:
        changed.append("outputs")
    if old.tracking != new.tracking or (not has_scenes and new.tracker is not None):
        changed.append("tracking")
    if (old.draw, old.trace) != (new.draw, new.trace):
        changed.append("draw or trace")
    if old.serve != new.serve:
        changed.append("the live page")
    return changed
