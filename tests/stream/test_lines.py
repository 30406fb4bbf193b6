"""Crossings of a line: each once, in its direction, between its ends, and never by trembling."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.stream.events import LineCrossed
from edgecv.stream.lines import Line, LineCounter

FRAME_HW = (400, 600)
# From left to right through the picture: what comes from above is on its left.
LEVEL = Line("gate", (100, 200), (500, 200))


def tracked(*objects: tuple[int, float, float], class_id: int = 0, side: float = 20) -> Detections:
    """Objects by id whose feet are at x and y."""
    boxes = [(x - side / 2, y - side, x + side / 2, y) for _, x, y in objects]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.ones(len(objects), np.float32),
        np.full(len(objects), class_id, np.int32),
        track_ids=np.array([i for i, _, _ in objects], np.int64),
    )


def walk(
    line: Line, points: Iterable[tuple[float, float]], *, track_id: int = 1
) -> list[LineCrossed]:
    """Return the events of one object that is seen at these points, a tenth of a second apart."""
    counter, events = LineCounter(line), []
    for step, (x, y) in enumerate(points):
        events += counter.update(tracked((track_id, x, y)), step / 10, frame_hw=FRAME_HW)
    assert counter.num_in + counter.num_out == len(events)
    return events


def down(x: float = 300) -> list[tuple[float, float]]:
    return [(x, 100.0 + 20 * step) for step in range(11)]


def test_a_crossing_is_told_once_with_its_direction() -> None:
    (event,) = walk(LEVEL, down())
    assert event == LineCrossed("gate", 1, 0, 0.6, (300.0, 220.0), "in")
    (event,) = walk(LEVEL, down()[::-1])
    assert event.direction == "out"
    (event,) = walk(Line("gate", (500, 200), (100, 200)), down())
    assert event.direction == "out"


def test_there_and_back_are_two_crossings() -> None:
    assert [e.direction for e in walk(LEVEL, down() + down()[::-1])] == ["in", "out"]


def test_past_the_ends_is_no_crossing() -> None:
    assert walk(LEVEL, down(x=99)) == []
    assert walk(LEVEL, down(x=501)) == []
    assert len(walk(LEVEL, down(x=101))) == 1


def test_around_the_end_is_no_crossing() -> None:
    around = [(450, 150), (550, 150), (550, 250), (450, 250)]
    assert walk(LEVEL, around) == []
    assert [e.direction for e in walk(LEVEL, [*around, (450, 150)])] == ["out"]


@given(
    shakes=st.lists(st.floats(-1.99, 1.99), max_size=30),
    goes_on=st.booleans(),
)
def test_who_trembles_on_the_line_crosses_it_once_at_most(
    shakes: list[float], *, goes_on: bool
) -> None:
    # The margin is a tenth of the side, 2 pixels.
    path = [(300.0, 150.0), *[(300.0, 200 + shake) for shake in shakes]]
    end = (300.0, 250.0) if goes_on else (300.0, 150.0)
    assert len(walk(LEVEL, [*path, end])) == goes_on


@given(path=st.lists(st.tuples(st.floats(110, 490), st.floats(100, 300)), min_size=2, max_size=30))
def test_crossings_alternate_and_end_on_the_side_of_the_last(
    path: list[tuple[float, float]],
) -> None:
    # Within the ends, so that every change of side is a crossing.
    clear = [point for point in path if abs(point[1] - 200) > 2.01]
    directions = [event.direction for event in walk(LEVEL, clear)]
    assert all(a != b for a, b in pairwise(directions))
    if clear:
        came, went = clear[0][1] > 200, clear[-1][1] > 200
        assert directions.count("in") - directions.count("out") == int(went) - int(came)


def test_a_jump_over_the_line_out_of_sight_counts() -> None:
    counter = LineCounter(LEVEL)
    counter.update(tracked((1, 300, 100)), 0.0, frame_hw=FRAME_HW)
    counter.update(tracked(), 1.0, frame_hw=FRAME_HW)
    (event,) = counter.update(tracked((1, 300, 300)), 4.0, frame_hw=FRAME_HW)
    assert event.direction == "in"


def test_counts_are_by_class() -> None:
    counter = LineCounter(LEVEL)
    for class_id in (2, 2, 5):
        for step, point in enumerate(down()):
            found = tracked((step % 1 + counter.num_in + 1, *point), class_id=class_id)
            counter.update(found, 0.1 * step + 2 * counter.num_in, frame_hw=FRAME_HW)
    assert dict(counter.counts["in"]) == {2: 2, 5: 1}
    assert counter.num_out == 0


def test_only_the_classes_of_the_line_count() -> None:
    line = Line("gate", (100, 200), (500, 200), class_ids=(3,))
    assert walk(line, down()) == []


def test_a_relative_line_follows_the_size_of_the_frame() -> None:
    counter = LineCounter(Line("gate", (0, 0.5), (1, 0.5), units="relative"))
    events = []
    for at_s, y, frame_hw in [
        (0.0, 150, (400, 600)),
        (0.1, 160, (400, 600)),
        (0.2, 190, (200, 300)),
    ]:
        events += counter.update(tracked((1, 100, y)), at_s, frame_hw=frame_hw)
    assert [event.direction for event in events] == ["in"]


@pytest.mark.parametrize(
    ("anchor", "expected"), [("bottom", 6), ("top", 7), ("centre", 6), ("left", 6), ("right", 6)]
)
def test_the_anchor_is_what_crosses(anchor: Any, expected: int) -> None:
    (event,) = walk(Line("gate", (100, 200), (500, 200), anchor=anchor), down())
    assert event.at_s == pytest.approx(expected / 10)


def test_who_was_long_out_of_sight_is_somebody_new() -> None:
    counter = LineCounter(LEVEL)
    counter.update(tracked((1, 300, 100)), 0.0, frame_hw=FRAME_HW)
    counter.update(tracked(), 5.1, frame_hw=FRAME_HW)
    assert counter.update(tracked((1, 300, 300)), 5.2, frame_hw=FRAME_HW) == []


def test_memory_is_that_of_the_last_seconds() -> None:
    counter = LineCounter(LEVEL)
    for step in range(2000):
        counter.update(tracked((step, 300, 100)), step / 10, frame_hw=FRAME_HW)
        assert len(counter._passages) <= 52


def test_where_time_begins_anew_counts_stay() -> None:
    counter = LineCounter(LEVEL)
    for step, point in enumerate(down()):
        counter.update(tracked((1, *point)), 10 + step / 10, frame_hw=FRAME_HW)
    assert counter.update(tracked((1, 300, 100)), 0.0, frame_hw=FRAME_HW) == []
    assert counter.num_in == 1


def test_what_has_no_id_yet_crosses_nothing() -> None:
    assert walk(LEVEL, down(), track_id=-1) == []


def test_an_event_as_a_record() -> None:
    (event,) = walk(LEVEL, down())
    assert event.to_record(["car"]) == {
        "event": "line_crossed",
        "name": "gate",
        "track_id": 1,
        "class": "car",
        "class_id": 0,
        "at_s": 0.6,
        "point_xy": [300.0, 220.0],
        "direction": "in",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "line: `name` must not be empty"),
        ({"end_xy": (100, 200)}, r"line `gate`: `start_xy` and `end_xy` must differ"),
        ({"end_xy": (np.nan, 0)}, r"a point must be finite, got \(nan, 0\)"),
        ({"units": "relative"}, r"a relative point must be in \[0, 1\], got \(100, 200\)"),
        ({"units": "metres"}, "`units` must be one of pixels, relative, got 'metres'"),
        ({"anchor": "feet"}, "`anchor` must be one of centre, bottom, .*, got 'feet'"),
        ({"margin": -0.1}, "`margin` must be finite and at least 0, got -0.1"),
        ({"lost_s": np.inf}, "`lost_s` must be finite and at least 0, got inf"),
    ],
)
def test_refuses_a_line(options: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"name": "gate", "start_xy": (100, 200), "end_xy": (500, 200)}
    with pytest.raises(InputError, match=message):
        Line(**good | options)


def test_refuses_what_is_not_tracked_and_no_time() -> None:
    counter = LineCounter(LEVEL)
    with pytest.raises(InputError, match=r"^LineCounter.update: .* no track ids.*Tracker.update"):
        counter.update(Detections.empty(), 0.0, frame_hw=FRAME_HW)
    with pytest.raises(ValueError, match=r"^LineCounter.update: `at_s` must be finite, got nan"):
        counter.update(tracked(), float("nan"), frame_hw=FRAME_HW)
