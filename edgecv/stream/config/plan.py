"""What a configuration would run: checked and shown without a camera, a broker or a thread."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgecv.closing import Closing
from edgecv.errors import SourceError
from edgecv.stream.config.config import RunConfig, SourceConfig, expanded
from edgecv.stream.config.locating import Located
from edgecv.stream.config.models import open_models
from edgecv.stream.config.opening import named, settings_of
from edgecv.stream.config.outputs import is_drawn, make_outputs
from edgecv.stream.config.scenes import scenes_of
from edgecv.stream.interest import refuse_regions
from edgecv.stream.notices import Notices
from edgecv.stream.sources import SCHEMES, Frame, Health, Source, open_source
from edgecv.stream.sources.uri import redacted, scheme_of, shown

if TYPE_CHECKING:
    from edgecv.runtime.model import Model
    from edgecv.stream.settings import Settings
    from edgecv.stream.sinks import Sink

_CAMERA = re.compile(r"camera:(\d+(\?.*)?|/.*)|\d+", re.DOTALL)
_OPENED = (None, "file", "test")  # schemes of what has an end, or is not there


class _NotOpened(Closing):
    """Stands for a camera or a server."""

    is_live, fps, num_frames, size_hw = True, None, None, None
    health = Health()

    def __init__(self, name: str) -> None:
        self.name = name

    def __iter__(self) -> Iterator[Frame]:
        return iter(())

    def close(self) -> None:
        """Do nothing."""


def plan(config: RunConfig) -> dict[str, Any]:
    """Check a run as far as that goes without opening cameras, and return its graph for JSON.

    The model is opened, and so are files, folders and test patterns; addresses of cameras and
    servers are parsed. Outputs are made and not opened.

    Raises:
        EdgeCVError: if something cannot be used; the message holds the line and the remedy.

    """
    with open_models(config) as models:
        model = models.first
        sources = []
        for number, one in enumerate(config.sources):
            with Located(config, ("source", number, "uri")):
                sources.append(_looked_at(one))
        under = named(sources, config.sources)
        scenes = scenes_of(config, [source.name for source in under], model)
        settings = settings_of(config, models.runner, scenes)
        for number, one in enumerate(config.sources):
            if one.region is not None:
                with Located(config, ("source", number, "region")):
                    refuse_regions(settings.current.runner)
        sinks = make_outputs(config, under, model.spec.classes, Notices())
        return {
            "sources": [
                _source(one, source, is_opened=not isinstance(looked_at, _NotOpened))
                for one, source, looked_at in zip(config.sources, under, sources, strict=True)
            ],
            "fit": _fit(model),
            "model": _model(config, model, settings),
            "tracking": _tracking(config),
            "draw": is_drawn(config),
            "outputs": [_output(config, number, sink, under) for number, sink in enumerate(sinks)],
            "trace": config.trace,
            "serve": None if config.serve is None else config.serve.address,
        }


def plan_lines(graph: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that show a graph of `plan` to people, a stage after the other."""
    for source in graph["sources"]:
        address = "" if source["name"] == source["uri"] else f"  {source['uri']}"
        yield f"source  {source['name']}{address}  ({', '.join(_source_words(source))})"
    fit, model, tracking = graph["fit"], graph["model"], graph["tracking"]
    height, width = fit["size_hw"]
    yield f"→ fit  {fit['fit']} to {width}x{height}, {fit['colour']} {fit['dtype']}"
    yield f"→ model  {model['path']}  ({', '.join(_model_words(model))})"
    for path in model["then"]:
        yield f"→ model  {path}  (each object found)"
    if tracking is not None:
        yield f"→ track  (ids are kept for {tracking['tracker']['lost_s']:g} s out of sight)"
        for kind in ("lines", "zones"):
            for place in tracking[kind]:
                where = ", ".join(place["sources"]) or "every source"
                yield f"    {kind[:-1]}  {place['name']}  ({where})"
    if graph["draw"]:
        yield "→ draw"
    for output in graph["outputs"]:
        yield f"→ output  {output['name']}  ({', '.join(output['sources'])})"
    if graph["trace"] is not None:
        yield f"→ trace  {graph['trace']}"
    if graph["serve"] is not None:
        yield f"→ live page  {graph['serve']}"


