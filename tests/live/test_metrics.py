"""The metrics of a stream: Prometheus's grammar, names after its conventions, and the counts."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgecv.live.metrics import exposition
from edgecv.live.status import Observer, ProcessStatus, StreamStatus
from edgecv.metrics.latency import LatencyStatistics
from edgecv.stream.accounting import Counts, DropReason, SourceStatus
from edgecv.stream.notices import Notices
from edgecv.stream.sinks import SinkReport

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")
_ESCAPED = re.compile(r'\\(["\\n])')


def parsed(text: str) -> dict[str, tuple[str, dict[tuple[tuple[str, str], ...], float]]]:
    """Kind and samples of each family, by the format's own rules; asserts that they are kept."""
    assert text.endswith("\n")
    families: dict[str, tuple[str, dict[tuple[tuple[str, str], ...], float]]] = {}
    name = kind = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in families  # the lines of a family stand together
            assert re.fullmatch(_NAME, name)
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == name
            kind = line.split(" ")[3]
            assert kind in ("counter", "gauge", "histogram", "summary")
            families[name] = kind, {}
        else:
            found = _SAMPLE.fullmatch(line)
            assert found, line
            suffixes = {
                "summary": ("", "_sum", "_count"),
                "histogram": ("_bucket", "_sum", "_count"),
            }
            assert found[1] in [name + suffix for suffix in suffixes.get(kind, ("",))]
            labels = [("", found[1].removeprefix(name))]
            for label in re.findall(_LABEL, found[2] or ""):
                key, _, value = label.partition("=")
                plain = _ESCAPED.sub(lambda m: {"n": "\n"}.get(m[1], m[1]), value[1:-1])
                labels.append((key, plain))
            assert tuple(labels) not in families[name][1]  # no series twice
            families[name][1][tuple(labels)] = float(found[3])
    return families


LATENCY = LatencyStatistics(10, 20.0, 18.0, 25.0, 30.0, 40.0)
HISTOGRAM = (0, 1, 9, *[10] * 9)  # at most 5, 10, 25, … ms


def status_of(name: str, counts: Counts, **options: Any) -> StreamStatus:
    health = {"num_corrupt": 4, "num_reconnects": 2}
    source = SourceStatus(
        counts, LATENCY, HISTOGRAM, None, is_ended=False, policy="every", health=health
    )
    options = {"sinks": [], "num_notices": {}} | options
    return StreamStatus(
        sources={name: source},
        fps={name: 12.5},
        stages={},
        backend="fake",
        controls={},
        hung=[],
        notices=[],
        num_clients=1,
        process=ProcessStatus(2**20, 1.5, 7, 1e9),
        **options,
    )


def lines_of(status: StreamStatus) -> Any:
    return parsed(exposition(status, version="1", task="detect").decode())


@given(st.text(), st.integers(0, 2**40), st.integers(0, 2**40))
def test_any_name_survives(name: str, delivered: int, dropped: int) -> None:
    counts = Counts(delivered + dropped, delivered, {DropReason.RATE: dropped}, 0)
    families = lines_of(status_of(name, counts))
    assert families["edgecv_frames_delivered_total"][1][("", ""), ("source", name)] == delivered
    drops = families["edgecv_frames_dropped_total"][1]
    assert {labels[2][1]: value for labels, value in drops.items()} == {
        reason.value: dropped if reason is DropReason.RATE else 0 for reason in DropReason
    }


def test_names_follow_the_conventions() -> None:
    report = SinkReport("out.mp4", 5, {"busy": 2}, "", LATENCY)
    status = status_of("door", Counts(1, 1), sinks=[report], num_notices={"stall": 3})
    for name, (kind, _) in lines_of(status).items():
        assert name.startswith(("edgecv_", "process_"))
        assert name.endswith("_total") == (kind == "counter")
        assert not re.search(r"_(ms|milliseconds|mb|percent)\b", name)  # base units


