"""A scene: one tracker, its lines and zones, and what it refuses."""

import numpy as np
import pytest

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.stream.events import LineCrossed, ZoneEntered, ZoneLeft
from edgecv.stream.lines import Line
from edgecv.stream.scene import Scene, SceneConfig
from edgecv.stream.tracking import TrackerConfig
from edgecv.stream.zones import Zone

FRAME_HW = (400, 600)
GATE = Line("gate", (100, 200), (500, 200))
YARD = Zone("yard", ((100, 200), (500, 200), (500, 400), (100, 400)))


def test_from_detections_to_events() -> None:
    scene = Scene(SceneConfig(lines=(GATE,), zones=(YARD,)))
    events = []
    for step in range(40):
        y = 100 + 5.0 * step
        boxes = np.array([[280, y - 60, 320, y]], np.float32)
        found = Detections(boxes, np.full(1, 0.9, np.float32), np.zeros(1, np.int32))
        tracked, new = scene.update(found, step / 30, frame_hw=FRAME_HW)
        assert tracked.track_ids is not None
        assert tracked.track_ids.tolist() == [1 if step else -1]
        events += new
    assert [type(event) for event in events] == [LineCrossed, ZoneEntered]
    assert scene.lines["gate"].num_in == 1
    assert [occupant.track_id for occupant in scene.zones["yard"].occupants] == [1]
    _, (left,) = scene.update(Detections.empty(), 9.0, frame_hw=FRAME_HW)
    assert isinstance(left, ZoneLeft)
    assert left.is_lost


def test_a_scene_without_anything_tracks() -> None:
    scene = Scene()
    assert scene.update(Detections.empty(), 0.0, frame_hw=FRAME_HW)[1] == []


def test_refuses_a_name_that_is_taken() -> None:
    with pytest.raises(InputError, match=r"^scene: `gate` names 2 lines or zones. Rename one"):
        SceneConfig(lines=(GATE,), zones=(Zone("gate", YARD.corners_xy),))


def test_refuses_a_memory_shorter_than_the_tracker_s() -> None:
    with pytest.raises(InputError, match=r"`lost_s` of `yard` must be at least .* 3.0 s, got 2.0"):
        SceneConfig(TrackerConfig(lost_s=3.0), zones=(YARD,))