def _source_words(source: dict[str, Any]) -> list[str]:
    words = []
    if source["size_hw"] is not None:
        words.append(f"{source['size_hw'][1]}x{source['size_hw'][0]}")
    if source["fps"] is not None:
        words.append(f"{source['fps']:g} fps")
    words.append(source["policy"])
    if source["region"] is not None:
        words.append(f"region {list(source['region'])} {source['region_units']}")
    if source["hardware"] != "off":
        words.append(f"decoded by {source['hardware']}")
    if source["realtime"]:
        words.append("at its own pace")
    return words if source["opened"] else [*words, "not opened"]


def _model_words(model: dict[str, Any]) -> list[str]:
    words = [model["backend"], f"task {model['task']}", f"at most {model['batch']} a batch"]
    if model["budget_ms"]:
        words.append(f"waits {model['budget_ms']:g} ms for others")
    if model["tile"] is not None:
        words.append(f"tiles of {model['tile']}x{model['tile']}")
    words += [f"{name} {value:g}" for name, value in model["thresholds"].items()]
    words += [f"{name} {value:g}" for name, value in model["score_of_class"].items()]
    return words


def _looked_at(one: SourceConfig) -> Source:
    uri = expanded(one.uri)
    scheme = scheme_of(uri)
    if _CAMERA.fullmatch(uri) or uri == "-":
        return _NotOpened(one.uri)
    if uri.startswith("camera:") or scheme in _OPENED:
        with open_source(uri, hardware=one.hardware) as source:
            return source
    if scheme not in SCHEMES:
        raise SourceError(
            f"`{redacted(uri)}`: a URL must begin with one of "
            f"{', '.join(f'{known}://' for known in SCHEMES)}, got `{scheme}://`."
        )
    if scheme in ("csi", "gst"):
        return _NotOpened(shown(one.uri))
    from edgecv.stream.sources.network import check_network  # noqa: PLC0415  # FFmpeg

    return _NotOpened(check_network(uri))


def _source(one: SourceConfig, source: Source, *, is_opened: bool) -> dict[str, Any]:
    return {
        "name": source.name,
        "uri": shown(one.uri),
        "opened": is_opened,
        "live": source.is_live,
        "size_hw": source.size_hw,
        "fps": source.fps,
        "frames": source.num_frames,
        "policy": _policy(one, source),
        "region": one.region,
        "region_units": one.region_units,
        "hardware": one.hardware,
        "realtime": one.realtime,
    }


def _policy(one: SourceConfig, source: Source) -> str:
    policy = one.policy_of(is_live=source.is_live)
    rate = "" if policy.rate_hz is None else f", at most {policy.rate_hz:g} a second"
    return f"{policy.keep}{rate}"


def _fit(model: "Model") -> dict[str, Any]:
    wanted = model.spec.input
    return {
        "size_hw": list(wanted.size_hw),
        "fit": wanted.fit,
        "colour": wanted.colour,
        "dtype": wanted.dtype,
    }


def _model(config: RunConfig, model: "Model", settings: "Settings") -> dict[str, Any]:
    wanted = config.model.batch or len(config.sources)
    return {
        "path": config.model.path,
        "backend": model.backend,
        "task": model.spec.task,
        "classes": len(model.spec.classes),
        "batch": min(wanted, model.max_batch),
        "tile": config.model.tile,
        "overlap": config.model.overlap,
        "then": list(config.model.then),
        "budget_ms": config.model.budget_ms,
        "thresholds": settings.effective,
        "score_of_class": dict(config.model.thresholds.score_of_class),
    }


def _tracking(config: RunConfig) -> dict[str, Any] | None:
    tracker = config.tracker
    if tracker is None:
        return None
    return {
        "tracker": vars(tracker),
        "lines": [
            {"name": one.line.name, "classes": one.classes, "sources": one.sources}
            for one in config.lines
        ],
        "zones": [
            {"name": one.zone.name, "classes": one.classes, "sources": one.sources}
            for one in config.zones
        ],
    }


def _output(config: RunConfig, number: int, sink: "Sink", sources: list[Source]) -> dict[str, Any]:
    one = config.outputs[number]
    names = [source.name for source in sources]
    return {"name": sink.name, "options": dict(one.options), "sources": list(one.sources) or names}
