"""A sink in a thread of its own: what befalls it is counted and said, and befalls nobody else."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError, OutputError, SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sinks import STOP_S, IsolatedSink, PerSourceSink, SinkGroup

Fake = Any  # the class of conftest.py, which no test can import
MakeResult = Callable[..., Any]


def raising(error: BaseException, *, at: int) -> Callable[[int], None]:
    def on_write(index: int) -> None:
        if index == at:
            raise error

    return on_write


def waiting(event: threading.Event) -> Callable[[int], None]:
    def on_write(_index: int) -> None:
        assert event.wait(20)

    return on_write


def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread, at most 10 s."""
    end_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def test_what_is_written_is_written_in_order_in_another_thread(
    fake_sink: Fake, result: MakeResult
) -> None:
    sink = fake_sink()
    isolated = IsolatedSink(sink)
    for index in range(100):
        isolated.write(result(index))
    report = isolated.close()
    assert sink.written == list(range(100))
    assert sink.threads == {"edgecv-sink"}
    assert (sink.num_closed, sink.num_discarded) == (1, 0)
    assert (report.num_written, report.num_dropped, report.error) == (100, {}, "")
    assert not report.has_failed
    assert report.work is not None
    assert isolated.close() == report


def test_a_slow_sink_holds_a_file_back(fake_sink: Fake, result: MakeResult) -> None:
    may_go, is_held = threading.Event(), threading.Event()
    sink = fake_sink(waiting(may_go))
    isolated = IsolatedSink(sink, queue_size=2)

    def feed() -> None:
        for index in range(10):
            if index == 3:
                is_held.set()
            isolated.write(result(index))

    thread = threading.Thread(target=feed)
    thread.start()
    assert is_held.wait(10)
    thread.join(0.05)
    assert thread.is_alive()  # one is being written, two wait, the fourth is held
    may_go.set()
    thread.join(10)
    assert isolated.close().num_written == 10
    assert sink.written == list(range(10))


def test_a_slow_sink_drops_the_oldest_of_a_live_stream(fake_sink: Fake, result: MakeResult) -> None:
    may_go, is_begun = threading.Event(), threading.Event()

    def on_write(_index: int) -> None:
        is_begun.set()
        assert may_go.wait(10)

    sink = fake_sink(on_write)
    isolated = IsolatedSink(sink, queue_size=2)
    isolated.write(result(0), may_drop=True)
    assert is_begun.wait(10)
    for index in range(1, 8):
        isolated.write(result(index), may_drop=True)
    may_go.set()
    report = isolated.close()
    assert sink.written == [0, 6, 7]
    assert report.num_dropped == {"busy": 5}
    assert not report.has_failed


def test_the_first_error_ends_what_cannot_recover(fake_sink: Fake, result: MakeResult) -> None:
    notices = Notices()
    sink = fake_sink(raising(OutputError("no space. Free some."), at=2), name="out.mp4")
    isolated = IsolatedSink(sink, notices=notices)
    for index in range(6):
        isolated.write(result(index))
    report = isolated.close()
    assert sink.written == [0, 1]
    assert (sink.num_closed, sink.num_discarded) == (0, 1)
    assert (report.num_written, report.num_dropped) == (2, {"failed": 4})
    assert report.error == "no space. Free some."
    assert report.has_failed
    (notice,) = notices.recent()
    assert (notice.origin, notice.kind) == ("out.mp4", "sink")
    assert notice.text == "no space. Free some. The stream goes on without `out.mp4`."


def test_a_sink_is_opened_before_there_is_a_result(fake_sink: Fake) -> None:
    is_open = threading.Event()
    sink = fake_sink(on_open=is_open.set)
    with SinkGroup([sink]):
        assert is_open.wait(10)
    assert sink.threads == {"edgecv-sink"}


def test_a_sink_that_cannot_be_opened_is_said_and_written_to(
    fake_sink: Fake, result: MakeResult
) -> None:
    notices = Notices()
    errors = [OutputError("the folder is in use. Choose another.")]

    def fails_once() -> None:
        if errors:
            raise errors.pop()

    sink = fake_sink(on_open=fails_once)
    isolated = IsolatedSink(sink, notices=notices)
    isolated.write(result(0))
    report = isolated.close()
    assert (sink.written, sink.num_closed) == ([0], 1)
    assert (report.num_written, report.error) == (1, "the folder is in use. Choose another.")
    assert [notice.text for notice in notices.recent()] == [
        "`fake`: the folder is in use. Choose another. The stream goes on."
    ]


def test_what_recovers_is_tried_again(fake_sink: Fake, result: MakeResult) -> None:
    notices = Notices()
    sink = fake_sink(raising(OutputError("server gone."), at=1), recovers=True)
    isolated = IsolatedSink(sink, notices=notices, first_wait_s=0.01)
    isolated.write(result(0))
    isolated.write(result(1))
    until(lambda: bool(notices.recent()))
    time.sleep(0.011)
    isolated.write(result(2))
    report = isolated.close()
    assert sink.written == [0, 2]
    assert (sink.num_closed, sink.num_discarded) == (1, 0)
    assert (report.num_written, report.num_dropped) == (2, {"failed": 1})
    assert [notice.text for notice in notices.recent()] == [
        "server gone. The stream goes on; `fake` is tried again and again.",
        "`fake` writes again; 1 results were lost in all.",
    ]


