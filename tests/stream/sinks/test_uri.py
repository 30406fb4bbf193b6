"""Every address of the table, every option, and everything that is refused."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import EdgeCVError, InputError
from edgecv.stream.sinks import (
    CocoSink,
    CsvSink,
    Event,
    EventPictureSink,
    Events,
    EventSink,
    ImageSink,
    JsonlSink,
    PerSourceSink,
    SegmentedVideoSink,
    VideoSink,
    make_sink,
    uri,
)
from edgecv.stream.sinks.hls import HlsSink
from edgecv.stream.sinks.makers import MAKERS
from edgecv.stream.sinks.rtsp import RtspSink
from edgecv.stream.sinks.webhook import WebhookSink
from edgecv.stream.sources import ImageSource

CLASSES = ("cat", "dög")
MakeResult = Callable[..., Any]


def made(address: str, num_sources: int = 1, **options: Any) -> Any:
    sources = [ImageSource([f"{index}.png"]) for index in range(num_sources)]
    for index, source in enumerate(sources):
        source.name = f"cam/{index}"
    return make_sink(address, sources if num_sources > 1 else sources[0], CLASSES, **options)


@pytest.mark.parametrize(
    ("address", "kind", "attributes"),
    [
        ("out.mp4", VideoSink, {}),
        ("out.ts?segment=10min&keep=144", SegmentedVideoSink, {"_segment_s": 600.0, "_keep": 144}),
        ("out.mkv?segment=500MB", SegmentedVideoSink, {"_segment_bytes": 500_000_000}),
        ("out.mov?fragments=on", SegmentedVideoSink, {"_segment_s": None}),
        ("out.m3u8", HlsSink, {"_segment_s": 2.0, "_keep": 6}),
        ("out.m3u8?segment=500ms&keep=0", HlsSink, {"_segment_s": 0.5, "_keep": 0}),
        ("rtsp://me:pw@host/a?b=c#timeout=2s", RtspSink, {"_timeout_s": 2.0}),
        ("rtsps://host/a", RtspSink, {"name": "rtsps://host:322/a", "_timeout_s": 5.0}),
        ("out.jsonl", JsonlSink, {"recovers": False}),
        ("out.ndjson?append=on", JsonlSink, {"recovers": True}),
        ("out.csv?rotate=1d&keep=7", CsvSink, {"recovers": True}),
        ("out.tsv", CsvSink, {"_delimiter": "\t", "_is_of_events": False}),
        ("out.csv?rows=events", CsvSink, {"_is_of_events": True}),
        ("out.coco.json", CocoSink, {}),
        ("folder", ImageSink, {"_is_folder": True}),
        ("out.jpg", ImageSink, {"_is_folder": False}),
        ("folder?class=cat", EventSink, {"name": "folder"}),
        ("out.jsonl?cooldown=1s", EventSink, {}),
        ("events://a/b?class=cat&cooldown=10s&keep=9", EventPictureSink, {"name": "a/b"}),
        ("http://me:pw@host/secret?x=y#timeout=3s", WebhookSink, {"name": "http://host"}),
        ("HTTPS://host:8/secret", WebhookSink, {"name": "https://host:8"}),
    ],
)
def test_addresses(address: str, kind: type, attributes: dict[str, Any]) -> None:
    with made(address) as sink:
        assert type(sink) is kind
        assert {name: getattr(sink, name) for name in attributes} == attributes


def test_a_file_with_a_question_mark_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a?b=c.jsonl"
    assert make_sink(path, ImageSource(["a.png"]), CLASSES).name == str(path)


def test_an_mqtt_address() -> None:
    pytest.importorskip("paho.mqtt")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sink = made(f"mqtt://me:p%40w@127.0.0.1:{port}/site/%7Bsource%7D?qos=0&retain=on", 2)
        assert sink.name == f"mqtt://127.0.0.1:{port}/site/{{source}}"
        assert (sink._qos, sink._retain) == (0, True)
        assert (sink._client.username, sink._client.password) == ("me", "p@w")
        sink.discard()


def test_a_kafka_address(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = pytest.importorskip("confluent_kafka")
    configs: list[dict[str, Any]] = []
    monkeypatch.setattr(kafka, "Producer", configs.append)
    assert made("kafka://a,b:9/t").name == "kafka://a:9092,b:9/t"
    for address in ("kafka://a,b:9/t", "kafka://me:p%3Aw@a/t?tls=on", "kafka://a/t?tls=on"):
        made(address).open()
    assert "security.protocol" not in configs[0]
    assert configs[0]["bootstrap.servers"] == "a:9092,b:9"
    assert configs[1]["security.protocol"] == "sasl_ssl"
    assert (configs[1]["sasl.username"], configs[1]["sasl.password"]) == ("me", "p:w")
    assert configs[2]["security.protocol"] == "ssl"


def test_a_ring_address(result: MakeResult) -> None:
    with made("shm://test-uri?slots=3&pixels=off&json=1KB") as sink:
        sink.write(result(0))
        assert (sink._num_slots, sink._has_pixels, sink._json_bytes) == (3, False, 1024)


def test_a_spool(tmp_path: Path) -> None:
    with made(f"http://host/#spool={tmp_path}&spool_size=1MB") as sink:
        assert sink._spool is not None
        assert sink._spool._max_bytes == 1_000_000


def test_making_a_sink_touches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt")
    pytest.importorskip("confluent_kafka")
    tasks = Path("/proc/self/task")
    before = threading.enumerate(), len(list(tasks.iterdir())) if tasks.is_dir() else 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for address in (
            f"mqtt://127.0.0.1:{port}/t",
            f"kafka://127.0.0.1:{port}/t",
            f"http://127.0.0.1:{port}/#spool={tmp_path}/spool",
            f"rtsp://127.0.0.1:{port}/live",
            f"{tmp_path}/out.jsonl?append=on",
            f"events://{tmp_path}/events?class=cat",
        ):
            sink = made(address)
            assert threading.enumerate() == before[0]
            sink.close()
            sink.discard()
        server.setblocking(False)  # noqa: FBT003  # the only name it has
        with pytest.raises(BlockingIOError):
            server.accept()
    assert list(tmp_path.iterdir()) == []
    if tasks.is_dir():  # librdkafka's threads are not Python's
        assert len(list(tasks.iterdir())) <= before[1]


# Several sources


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("out.mp4", "out.{source}.mp4"),
        ("live/out.m3u8", "live/out.{source}.m3u8"),
        ("folder", "folder/{source}"),
        ("rtsp://me:pw@host/live", "rtsp://host/live/{source}"),
        ("shm://ring", "shm://ring.{source}"),
    ],
)
def test_one_file_for_several_sources_is_refused(address: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        made(address, 2)
    assert str(caught.value).endswith(
        f"it must have `{{source}}` in its name for 2 sources. Write {remedy}."
    )
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("address", ["out.jsonl", "out.csv", "out.coco.json", "events://folder"])
def test_records_hold_several_sources(address: str) -> None:
    assert not isinstance(made(address, 2), PerSourceSink)


def test_a_file_a_source(tmp_path: Path, result: MakeResult) -> None:
    with made(f"{tmp_path}/out.{{source}}.jsonl", 2) as sink:
        for index in range(2):
            sink.write(result(index, source=f"cam/{index}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.cam_0.jsonl",
        "out.cam_1.jsonl",
    ]
    assert '"source": "cam/1"' in (tmp_path / "out.cam_1.jsonl").read_text()


def test_a_wrong_option_is_refused_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no option `segmnt` here. Did you mean `segment`"
    ):
        made(f"{tmp_path}/out.{{source}}.mp4?segmnt=1s", 2)


# Events


def test_zones_and_lines_come_from_elsewhere(result: MakeResult) -> None:
    def entered(result: Any) -> list[Event]:
        return [Event("zone", "door")] if result.frame.index == 2 else []

    events = Events(entered, {"zone": ("door",)})
    sink = made("folder?zone=door", events=events)
    gate = sink._gate
    assert [bool(gate.passing(result(index))) for index in range(4)] == [False, False, True, False]
    with pytest.raises(InputError, match=r"`zone` must name what there is, got `gate`; .*: door"):
        made("folder?zone=gate", events=events)


# Refused


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("out.xlsx", r"must end in one of .*\.csv.*or be a folder or an address such as mqtt://"),
        ("ftp://me:pw@host/x", "`ftp://`: an output's scheme must be one of .*mqtt://"),
        ("out.mp4?keep=3", "`keep` must come with `segment` or `fragments`. Add `segment=10min`"),
        ("out.mp4?segment=10", "`segment` must be a number with ms, s, min, h, d or a number with"),
        ("out.mp4?segment=0s", "`segment` must be a number with .*got `0s`"),
        ("out.mp4?segment=1s&segment=2s", "`segment` stands there twice. Remove one"),
        ("out.mp4?segment=", "an option must be `name=value`, got `segment=`"),
        ("out.mp4?fragments=yes", "`fragments` must be `on` or `off`, got `yes`"),
        ("out.mp4?nonsense=1", "there is no option `nonsense` here. There are .*segment"),
        ("out.csv?rows=lines", "`rows` must be `objects` or `events`, got `lines`"),
        ("out.jsonl?keep=3", "`keep` must come with `rotate`. Add `rotate=100MB`"),
        ("out.jsonl?rotate=1d&keep=0", "`keep` must be a whole number, at least 1, got `0`"),
        ("out.jsonl?class=horse", "`class` must name what there is, got `horse`; .*: cat, dög"),
        ("out.jsonl?line=gate", "`line` must name what there is, got `gate`; there are: none"),
        ("events://", "the folder is missing. Write events://folder"),
        ("mqtt:///topic", "the host is missing"),
        ("mqtt://me:pw@host:99999/topic", "port must be a number up to 65535. Leave it out"),
        ("mqtt://host/topic?qos=3", "`qos` must be a whole number, from 0 to 2, got `3`"),
        ("kafka://me:pw@host:x/topic", "a broker must be host or host:port, got `host:x`"),
        ("http://", "the host is missing"),
        ("http://me:pw@h/#spool_size=1MB", "`spool_size` must come with `spool` and be at least"),
        ("http://h/#spool=x&spool_size=1KB", "at least 64KB, got 1000 bytes. Write #spool"),
        ("rtsp://me:pw@:8554/x", "an RTSP server must have a host"),
        ("shm://a/b", "must be one word without `/`"),
        ("shm://a?slots=1", "`slots` must be a whole number, at least 2, got `1`"),
    ],
)
def test_refused(address: str, message: str) -> None:
    with pytest.raises(EdgeCVError, match=message) as caught:
        made(address)
    assert "pw" not in str(caught.value)


def test_the_table_names_every_address() -> None:
    """What a user reads is what there is."""
    assert uri.__doc__ is not None
    for kind in MAKERS:
        if kind != ".":
            name = kind if kind.startswith(".") else f"{kind}://"
            assert name in uri.__doc__
