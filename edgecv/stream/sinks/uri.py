"""An address becomes a sink.

| address | what is written | options |
|---|---|---|
| `out.mp4` `.m4v` `.mov` `.mkv` `.ts` | one video, there when the run ends | |
| `out.mp4?segment=10min` `=500MB` | videos `out_<time>.mp4` that survive a crash | `keep` |
| `out.mp4?fragments=on` | one such video a run, without limit | `keep` |
| `out.m3u8` | an HLS playlist and its segments | `segment`, `keep` |
| `rtsp://host/path`, `rtsps://` | video pushed to a media server | `timeout` |
| `out.jsonl` `.ndjson` | a line of JSON a frame | `append`, `rotate`, `keep` |
| `out.csv` `.tsv` | a row an object | `append`, `rotate`, `keep` |
| `out.coco.json` | a data set in COCO's format | |
| `folder`, `out.jpg`, … | a picture a frame; one picture | |
| `events://folder` | a picture an event | `keep` |
| `mqtt://host/topic`, `mqtts://` | a message a frame | `qos`, `retain` |
| `kafka://host,host/topic` | a message a frame | `tls` |
| `http://host/path`, `https://` | a POST a frame | `spool`, `spool_size`, `timeout` |
| `shm://name` | the last frames in shared memory | `slots`, `pixels`, `json` |

Options stand behind `?`, joined by `&`; behind `#` for `http`, `https`, `rtsp` and `rtsps`, whose
`?` is the server's. TLS trusts the system's certificates, and those of the file that
`SSL_CERT_FILE` names. Durations are `90s`, `10min`, `24h`, sizes `500MB`, switches `on` or `off`.

Every address takes `class=person,dog`, `zone=door`, `dwell=door`, `line=gate` and `cooldown=10s` as
well: then only results are written in which one of these is seen, entered, stayed in for long or
crossed, each at the most once in the cooldown.

`{source}` stands for the source's name. With several sources it is needed where a file or a
stream holds the frames of one: `out.{source}.mp4`. Records name their source.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from edgecv.errors import InputError
from edgecv.images import IMAGE_SUFFIXES
from edgecv.stream.notices import Notices
from edgecv.stream.sinks.coco import COCO_SUFFIX
from edgecv.stream.sinks.events import (
    EVENT_KINDS,
    EventKind,
    EventPictureSink,
    EventSink,
    checked_wanted,
)
from edgecv.stream.sinks.makers import MAKERS, ONE_SOURCE, PICTURES, Events, Request
from edgecv.stream.sinks.options import Options
from edgecv.stream.sinks.per_source import PLACEHOLDER, PerSourceSink, file_names, file_safe
from edgecv.stream.sinks.sink import Sink
from edgecv.stream.sources import Source

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_OPTIONS_OF_FILE = re.compile(r"(.*?)\?([A-Za-z_]+=.*)", re.DOTALL)
_OF_SERVER = ("http", "https", "rtsp", "rtsps")  # a `?` is theirs


def make_sink(
    uri: Path | str,
    source: Source | Sequence[Source],
    classes: Sequence[str],
    *,
    notices: Notices | None = None,
    events: Events | None = None,
) -> Sink:
    """Return the sink that an address asks for; the module's text lists them all.

    Args:
        uri: the address. A `Path` is a file or folder without options.
        source: what the results come from, one or several.
        classes: the model's class names.
        notices: where what happens in the background is said.
        events: zones and lines.

    Raises:
        InputError: if the address or one of its options cannot be used.
        MissingDependencyError: if it needs a package that is not installed.

    """
    sources = [source] if isinstance(source, Source) else list(source)
    shown, scheme, place, text = _split(uri)
    events = events or Events()

    def make(name: str, fps: float | None) -> Sink:
        options = Options(text, shown)
        wanted: dict[EventKind, Collection[str]] = {
            kind: names for kind in EVENT_KINDS if (names := options.names(kind))
        }
        checked_wanted(shown, wanted, {"class": classes, **events.names})
        cooldown_s = options.duration_s("cooldown")
        here = place if not name else place.replace(PLACEHOLDER, name)
        request = Request(
            shown, here, options, fps, classes, notices, events, wanted, cooldown_s or 0.0
        )
        sink = MAKERS[scheme](request)
        if (wanted or cooldown_s is not None) and not isinstance(sink, EventPictureSink):
            sink = EventSink(sink, request.gate())
        options.finish()
        return sink

    if not _is_for_one_source(scheme, place):
        return make("", sources[0].fps)
    if PLACEHOLDER in place:
        rates = {one.name: one.fps for one in sources}
        make("source", None)  # a wrong option is refused now, not with the first frame
        names = file_names([one.name for one in sources])
        return PerSourceSink(
            shown, lambda name: make(names.get(name) or file_safe(name), rates.get(name))
        )
    if len(sources) > 1:
        raise InputError(
            f"`{shown}`: it must have `{PLACEHOLDER}` in its name for {len(sources)} sources. "
            f"Write {_with_placeholder(shown)}."
        )
    return make("", sources[0].fps)


def shows_frames(uri: Path | str) -> bool:
    """Tell whether people look at the frames that go to an address, so that results are drawn in.

    Raises:
        InputError: if the address cannot be used.

    """
    _, scheme, _, _ = _split(uri)
    return scheme in (*ONE_SOURCE, "events") and scheme != "shm"


def _split(uri: Path | str) -> tuple[str, str, str, str]:
    """Return the address for messages, its scheme or suffix, itself, and its options."""
    if isinstance(uri, Path):
        return str(uri), _kind_of_file(str(uri)), str(uri), ""
    found = _SCHEME.match(uri)
    if found is None:
        matched = _OPTIONS_OF_FILE.fullmatch(uri)
        place, text = matched.groups() if matched is not None else (uri, "")
        return place, _kind_of_file(place), place, text
    scheme = found[1].lower()
    place, _, text = uri.partition("#" if scheme in _OF_SERVER else "?")
    if scheme not in MAKERS:
        schemes = ", ".join(f"{name}://" for name in sorted(MAKERS) if name.isalpha())
        raise InputError(
            f"`{scheme}://`: an output's scheme must be one of {schemes}. "
            "Files and folders have none."
        )
    if scheme == "events":
        return place, scheme, place, text
    netloc = place[found.end() :].partition("/")[0].rpartition("@")[2].partition("?")[0]
    # The path of a webhook is often its password; a query is one as often.
    path = "" if scheme.startswith("http") else urlsplit(place).path
    return f"{scheme}://{netloc}{path}", scheme, place, text


def _kind_of_file(place: str) -> str:
    path = Path(place)
    suffix = path.suffix.lower()
    if place.lower().endswith(COCO_SUFFIX):
        return COCO_SUFFIX
    if path.is_dir() or not suffix or suffix in IMAGE_SUFFIXES or suffix == PLACEHOLDER:
        return PICTURES
    if suffix not in MAKERS:
        known = ", ".join(sorted((*filter(_is_suffix, MAKERS), *IMAGE_SUFFIXES)))
        raise InputError(
            f"`{place}`: an output must end in one of {known}, or be a folder or an address such "
            f"as mqtt://host/topic, got `{path.suffix}`."
        )
    return suffix


def _is_suffix(kind: str) -> bool:
    return kind.startswith(".") and kind != PICTURES


def _is_for_one_source(scheme: str, place: str) -> bool:
    """Tell whether one sink holds the frames of one source."""
    if scheme in ("events", "mqtt", "mqtts", "kafka"):
        return False  # their pictures and topics have the source's name by themselves
    return PLACEHOLDER in place or scheme in ONE_SOURCE


def _with_placeholder(shown: str) -> str:
    path = Path(shown)
    if _SCHEME.match(shown) or not path.suffix:
        return (
            f"{shown}/{PLACEHOLDER}" if not shown.startswith("shm:") else f"{shown}.{PLACEHOLDER}"
        )
    return str(path.with_name(f"{path.stem}.{PLACEHOLDER}{path.suffix}"))
