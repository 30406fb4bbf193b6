"""Only when something happens, and not again before the cooldown is over."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgecv.errors import InputError, OutputError
from edgecv.stream.sinks import (
    CallbackSink,
    Event,
    EventGate,
    EventPictureSink,
    EventSink,
    classes_seen,
)

CLASSES = ("cat", "dög")
Fake = Any
MakeResult = Callable[..., Any]


def crossing(result: Any) -> Iterable[Event]:
    """The line `gate` is crossed in every third frame, the zone `yard` entered in every second."""
    if result.frame.index % 3 == 0:
        yield Event("line", "gate")
    if result.frame.index % 2 == 0:
        yield Event("zone", "yard")


def test_classes_are_seen_once_each(result: MakeResult) -> None:
    find = classes_seen(CLASSES)
    assert list(find(result(0, class_ids=(1, 0, 1)))) == [
        Event("class", "dög"),
        Event("class", "cat"),
    ]
    assert list(find(result(0, class_ids=()))) == []


def test_only_what_is_wanted_passes(fake_sink: Fake, result: MakeResult) -> None:
    sink = fake_sink(recovers=True)
    with EventSink(sink, EventGate(crossing, {"line": ["gate"]})) as events:
        for index in range(7):
            events.write(result(index))
    assert sink.written == [0, 3, 6]
    assert (events.name, events.recovers, sink.num_closed) == ("fake", True, 1)
    events.interrupt(is_final=True)
    events.discard()
    assert sink.interrupted.is_set()
    assert sink.num_discarded == 1


def test_without_a_wish_whatever_happens_passes(fake_sink: Fake, result: MakeResult) -> None:
    sink = fake_sink()
    with EventSink(sink, EventGate(crossing)) as events:
        for index in range(7):
            events.write(result(index))
    assert sink.written == [0, 2, 3, 4, 6]


def test_sources_and_events_cool_down_apart(result: MakeResult) -> None:
    gate = EventGate(crossing, cooldown_s=1)
    passed = [
        (index, source, event.name)
        for index in range(0, 7, 6)
        for source in "ab"
        for event in gate.passing(result(index, source=source, pts_s=index / 25))
    ]
    assert passed == [(0, "a", "gate"), (0, "a", "yard"), (0, "b", "gate"), (0, "b", "yard")]


@given(
    st.lists(st.floats(0, 3, allow_nan=False), max_size=40),
    st.floats(0, 5, allow_nan=False),
)
def test_two_events_are_a_cooldown_apart(gaps_s: list[float], cooldown_s: float) -> None:
    class Timed:
        source = ""

        def __init__(self, pts_s: float) -> None:
            self.frame = type("F", (), {"pts_s": pts_s})

    gate = EventGate(lambda _result: [Event("class", "cat")], cooldown_s=cooldown_s)
    now_s, times = 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if gate.passing(Timed(now_s)):  # type: ignore[arg-type]
            times.append(now_s)
        assert now_s - times[-1] < max(cooldown_s, 1e-9)  # nothing is withheld for longer
    assert all(late >= early + cooldown_s for early, late in pairwise(times))


def test_a_source_that_begins_anew_is_not_cold(result: MakeResult) -> None:
    gate = EventGate(crossing, {"line": ["gate"]}, cooldown_s=60)
    assert gate.passing(result(0, pts_s=1000.0))
    assert not gate.passing(result(3, pts_s=1001.0))
    assert gate.passing(result(0, pts_s=0.0))


def test_pictures_are_named_after_source_event_and_time(tmp_path: Path, result: MakeResult) -> None:
    folder = tmp_path / "events"
    with EventPictureSink(folder, EventGate(classes_seen(CLASSES))) as sink:
        sink.write(result(0, source="rtsp://cam/1", class_ids=(0, 1)))
        sink.write(result(1, class_ids=(0,)))
        sink.write(result(2, class_ids=()))
    names = sorted(path.name for path in folder.iterdir())
    assert [name.rpartition("_2")[0] for name in names] == [
        "cat",
        "rtsp_cam_1_cat",
        "rtsp_cam_1_dög",
    ]
    with Image.open(folder / names[0]) as picture:
        assert picture.size == (64, 48)
    assert sink.name == str(folder)


def test_only_so_many_pictures_are_kept(tmp_path: Path, result: MakeResult) -> None:
    sink = EventPictureSink(tmp_path, EventGate(classes_seen(CLASSES)), keep=2)
    for index in range(5):
        sink.write(result(index, class_ids=(0,)))
    sink.discard()
    greys = []
    for path in sorted(tmp_path.iterdir(), key=lambda path: path.stem):
        with Image.open(path) as picture:
            greys.append(picture.convert("RGB").getpixel((0, 0)))
    assert greys == [pytest.approx((grey,) * 3, abs=3) for grey in (120, 160)]


def test_a_limit_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`keep` must be greater than 0, got 0"):
        EventPictureSink(tmp_path, EventGate(crossing), keep=0)


# Functions


def test_a_function_gets_every_result(result: MakeResult) -> None:
    got: list[Any] = []
    with CallbackSink(got.append, name="mine") as sink:
        sink.write(result(0))
        sink.write(result(1))
    sink.discard()
    assert [one.frame.index for one in got] == [0, 1]
    assert sink.name == "mine"


def test_what_a_function_raises_is_an_error_of_output(result: MakeResult) -> None:
    def broken(_result: Any) -> None:
        raise KeyError("oops")

    sink = CallbackSink(broken)
    with pytest.raises(OutputError, match=r"broken` raised KeyError: 'oops'. Handle it there"):
        sink.write(result(0))
    assert sink.name.endswith("broken")
