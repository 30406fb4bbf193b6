"""Reconnecting and the watchdog, on connections that do what they are told."""

import itertools
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import SourceError
from edgecv.stream.notices import Notices
from edgecv.stream.sources import Frame, Health, Source
from edgecv.stream.sources.backoff import Backoff
from edgecv.stream.sources.health import HealthRecord, Look
from edgecv.stream.sources.live import ConnectedSource
from edgecv.stream.sources.timeline import Timeline

BREAK, END, SILENCE, EMPTY = "break", "end", "silence", "empty"
Script = list[int | str]  # the side of a frame in pixels, or what happens


class Scripted:
    """A connection whose packets are numbers: a square frame, or nothing for EMPTY."""

    fps: float | None = 30.0
    num_frames: int | None = None
    size_hw: tuple[int, int] | None = None

    def __init__(self, script: Script, *, is_live: bool = True) -> None:
        self.script, self.is_live = script, is_live
        self.interrupted, self.is_closed = threading.Event(), threading.Event()

    def packets(self) -> Iterator[int | str]:
        for word in self.script:
            if word == BREAK:
                raise SourceError("the line is cut")
            if word == SILENCE:
                self.interrupted.wait()
                return
            if word == END:
                return
            yield word

    def frames(self, packet: int | str, arrived_s: float) -> Iterator[tuple[Frame, Look]]:
        if isinstance(packet, int):
            pixels = np.zeros((packet, packet), np.uint8)
            yield Frame(0, pixels, "gray8", 7.0, captured_s=arrived_s), (packet, packet, "gray", "")

    def rest(self) -> Iterator[tuple[Frame, Look]]:
        return iter(())

    def is_finished(self) -> bool:
        return not self.is_live

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.is_closed.set()


class Camera:
    """Gives one scripted connection after the other; an exception instead of a script is raised."""

    def __init__(self, *scripts: Script | Exception, is_live: bool = True) -> None:
        self.scripts, self.is_live = list(scripts), is_live
        self.connections: list[Scripted] = []
        self.notices = Notices()

    def connect(self) -> Scripted:
        script = self.scripts.pop(0) if self.scripts else [SILENCE]
        if isinstance(script, Exception):
            raise script
        self.connections.append(Scripted(script, is_live=self.is_live))
        return self.connections[-1]

    def source(self, *, timeout_s: float = 0.2, reconnects: bool = True) -> ConnectedSource[Any]:
        return ConnectedSource(
            "cam",
            self.connect,
            record=HealthRecord("cam", self.notices),
            timeout_s=timeout_s,
            reconnects=reconnects,
            remedy="Look.",
            backoff=Backoff(first_s=1e-3, longest_s=2e-3),
        )

    def told(self) -> list[tuple[str, str]]:
        return [(notice.kind, notice.text) for notice in self.notices.recent()]


def take(source: Source, num_frames: int) -> list[Frame]:
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == num_frames:
            break
    return frames


def test_a_source_that_breaks_comes_back() -> None:
    camera = Camera([8, 8, BREAK], [8, 8, END], [8, SILENCE])
    with camera.source() as source:
        assert isinstance(source, Source)
        frames = take(source, 5)
        assert source.health == Health(num_frames=5, num_reconnects=2)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    times = [frame.pts_s for frame in frames]
    assert times == sorted(set(times))  # each connection says 7.0
    kinds = [kind for kind, _ in camera.told()]
    assert kinds == ["reconnect"] * 4  # lost and back, twice
    assert "the line is cut, after frame 2" in camera.told()[0][1]
    assert "the sender ended the stream, after frame 4" in camera.told()[2][1]
    assert all(connection.is_closed.wait(5) for connection in camera.connections)


def test_a_silent_source_is_opened_anew() -> None:
    camera = Camera([8, SILENCE], [8, SILENCE])
    with camera.source() as source:
        assert len(take(source, 2)) == 2
        assert source.health == Health(num_frames=2, num_restarts=1)
    assert camera.told()[0] == (
        "stall",
        "`cam`: no frame for 0.2 s, after frame 1. It is opened again.",
    )
    assert all(connection.is_closed.wait(5) for connection in camera.connections)


def test_packets_without_frames_are_silence() -> None:
    camera = Camera([8, *[EMPTY] * 5, SILENCE], [8])
    with camera.source() as source:
        assert len(take(source, 2)) == 2
        assert source.health.num_restarts == 1


def test_failed_attempts_belong_to_one_loss_and_are_told_once() -> None:
    away = SourceError("`cam`: no route")
    camera = Camera([8, BREAK], away, away, SourceError("`cam`: refused"), [BREAK], [8])
    with camera.source() as source:
        assert len(take(source, 2)) == 2
        assert source.health == Health(num_frames=2, num_reconnects=1)
    texts = [text for _, text in camera.told()]
    assert texts[1:3] == ["`cam`: still away: no route", "`cam`: still away: refused"]
    assert texts[3].endswith("and 5 attempts.")
    assert len(texts) == 4


