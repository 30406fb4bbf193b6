"""A configuration opened: model, sources and sinks, ready to run."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from edgecv.closing import Closing
from edgecv.errors import EdgeCVError
from edgecv.stream.config.config import RunConfig, SourceConfig, expanded
from edgecv.stream.config.locating import Located
from edgecv.stream.config.models import OpenModels, open_models
from edgecv.stream.config.outputs import address_of, is_drawn, open_outputs
from edgecv.stream.config.reading import read_config
from edgecv.stream.config.reloading import HangUps
from edgecv.stream.config.scenes import scene_configs, scenes_of
from edgecv.stream.inlet import unique_names
from edgecv.stream.job import StreamResult
from edgecv.stream.notices import Notices
from edgecv.stream.run import OnStart, RunSummary, run_stream
from edgecv.stream.runner import Runnable
from edgecv.stream.settings import Settings
from edgecv.stream.sources import Source, open_source
from edgecv.stream.sources.naming import NamedSource
from edgecv.stream.watching import Scenes


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
        models: OpenModels,
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