def test_while_it_waits_for_the_next_try_results_are_dropped_at_once(
    fake_sink: Fake, result: MakeResult
) -> None:
    notices = Notices()
    sink = fake_sink(raising(OutputError("server gone."), at=0), recovers=True)
    isolated = IsolatedSink(sink, notices=notices, first_wait_s=1000)
    isolated.write(result(0))
    until(lambda: bool(notices.recent()))
    for index in range(1, 50):
        isolated.write(result(index))
    assert isolated.close().num_dropped == {"failed": 50}
    assert sink.written == []


def test_one_refused_result_is_one_result(fake_sink: Fake, result: MakeResult) -> None:
    notices = Notices()
    sink = fake_sink(raising(InputError("another size. Resize it."), at=1))
    isolated = IsolatedSink(sink, notices=notices)
    for index in range(3):
        isolated.write(result(index))
    report = isolated.close()
    assert sink.written == [0, 2]
    assert report.num_dropped == {"refused": 1}
    assert report.has_failed
    assert (sink.num_closed, sink.num_discarded) == (1, 0)
    assert len(notices.recent()) == 1


def test_an_error_nobody_thought_of_is_isolated_too(fake_sink: Fake, result: MakeResult) -> None:
    isolated = IsolatedSink(fake_sink(raising(SystemExit(), at=0)))
    isolated.write(result(0))
    assert isolated.close().error == "SystemExit"


def test_a_sink_that_cannot_be_completed(fake_sink: Fake, result: MakeResult) -> None:
    sink = fake_sink()

    def close() -> None:
        raise OutputError("no space at the end. Free some.")

    sink.close = close
    isolated = IsolatedSink(sink)
    isolated.write(result(0))
    report = isolated.close()
    assert report.error == "no space at the end. Free some."
    assert report.has_failed


def test_a_sink_that_hangs_holds_the_stream_back_only_so_long(
    fake_sink: Fake, result: MakeResult
) -> None:
    notices, may_go = Notices(), threading.Event()
    sink = fake_sink(waiting(may_go))
    isolated = IsolatedSink(sink, notices=notices, queue_size=2, stall_s=0.05)
    for index in range(20):
        isolated.write(result(index))
    assert sink.interrupted.is_set()
    may_go.set()
    until(lambda: len(sink.written) == 3)
    report = isolated.close()
    assert sink.written == [0, 18, 19]
    assert report.num_dropped == {"stalled": 17}
    assert [notice.text for notice in notices.recent()] == [
        "`fake`: a write has been going on for more than 0.05 s. The stream goes on.",
        "`fake` goes on.",
    ]


def test_what_does_not_close_in_time_is_left_behind(fake_sink: Fake, result: MakeResult) -> None:
    may_go = threading.Event()
    isolated = IsolatedSink(fake_sink(waiting(may_go)))
    for index in range(4):
        isolated.write(result(index))
    begin_s = time.monotonic()
    report = isolated.close(within_s=0.2)
    assert time.monotonic() - begin_s < 5
    assert report.num_written == 0
    assert report.num_dropped == {"closing": 4}
    assert report.error == "it did not finish in time and was left behind"
    may_go.set()
    isolated._thread.join(10)
    assert isolated.report() == report  # what it wrote after all is not counted twice


def test_a_hurry_completes_the_file_with_what_was_written(
    fake_sink: Fake, result: MakeResult
) -> None:
    sink = fake_sink()
    sink.on_write = lambda _index: sink.interrupted.wait(10)
    isolated = IsolatedSink(sink, queue_size=8)
    for index in range(8):
        isolated.write(result(index))
    report = isolated.close(within_s=0.4)
    assert sink.num_closed == 1
    assert report.num_written + report.num_dropped.get("closing", 0) == 8
    assert report.num_written >= 1
    isolated.write(result(9))  # too late
    assert sum(isolated.report().num_dropped.values()) == 9 - report.num_written


@given(
    fates=st.lists(st.sampled_from(["ok", "refused", "failed", "bug"]), max_size=30),
    recovers=st.booleans(),
    may_drop=st.booleans(),
)
def test_every_result_is_written_or_dropped_for_a_reason(
    fates: list[str],
    recovers: bool,  # noqa: FBT001
    may_drop: bool,  # noqa: FBT001
) -> None:
    from edgecv.stream.sinks import CallbackSink, Sink

    errors = {"refused": InputError("x."), "failed": OutputError("y."), "bug": ZeroDivisionError()}

    class Fated(CallbackSink):
        def write(self, result: Any) -> None:
            error = errors.get(fates[result])
            if error is not None:
                raise error

    sink: Sink = Fated(print)
    sink.recovers = recovers
    isolated = IsolatedSink(sink, queue_size=2, first_wait_s=0)
    for index in range(len(fates)):
        isolated.write(index, may_drop=may_drop)  # type: ignore[arg-type]
    report = isolated.close()
    assert report.num_written + sum(report.num_dropped.values()) == len(fates)
    assert set(report.num_dropped) <= {"busy", "failed", "refused"}
    if not may_drop and recovers:
        assert report.num_written == fates.count("ok")
        assert report.num_dropped.get("refused", 0) == fates.count("refused")