def test_health_tells_that_a_source_is_away() -> None:
    camera = Camera([8, BREAK])
    seen: list[Health] = []
    with camera.source() as source:
        camera.notices.listen(lambda _: seen.append(source.health))
        frames = iter(source)
        next(frames)
        camera.scripts = [[8]]
        next(frames)
    assert [health.is_connected for health in seen] == [False, False]
    assert source.health.is_connected


def test_a_change_of_size_is_counted_and_told() -> None:
    camera = Camera([8, 8, 16, BREAK], [8])
    with camera.source() as source:
        sizes = [source.size_hw for _ in take(source, 3)]
        assert sizes[-1] == (16, 16)
        assert len(take(source, 1)) == 1
        assert source.health.num_format_changes == 2
    assert (
        "format",
        "`cam`: the frames change from 8x8 gray () to 16x16 gray ().",
    ) in camera.told()


def test_opening_fails_fast() -> None:
    with pytest.raises(SourceError, match="no route"):
        Camera(SourceError("`cam`: no route")).source()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([BREAK], "the line is cut"),
        ([END], "the sender ended the stream"),
        ([SILENCE], "no frame for 0.2 s"),
    ],
)
def test_what_never_gave_a_frame_is_not_opened_again(script: Script, reason: str) -> None:
    with (
        Camera(script).source() as source,
        pytest.raises(SourceError, match=rf"`cam`: the video breaks off after frame 0: {reason}"),
    ):
        list(source)


def test_without_reconnecting_a_break_raises() -> None:
    camera = Camera([8, BREAK])
    with camera.source(reconnects=False) as source:
        frames = iter(source)
        next(frames)
        with pytest.raises(SourceError, match=r"after frame 1: the line is cut. Look."):
            next(frames)


def test_what_is_not_live_ends_where_it_ends_and_raises_where_it_breaks() -> None:
    with Camera([8, 8, END], is_live=False).source() as source:
        assert [frame.pts_s for frame in source] == [7.0, 7.0]  # its own times, untouched
    with (
        Camera([8, BREAK], is_live=False).source() as source,
        pytest.raises(SourceError, match="after frame 1: the line is cut"),
    ):
        list(source)


@pytest.mark.parametrize("scripts", [([8, SILENCE],), ([8, BREAK], *[OSError("gone")] * 10_000)])
def test_closing_ends_a_wait(scripts: tuple[Any, ...], close_while_it_waits: Any) -> None:
    source = Camera(*scripts).source(timeout_s=600)
    close_while_it_waits(source)
    source.close()


def test_a_consumer_that_pauses_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("edgecv.stream.sources.live.time.perf_counter", lambda: now_s)
    camera = Camera([8, 8, SILENCE])
    with camera.source() as source:
        frames = iter(source)
        next(frames)
        now_s = 1e6
        next(frames)
        assert source.health.num_restarts == 0


@given(st.integers(0, 2**32), st.floats(0.01, 10), st.floats(0.01, 100))
def test_backoff_doubles_up_to_its_bound(seed: int, first_s: float, longest_s: float) -> None:
    backoff = Backoff(first_s, longest_s, random.Random(seed))  # noqa: S311
    for _ in range(2):
        for attempt in range(40):
            whole_s = min(first_s * 2**attempt, longest_s)
            assert 0.5 * whole_s <= backoff.next_s() <= whole_s
        backoff.reset()


@given(
    st.lists(
        st.tuples(st.none() | st.floats(-1e6, 1e6), st.floats(0, 100), st.booleans()),
        max_size=30,
    )
)
def test_times_always_rise(steps: list[tuple[float | None, float, bool]]) -> None:
    timeline, captured_s, shown = Timeline(), 0.0, []
    for pts_s, elapsed_s, is_new in steps:
        captured_s += elapsed_s
        if is_new:
            timeline.restart()
        told = timeline.presented_s(pts_s, captured_s)
        if told is None:
            assert pts_s is None
            assert not shown
        else:
            shown.append(told)
    assert all(before < after for before, after in itertools.pairwise(shown))


@given(st.lists(st.floats(0.01, 5), max_size=30), st.floats(-100, 100))
def test_times_that_go_on_are_left_alone(steps: list[float], begin_s: float) -> None:
    timeline, pts_s = Timeline(), begin_s
    assert timeline.presented_s(pts_s, 0.0) == pts_s
    for number, step_s in enumerate(steps):
        pts_s += step_s
        assert timeline.presented_s(pts_s, number * 1e-3) == pts_s  # they come in a burst


def test_a_new_connection_follows_by_the_clock() -> None:
    timeline = Timeline()
    timeline.presented_s(100.0, 10.0)
    timeline.restart()
    assert timeline.presented_s(0.0, 13.0) == pytest.approx(103.0)
    assert timeline.presented_s(0.5, 13.1) == pytest.approx(103.5)
    assert timeline.presented_s(None, 13.6) == pytest.approx(104.0)
    assert timeline.presented_s(1e5, 13.7) == pytest.approx(104.1)  # far ahead of the clock
