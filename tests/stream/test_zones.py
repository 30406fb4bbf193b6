"""Zones: who is inside, when they came and went, and how long they stayed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.stream.events import SceneEvent, ZoneDwelled, ZoneEntered, ZoneLeft
from edgecv.stream.zones import Occupant, Zone, ZoneMonitor

from .test_lines import FRAME_HW, tracked

SQUARE = ((100, 100), (300, 100), (300, 300), (100, 300))
# A square without its upper half's middle third: a "U".
NOTCHED = ((0, 0), (10, 0), (10, 20), (20, 20), (20, 0), (30, 0), (30, 30), (0, 30))


def watch(
    zone: Zone, path: list[tuple[float, float] | None], *, step_s: float = 0.5
) -> tuple[ZoneMonitor, list[SceneEvent]]:
    """Return what one object does that is seen at these points, None where it is not seen."""
    monitor, events = ZoneMonitor(zone), []
    for step, point in enumerate(path):
        found = tracked() if point is None else tracked((1, *point))
        events += monitor.update(found, step * step_s, frame_hw=FRAME_HW)
    return monitor, events


def test_a_visit() -> None:
    zone = Zone("yard", SQUARE)
    monitor, events = watch(zone, [(50, 200), (150, 200), (200, 200), (250, 200), (350, 200)])
    assert events == [
        ZoneEntered("yard", 1, 0, 0.5, (150.0, 200.0)),
        ZoneLeft("yard", 1, 0, 2.0, (350.0, 200.0), 1.5, is_lost=False),
    ]
    assert monitor.occupants == []
    assert dict(monitor.num_entered) == {0: 1}


def test_who_is_in() -> None:
    monitor = ZoneMonitor(Zone("yard", SQUARE))
    monitor.update(tracked((7, 200, 200)), 1.0, frame_hw=FRAME_HW)
    monitor.update(tracked((7, 200, 200), (8, 210, 200), (9, 20, 20)), 2.5, frame_hw=FRAME_HW)
    assert monitor.occupants == [Occupant(7, 0, 1.5), Occupant(8, 0, 0.0)]


def test_a_long_stay_is_told_once() -> None:
    zone = Zone("yard", SQUARE, dwell_s=1.0)
    inside, outside = (200.0, 200.0), (350.0, 200.0)
    _, events = watch(zone, [inside] * 5 + [outside] + [inside] * 3)
    kinds = [(type(event), event.at_s) for event in events]
    assert kinds == [
        (ZoneEntered, 0.0),
        (ZoneDwelled, 1.0),
        (ZoneLeft, 2.5),
        (ZoneEntered, 3.0),
        (ZoneDwelled, 4.0),
    ]
    assert isinstance(events[1], ZoneDwelled)
    assert events[1].dwell_s == 1.0


def test_who_is_lost_sight_of_has_left() -> None:
    _, events = watch(Zone("yard", SQUARE), [(200, 200), (210, 200), *[None] * 6])
    (_, left) = events
    assert left == ZoneLeft("yard", 1, 0, 3.0, (210.0, 200.0), 0.5, is_lost=True)


def test_who_comes_back_in_time_has_not_left() -> None:
    monitor, events = watch(Zone("yard", SQUARE), [(200, 200), None, None, (200, 200)])
    assert [type(event) for event in events] == [ZoneEntered]
    assert monitor.occupants == [Occupant(1, 0, 1.5)]


@given(shakes=st.lists(st.floats(-0.99, 0.99), max_size=30))
def test_who_trembles_on_the_edge_does_not_come_and_go(shakes: list[float]) -> None:
    # The margin is a twentieth of the side, 1 pixel.
    path = [(50.0, 200.0), *[(100 + shake, 200.0) for shake in shakes], (150.0, 200.0)]
    _, events = watch(Zone("yard", SQUARE), list(path), step_s=0.01)
    assert [type(event) for event in events] == [ZoneEntered]


@given(
    path=st.lists(
        st.none() | st.tuples(st.floats(0, 400), st.floats(0, 400)), min_size=1, max_size=40
    )
)
def test_comings_and_goings_alternate(path: list[tuple[float, float] | None]) -> None:
    monitor, events = watch(Zone("yard", SQUARE), path)
    kinds = [type(event) for event in events]
    assert kinds[::2] == [ZoneEntered] * len(kinds[::2])
    assert kinds[1::2] == [ZoneLeft] * len(kinds[1::2])
    assert len(monitor.occupants) == len(kinds) % 2
    for came, left in zip(events[::2], events[1::2], strict=False):
        assert isinstance(left, ZoneLeft)
        assert 0 <= left.dwell_s <= left.at_s - came.at_s


@given(
    x=st.floats(-5, 35).filter(lambda x: min(abs(x - edge) for edge in (0, 10, 20, 30)) > 1e-6),
    y=st.floats(-5, 35).filter(lambda y: min(abs(y - edge) for edge in (0, 20, 30)) > 1e-6),
    turn=st.integers(0, 7),
)
def test_inside_a_notched_zone(x: float, y: float, turn: int) -> None:
    # float32 boxes: the oracle sees what the zone does.
    found = tracked((1, x, y), side=0.5)
    x, y = float(found.boxes_xyxy[0, [0, 2]].astype(float).mean()), float(found.boxes_xyxy[0, 3])
    in_square = 0 < x < 30 and 0 < y < 30
    in_notch = 10 <= x <= 20 and y <= 20
    for corners in (NOTCHED[turn:] + NOTCHED[:turn], (NOTCHED[turn:] + NOTCHED[:turn])[::-1]):
        zone = Zone("u", corners)
        assert zone.contains(found, frame_hw=FRAME_HW).tolist() == [in_square and not in_notch]


def test_contains_needs_no_tracking_and_asks_for_the_class() -> None:
    boxes = np.array([[190, 180, 210, 200], [10, 10, 30, 30]], np.float32)
    found = Detections(boxes, np.ones(2, np.float32), np.array([1, 1], np.int32))
    assert Zone("yard", SQUARE).contains(found, frame_hw=FRAME_HW).tolist() == [True, False]
    other = Zone("yard", SQUARE, class_ids=(0,))
    assert other.contains(found, frame_hw=FRAME_HW).tolist() == [False, False]
    assert Zone("yard", SQUARE).contains(Detections.empty(), frame_hw=FRAME_HW).tolist() == []


def test_a_relative_zone_follows_the_size_of_the_frame() -> None:
    zone = Zone("left half", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)), units="relative")
    found = tracked((1, 290, 200))
    assert zone.contains(found, frame_hw=(400, 600)).tolist() == [True]
    assert zone.contains(found, frame_hw=(400, 500)).tolist() == [False]


def test_only_the_classes_of_the_zone_count() -> None:
    _, events = watch(Zone("yard", SQUARE, class_ids=(3,)), [(200, 200)])
    assert events == []


def test_memory_is_that_of_the_last_seconds() -> None:
    monitor = ZoneMonitor(Zone("yard", SQUARE))
    for step in range(1000):
        monitor.update(tracked((step, 200, 200)), step / 10, frame_hw=FRAME_HW)
        assert len(monitor._stays) <= 22
    assert monitor.num_entered[0] == 1000


def test_where_time_begins_anew_everybody_is_lost() -> None:
    monitor = ZoneMonitor(Zone("yard", SQUARE))
    monitor.update(tracked((1, 200, 200)), 50.0, frame_hw=FRAME_HW)
    monitor.update(tracked((1, 200, 200)), 51.0, frame_hw=FRAME_HW)
    left, came = monitor.update(tracked((2, 200, 200)), 0.0, frame_hw=FRAME_HW)[::-1]
    assert isinstance(came, ZoneLeft)
    assert (came.is_lost, came.dwell_s) == (True, 1.0)
    assert isinstance(left, ZoneEntered)


def test_events_as_records() -> None:
    zone = Zone("yard", SQUARE, dwell_s=0.5)
    _, events = watch(zone, [(200, 200), (200, 200), (350, 200)])
    records = [event.to_record(["cat"]) for event in events]
    assert [record["event"] for record in records] == ["zone_entered", "zone_dwelled", "zone_left"]
    assert (records[1]["dwell_s"], records[2]["dwell_s"], records[2]["lost"]) == (0.5, 1.0, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corners_xy": ((0, 0), (9, 9))}, "at least 3 different corners, got 2"),
        ({"corners_xy": ((0, 0), (9, 9), (0, 0))}, "at least 3 different corners, got 2"),
        ({"corners_xy": ((0, 0), (9, 9), (3, 3))}, "must not lie on one line"),
        ({"units": "relative"}, r"a relative point must be in \[0, 1\], got \(300, 100\)"),
        ({"dwell_s": 0.0}, "`dwell_s` must be above 0, got 0.0"),
        ({"margin": np.nan}, "`margin` must be finite and at least 0, got nan"),
    ],
)
def test_refuses_a_zone(options: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"name": "yard", "corners_xy": ((0, 0), (300, 100), (0, 99))}
    with pytest.raises(InputError, match=rf"^zone `yard`: .*{message}"):
        Zone(**good | options)


def test_refuses_what_is_not_tracked() -> None:
    with pytest.raises(InputError, match=r"^ZoneMonitor.update: .* no track ids"):
        ZoneMonitor(Zone("yard", SQUARE)).update(Detections.empty(), 0.0, frame_hw=FRAME_HW)