# Several


def test_a_failing_sink_does_not_touch_the_others(fake_sink: Fake, result: MakeResult) -> None:
    good, bad = fake_sink(name="good"), fake_sink(raising(OutputError("x."), at=0), name="bad")
    with SinkGroup([bad, good]) as group:
        for index in range(5):
            group.write(result(index))
    assert good.written == [0, 1, 2, 3, 4]
    reports = {report.name: report for report in group.reports()}
    assert reports["bad"].has_failed
    assert not reports["good"].has_failed
    assert reports["bad"].to_plain() == {
        "name": "bad",
        "written": 0,
        "dropped": {"failed": 5},
        "error": "x.",
        "work": None,
    }


def test_all_hanging_sinks_together_have_one_time_limit(
    fake_sink: Fake, result: MakeResult
) -> None:
    may_go = threading.Event()
    group = SinkGroup([fake_sink(waiting(may_go)) for _ in range(5)])
    group.write(result(0))
    begin_s = time.monotonic()
    reports = group.close(within_s=1)
    assert time.monotonic() - begin_s < 1.9  # not 5 times 1 s
    assert all(report.num_dropped == {"closing": 1} for report in reports)
    may_go.set()
    for sink in group._common:
        sink._thread.join(10)


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [(None, True), (SourceError("x"), True), (KeyboardInterrupt(), True), (ValueError(), False)],
)
def test_the_group_ends_as_a_sink_does(
    fake_sink: Fake,
    result: MakeResult,
    error: BaseException | None,
    is_kept: bool,  # noqa: FBT001
) -> None:
    sink, group = fake_sink(), None
    try:
        with SinkGroup([sink]) as group:
            group.write(result(0))
            if error is not None:
                raise error
    except (SourceError, KeyboardInterrupt, ValueError):
        pass
    assert (sink.num_closed, sink.num_discarded) == ((1, 0) if is_kept else (0, 1))


def test_each_source_has_a_sink_of_its_own(fake_sink: Fake, result: MakeResult) -> None:
    made: dict[str, Any] = {}

    def make(name: str) -> Any:
        on_write = raising(OutputError("x."), at=1) if name == "a" else lambda _index: None
        made[name] = fake_sink(on_write, name=f"out.{name}")
        return made[name]

    with SinkGroup([PerSourceSink("out.{source}", make)]) as group:
        for index in range(3):
            group.write(result(index, source="a"))
            group.write(result(index, source="b"))
    assert made["a"].written == [0]
    assert made["b"].written == [0, 1, 2]
    assert sorted(report.name for report in group.reports()) == ["out.a", "out.b"]


def test_without_isolation_a_sink_a_source_closes_all(fake_sink: Fake, result: MakeResult) -> None:
    sinks = {"a": fake_sink(), "b": fake_sink()}
    sinks["a"].close = lambda: raising(OutputError("x."), at=0)(0)
    with pytest.raises(OutputError, match="x"), PerSourceSink("s", sinks.__getitem__) as sink:  # noqa: PT012  # which one is not foreseen
        sink.write(result(0, source="a"))
        sink.write(result(0, source="b"))
    assert sinks["b"].num_closed == 1
    sink.discard()
    assert sinks["b"].num_discarded == 1


def test_in_a_hurry_files_play_whatever_hangs(
    tmp_path: Path, fake_sink: Fake, result: MakeResult
) -> None:
    """What SIGTERM does: a server that says nothing costs neither the videos nor the time."""
    import av

    from edgecv.stream.sinks import SegmentedVideoSink, VideoSink
    from edgecv.stream.sinks.rtsp import RtspSink
    from edgecv.stream.sinks.webhook import WebhookSink

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        segmented = SegmentedVideoSink(tmp_path / "b.mp4", 25)
        group = SinkGroup(
            [
                VideoSink(tmp_path / "a.mp4", 25),
                segmented,
                WebhookSink(f"http://127.0.0.1:{port}/", ("a", "b"), timeout_s=60),
                RtspSink(f"rtsp://127.0.0.1:{port}/", 25, timeout_s=60),
                fake_sink(name="quick"),
            ]
        )
        for index in range(5):
            group.write(result(index), may_drop=True)
        reports = {report.name: report for report in group.close(within_s=STOP_S)}
    for path in (tmp_path / "a.mp4", *segmented.paths):
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 5
    assert reports[str(tmp_path / "a.mp4")].num_written == 5
    assert reports["quick"].num_written == 5
    for name in (f"http://127.0.0.1:{port}", f"rtsp://127.0.0.1:{port}/"):
        assert reports[name].num_written == 0
        assert sum(reports[name].num_dropped.values()) == 5
        assert reports[name].has_failed
        assert "left behind" not in reports[name].error  # it was interrupted and ended by itself
