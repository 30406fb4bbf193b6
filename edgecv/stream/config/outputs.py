"""The sinks of a configured run."""

from collections.abc import Sequence
from urllib.parse import quote

from edgecv.stream.config.config import OutputConfig, RunConfig, expanded
from edgecv.stream.config.locating import Located
from edgecv.stream.notices import Notices
from edgecv.stream.sinks import Events, Sink, make_sink, scene_events
from edgecv.stream.sinks.uri import shows_frames
from edgecv.stream.sources import Source


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