def test_times_are_seconds() -> None:
    kind, samples = lines_of(status_of("door", Counts(1, 1)))["edgecv_latency_seconds"]
    assert kind == "histogram"
    door = ("source", "door")
    bounds = [float(labels[2][1]) for labels in samples if labels[0] == ("", "_bucket")]
    assert bounds == sorted(bounds)
    assert bounds[-1] == float("inf")
    assert [value for labels, value in samples.items() if len(labels) == 3] == list(HISTOGRAM)
    assert samples[("", "_bucket"), door, ("le", "0.025")] == 9
    assert samples[("", "_sum"), door] == 0.2
    assert samples[("", "_count"), door] == 10


def test_sources_sinks_and_notices_are_counted() -> None:
    report = SinkReport("out.mp4", 5, {"busy": 2}, "", LATENCY)
    status = status_of("door", Counts(1, 1), sinks=[report], num_notices={"stall": 3})
    families = lines_of(status)

    def value(name: str, **labels: str) -> float:
        found: float = families[name][1][(("", ""), *labels.items())]
        return found

    assert value("edgecv_source_corrupt_packets_total", source="door") == 4
    assert value("edgecv_source_reconnects_total", source="door") == 2
    assert value("edgecv_source_state", source="door", state="live") == 1
    assert value("edgecv_source_state", source="door", state="lost") == 0
    assert value("edgecv_sink_results_written_total", sink="out.mp4") == 5
    assert value("edgecv_sink_results_dropped_total", sink="out.mp4", reason="busy") == 2
    assert value("edgecv_notices_total", kind="stall") == 3
    assert value("process_resident_memory_bytes") == 2**20
    assert value("edgecv_build_info", version="1", task="detect", backend="fake") == 1


def test_a_stream_is_counted_as_it_goes(
    show: Callable[..., AbstractContextManager[Any]],
) -> None:
    with show(num_cameras=2) as stream:
        for _ in range(3):
            stream.give(0)
        stream.give(1)
        stream.notices.say("door", "stall", "nothing.")
        status = stream.page._observer.status()
        families = lines_of(status)
        delivered = families["edgecv_frames_delivered_total"][1]
        assert delivered == {(("", ""), ("source", "door")): 3, (("", ""), ("source", "yard")): 1}
        assert families["edgecv_notices_total"][1] == {(("", ""), ("kind", "stall")): 1}
        assert list(status.stages) == ["decode", "fit", "infer", "postprocess", "deliver"]
        assert status.process.rss_bytes > 2**20
        assert families["edgecv_stage_work_seconds"][1][("", "_count"), ("stage", "infer")] == 4


def test_the_rate_is_that_of_the_last_seconds(
    show: Callable[..., AbstractContextManager[Any]],
) -> None:
    with show() as stream:
        observer = stream.page._observer
        stream.give()
        observer._samples.clear()
        observer._samples.append((10.0, {"door": 0}))
        observer._samples.append((14.0, {"door": 100}))
        assert observer.status().fps == {"door": 25.0}


def test_before_the_stream_there_is_nothing_but_the_process() -> None:
    families = lines_of(Observer(Notices()).status())
    assert families["edgecv_frames_decoded_total"][1] == {}
    assert families["process_threads"][1]


def test_a_state_is_a_word() -> None:
    from edgecv.live.status import state_of

    counts = Counts(1, 1)
    assert (
        state_of(SourceStatus(Counts(), None, (), None, is_ended=False, policy="every", health={}))
        == "waiting"
    )
    assert (
        state_of(SourceStatus(counts, None, (), None, is_ended=False, policy="every", health={}))
        == "live"
    )
    lost = {"is_connected": 0}
    assert (
        state_of(SourceStatus(counts, None, (), None, is_ended=False, policy="every", health=lost))
        == "lost"
    )
    assert (
        state_of(SourceStatus(counts, None, (), None, is_ended=True, policy="every", health=lost))
        == "ended"
    )
    assert (
        state_of(SourceStatus(counts, None, (), "gone", is_ended=True, policy="every", health={}))
        == "failed"
    )
