"""A sink for each kind of address, with its options: what `edgecv.stream.sinks.uri` looks up."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from edgecv.errors import InputError
from edgecv.stream.notices import Notices
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks.coco import COCO_SUFFIX, CocoSink
from edgecv.stream.sinks.csv_file import CSV_SUFFIXES, CsvSink
from edgecv.stream.sinks.events import (
    Event,
    EventFinder,
    EventGate,
    EventKind,
    EventPictureSink,
    classes_seen,
)
from edgecv.stream.sinks.hls import HLS_SUFFIX, HlsSink
from edgecv.stream.sinks.images import ImageSink
from edgecv.stream.sinks.jsonl import JSONL_SUFFIXES, JsonlSink
from edgecv.stream.sinks.kafka import KafkaSink
from edgecv.stream.sinks.mqtt import MqttSink
from edgecv.stream.sinks.options import Options
from edgecv.stream.sinks.rtsp import TIMEOUT_S as RTSP_TIMEOUT_S
from edgecv.stream.sinks.rtsp import RtspSink
from edgecv.stream.sinks.segments import SegmentedVideoSink
from edgecv.stream.sinks.sink import Sink
from edgecv.stream.sinks.video import VIDEO_SUFFIXES, VideoSink
from edgecv.stream.sinks.webhook import SPOOL_BYTES, WebhookSink
from edgecv.stream.sinks.webhook import TIMEOUT_S as WEBHOOK_TIMEOUT_S

PICTURES = "."  # the kind of pictures and folders of them

_KAFKA_PORT = 9092
_LEAST_SPOOL = 65536


@dataclass(frozen=True)
class Events:
    """What happens beside the classes that are seen.

    Args:
        finder: tells of zones entered or dwelled in and lines crossed.
        names: the zones and lines there are, by kind.

    """

    finder: EventFinder = lambda _result: ()
    names: Mapping[EventKind, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """An address taken apart, and what a sink may want to know."""

    shown: str  # without a password
    place: str  # without the options
    options: Options
    fps: float | None
    classes: Sequence[str]
    notices: Notices | None
    events: Events
    wanted: Mapping[EventKind, Collection[str]]
    cooldown_s: float

    def gate(self) -> EventGate:
        """Return what tells when something happens that is asked for."""
        seen, beside = classes_seen(self.classes), self.events.finder

        def find(result: StreamResult) -> list[Event]:
            return [*seen(result), *beside(result)]

        return EventGate(find, self.wanted, self.cooldown_s)


def _make_video(request: Request) -> Sink:
    options = request.options
    segment_s, segment_bytes = options.duration_or_size("segment")
    keep = options.whole("keep")
    fragments = options.switch("fragments", default=False)
    if segment_s is None and segment_bytes is None and not fragments:
        if keep is not None:
            raise InputError(
                f"`{request.shown}`: `keep` must come with `segment` or `fragments`. Add "
                "`segment=10min`."
            )
        return VideoSink(request.place, request.fps)
    return SegmentedVideoSink(
        request.place, request.fps, segment_s=segment_s, segment_bytes=segment_bytes, keep=keep
    )


def _make_hls(request: Request) -> Sink:
    segment_s = request.options.duration_s("segment")
    keep = request.options.whole("keep", least=0)
    return HlsSink(
        request.place,
        request.fps,
        segment_s=2.0 if segment_s is None else segment_s,
        keep=6 if keep is None else keep,
    )


def _make_rtsp(request: Request) -> Sink:
    timeout_s = request.options.duration_s("timeout") or RTSP_TIMEOUT_S
    return RtspSink(request.place, request.fps, timeout_s=timeout_s)


def _make_jsonl(request: Request) -> Sink:
    return JsonlSink(request.place, request.classes, **_line_options(request))


def _make_csv(request: Request) -> Sink:
    rows = request.options.text("rows")
    if rows not in (None, "objects", "events"):
        raise InputError(
            f"`{request.shown}`: the option `rows` must be `objects` or `events`, got `{rows}`."
        )
    options = _line_options(request)
    return CsvSink(request.place, request.classes, is_of_events=rows == "events", **options)


def _line_options(request: Request) -> dict[str, Any]:
    options = request.options
    rotate_s, rotate_bytes = options.duration_or_size("rotate")
    keep = options.whole("keep")
    if keep is not None and rotate_s is None and rotate_bytes is None:
        raise InputError(f"`{request.shown}`: `keep` must come with `rotate`. Add `rotate=100MB`.")
    append = options.switch("append", default=False)
    return {
        "append": append,
        "rotate_bytes": rotate_bytes,
        "rotate_s": rotate_s,
        "keep": keep,
    }


def _make_coco(request: Request) -> Sink:
    return CocoSink(request.place, request.classes)


def _make_images(request: Request) -> Sink:
    return ImageSink(request.place)


def _make_events(request: Request) -> Sink:
    folder = request.place.removeprefix("events://")
    if not folder:
        raise InputError("`events://`: the folder is missing. Write events://folder?class=person.")
    return EventPictureSink(folder, request.gate(), keep=request.options.whole("keep"))


def _make_mqtt(request: Request) -> Sink:
    parts = urlsplit(request.place)
    qos = request.options.whole("qos", least=0, most=2)
    return MqttSink(
        _host(request),
        unquote(parts.path).lstrip("/"),
        request.classes,
        port=_port(request),
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls=parts.scheme == "mqtts",
        qos=1 if qos is None else qos,
        retain=request.options.switch("retain", default=False),
        notices=request.notices,
    )


def _make_kafka(request: Request) -> Sink:
    parts = urlsplit(request.place)
    login, at, hosts = parts.netloc.rpartition("@")
    servers = [host if ":" in host else f"{host}:{_KAFKA_PORT}" for host in hosts.split(",")]
    if not all(re.fullmatch(r"[^:]+:\d+", server) for server in servers):
        raise InputError(
            f"`{request.shown}`: a broker must be host or host:port, got `{hosts}`. "
            "Write kafka://host:9092/topic."
        )
    tls = request.options.switch("tls", default=False)
    config: dict[str, str] = {"security.protocol": "ssl"} if tls else {}
    if at:
        user, _, password = login.partition(":")
        config = {
            "security.protocol": "sasl_ssl" if tls else "sasl_plaintext",
            "sasl.mechanism": "PLAIN",
            "sasl.username": unquote(user),
            "sasl.password": unquote(password),
        }
    return KafkaSink(
        servers,
        unquote(parts.path).strip("/"),
        request.classes,
        notices=request.notices,
        config=config,
    )


def _make_webhook(request: Request) -> Sink:
    options = request.options
    spool, spool_bytes = options.text("spool"), options.size_bytes("spool_size")
    if spool_bytes is not None and (spool is None or spool_bytes < _LEAST_SPOOL):
        raise InputError(
            f"`{request.shown}`: `spool_size` must come with `spool` and be at least 64KB, got "
            f"{spool_bytes} bytes. Write #spool=folder&spool_size=100MB."
        )
    _host(request)
    _port(request)
    return WebhookSink(
        request.place,
        request.classes,
        spool=spool,
        spool_bytes=spool_bytes or SPOOL_BYTES,
        timeout_s=options.duration_s("timeout") or WEBHOOK_TIMEOUT_S,
        notices=request.notices,
    )


def _make_ring(request: Request) -> Sink:
    from edgecv.stream.sinks.ring_writer import (  # noqa: PLC0415  # Linux only
        JSON_BYTES,
        NUM_SLOTS,
        RingSink,
    )

    options = request.options
    return RingSink(
        request.place.removeprefix("shm://"),
        request.classes,
        num_slots=options.whole("slots", least=2) or NUM_SLOTS,
        has_pixels=options.switch("pixels", default=True),
        json_bytes=options.size_bytes("json") or JSON_BYTES,
    )


def _host(request: Request) -> str:
    host = urlsplit(request.place).hostname
    if not host:
        raise InputError(f"`{request.shown}`: the host is missing. Write it behind `://`.")
    return host


def _port(request: Request) -> int | None:
    try:
        return urlsplit(request.place).port
    except ValueError as error:
        raise InputError(
            f"`{request.shown}`: the port must be a number up to 65535. Leave it out for the usual "
            "one."
        ) from error


MAKERS: dict[str, Callable[[Request], Sink]] = {
    **dict.fromkeys(VIDEO_SUFFIXES, _make_video),
    HLS_SUFFIX: _make_hls,
    **dict.fromkeys(JSONL_SUFFIXES, _make_jsonl),
    **dict.fromkeys(CSV_SUFFIXES, _make_csv),
    COCO_SUFFIX: _make_coco,
    PICTURES: _make_images,
    "events": _make_events,
    "rtsp": _make_rtsp,
    "rtsps": _make_rtsp,
    "mqtt": _make_mqtt,
    "mqtts": _make_mqtt,
    "kafka": _make_kafka,
    "http": _make_webhook,
    "https": _make_webhook,
    "shm": _make_ring,
}
ONE_SOURCE = (*VIDEO_SUFFIXES, HLS_SUFFIX, PICTURES, "rtsp", "rtsps", "shm")
