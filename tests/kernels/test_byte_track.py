"""One step of the tracker against its definition in full matrices, and the laws of its parts.

The kernel has four filters of two numbers where the definition has one of eight: ids must be equal,
the states to the rounding of some hundred operations.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.kernels import TrackTable, byte_track, reference
from edgecv.kernels._native import byte_track_cpu
from edgecv.kernels.reference.tracking import Tracks

DEFAULTS: dict[str, Any] = {
    "high_score": 0.5,
    "low_score": 0.1,
    "new_score": 0.6,
    "min_iou": 0.2,
    "min_iou_low": 0.5,
    "min_iou_new": 0.3,
    "lost_s": 1.0,
    "min_hits": 2,
    "is_class_aware": True,
}
TOLERANCE = 1e-9  # relative; 1e4 roundings of 1e-16 are 1e-12, and variances lose some digits

Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]


def found(*objects: tuple[float, float, float, float, float], class_id: int = 0) -> Found:
    """Return the objects of a frame: x1, y1, x2, y2 and score of each."""
    rows = np.array(objects, np.float32).reshape(-1, 5)
    return rows[:, :4].copy(), rows[:, 4].copy(), np.full(len(rows), class_id, np.int32)


def at(x: float, score: float = 0.9, y: float = 50) -> tuple[float, float, float, float, float]:
    """Return an object of 40 x 80 pixels."""
    return (x, y, x + 40, y + 80, score)


def random_frames(seed: int, num_frames: int, num_objects: int) -> list[tuple[Found, float]]:
    """Objects that wander, hide, flicker in score and sometimes change their class."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 400, (num_objects, 2))
    velocities = rng.normal(0, 60, (num_objects, 2))
    sizes = rng.uniform(10, 90, (num_objects, 2))
    kinds = rng.integers(0, 2, num_objects)
    frames = []
    for _ in range(num_frames):
        elapsed_s = float(rng.choice([1 / 30, 1 / 25, 0.1, 0.5, 0.0]))
        centres = centres + velocities * elapsed_s
        is_seen = rng.random(num_objects) < 0.85
        noisy = centres + rng.normal(0, 1, centres.shape)
        boxes = np.hstack([noisy - sizes / 2, noisy + sizes / 2])[is_seen].astype(np.float32)
        scores = rng.uniform(0.05, 1, len(boxes)).astype(np.float32)
        class_ids = np.where(rng.random(num_objects) < 0.05, 1 - kinds, kinds)[is_seen]
        frames.append(((boxes, scores, class_ids.astype(np.int32)), elapsed_s))
    return frames


def assert_same_state(table: TrackTable, state: Tracks) -> None:
    count = len(state.tracks)
    assert len(table) == count
    assert table.next_id == state.next_id
    for row, track in enumerate(state.tracks):
        labels = [track.track_id, track.class_id, track.num_hits, track.num_misses]
        assert table.labels[row].tolist() == labels
        assert table.unseen_s[row] == pytest.approx(track.unseen_s)
        motion, covariance = table.motion[row], track.covariance
        scale = float(np.abs(covariance).max())
        for k in range(4):
            expected = [track.mean[k], track.mean[4 + k]]
            np.testing.assert_allclose(motion[k, :2], expected, rtol=TOLERANCE, atol=TOLERANCE)
            expected = [covariance[k, k], covariance[k, 4 + k], covariance[4 + k, 4 + k]]
            np.testing.assert_allclose(
                motion[k, 2:], expected, rtol=TOLERANCE, atol=TOLERANCE * scale
            )
    np.testing.assert_allclose(
        table.boxes_xyxy, [track.box_xyxy for track in state.tracks] or np.zeros((0, 4))
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_class_aware": False},
        {"min_hits": 1, "lost_s": 0.0},
        {"min_hits": 4, "min_iou": 0.05, "min_iou_new": 0.05},
        {"high_score": 0.8, "new_score": 0.1, "low_score": 0.0, "min_iou_low": 0.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("num_objects", [5, 7, 9])
def test_matches_reference(num_objects: int, options: dict[str, Any]) -> None:
    chosen = DEFAULTS | options
    table, state = TrackTable(), Tracks()
    frames = random_frames(num_objects, 40, num_objects)
    for objects, elapsed_s in frames:
        ids = byte_track(table, *objects, elapsed_s=elapsed_s, **chosen)
        expected = reference.byte_track(state, *objects, elapsed_s=elapsed_s, **chosen)
        assert ids.tolist() == expected
        assert_same_state(table, state)
    assert table.next_id > 1


def test_an_object_has_an_id_once_it_is_found_twice_in_a_row() -> None:
    table = TrackTable()
    assert byte_track(table, *found(at(10)), elapsed_s=0).tolist() == [-1]
    assert byte_track(table, *found(at(12)), elapsed_s=1 / 30).tolist() == [1]
    assert byte_track(table, *found(), elapsed_s=1 / 30).tolist() == []
    assert byte_track(table, *found(at(15)), elapsed_s=1 / 30).tolist() == [1]


def test_what_is_found_once_is_forgotten_at_once() -> None:
    table = TrackTable()
    byte_track(table, *found(at(10)), elapsed_s=0)
    assert len(table) == 1
    byte_track(table, *found(), elapsed_s=1 / 30)
    assert len(table) == 0


def test_a_low_score_keeps_a_track_but_begins_none() -> None:
    table = TrackTable()
    for score, expected in [(0.9, -1), (0.9, 1), (0.2, 1), (0.1, 1), (0.05, -1), (0.9, 1)]:
        ids = byte_track(table, *found(at(10, np.float32(score))), elapsed_s=1 / 30)
        # float32's 0.1 is above 0.1
        assert ids.tolist() == [expected]
    for _ in range(3):
        assert byte_track(table, *found(at(300, 0.4)), elapsed_s=1 / 30).tolist() == [-1]


def test_a_good_score_that_begins_no_track_may_keep_one() -> None:
    table = TrackTable()
    assert byte_track(table, *found(at(10, 0.55)), elapsed_s=0).tolist() == [-1]
    assert len(table) == 0
    for score, expected in [(0.6001, -1), (0.55, 1)]:
        assert byte_track(table, *found(at(10, score)), elapsed_s=0.1).tolist() == [expected]


def test_a_lost_object_is_known_again_until_its_time_is_over() -> None:
    for hidden_s, expected in [(0.9, 1), (1.2, -1)]:
        table = TrackTable()
        for _ in range(3):
            byte_track(table, *found(at(10)), elapsed_s=0.1)
        for _ in range(6):
            byte_track(table, *found(), elapsed_s=hidden_s / 6)
        assert byte_track(table, *found(at(10)), elapsed_s=0.01).tolist() == [expected]


def test_after_a_long_pause_an_object_may_still_be_the_same() -> None:
    # Nothing was missed in between: whatever the rate of frames is, a track has one chance.
    table = TrackTable()
    for expected in (-1, 1, 1):
        assert byte_track(table, *found(at(10)), elapsed_s=5.0).tolist() == [expected]


def test_motion_carries_an_object_through_a_gap() -> None:
    # 300 pixels a second, 0.4 s out of sight: further than its own width.
    table = TrackTable()
    for step in range(10):
        byte_track(table, *found(at(10.0 * step)), elapsed_s=1 / 30)
    for _ in range(12):
        byte_track(table, *found(), elapsed_s=1 / 30)
    assert byte_track(table, *found(at(10.0 * 22)), elapsed_s=1 / 30).tolist() == [1]


def test_classes_keep_apart_what_overlaps() -> None:
    def run(*, is_class_aware: bool) -> list[int]:
        table = TrackTable()
        for _ in range(2):
            byte_track(table, *found(at(10)), elapsed_s=0.1)
        boxes, scores, class_ids = found(at(11), class_id=1)
        options = {"elapsed_s": 0.1, "is_class_aware": is_class_aware}
        ids: list[int] = byte_track(table, boxes, scores, class_ids, **options).tolist()
        return ids + table.labels[: len(table), 1].tolist()

    assert run(is_class_aware=True) == [-1, 0, 1]
    assert run(is_class_aware=False) == [1, 1]


@given(
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=6),
    elapsed_s=st.floats(0.01, 0.9),
    speed=st.floats(-300, 300),
)
def test_frames_without_objects_add_up(shares: list[float], elapsed_s: float, speed: float) -> None:
    """Short steps out of sight leave the state that one long step does."""
    one, many = TrackTable(), TrackTable()
    for table in (one, many):
        for step in range(6):
            byte_track(table, *found(at(speed * step / 30)), elapsed_s=1 / 30)
        byte_track(table, *found(), elapsed_s=0)  # its size stands still from now on
        assert len(table) == 1
    byte_track(one, *found(), elapsed_s=elapsed_s)
    for share in shares:
        byte_track(many, *found(), elapsed_s=elapsed_s * share / sum(shares))
    np.testing.assert_allclose(many.motion[0], one.motion[0], rtol=1e-9, atol=1e-9)
    assert many.unseen_s[0] == pytest.approx(one.unseen_s[0])


@given(seed=st.integers(0, 2**32 - 1), shift=st.tuples(st.integers(-99, 99), st.integers(-99, 99)))
def test_the_place_in_the_picture_does_not_matter(seed: int, shift: tuple[int, int]) -> None:
    here, there = TrackTable(), TrackTable()
    for (boxes, scores, class_ids), elapsed_s in random_frames(seed, 12, 5):
        # Quarters of a pixel, so that the shift is exact.
        rounded = np.round(boxes * 4) / np.float32(4)
        moved = rounded + np.array(shift * 2, np.float32)
        ids = byte_track(here, rounded, scores, class_ids, elapsed_s=elapsed_s)
        same = byte_track(there, moved, scores, class_ids, elapsed_s=elapsed_s)
        np.testing.assert_array_equal(ids, same)


@given(seed=st.integers(0, 2**32 - 1))
def test_an_id_is_given_once_and_to_one_object_a_frame(seed: int) -> None:
    table, seen = TrackTable(), set[int]()
    for objects, elapsed_s in random_frames(seed, 15, 12):
        ids = byte_track(table, *objects, elapsed_s=elapsed_s)
        given_ids = ids[ids >= 0]
        assert len(np.unique(given_ids)) == len(given_ids)
        new = {int(i) for i in given_ids} - seen
        # Those that are new are the next ones, none left out.
        assert sorted(new) == list(range(len(seen) + 1, len(seen) + len(new) + 1))
        seen |= new
    assert table.next_id == len(seen) + 1


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 20),
        (20, 10, 10, 20),
        (np.nan, 10, 20, 20),
        (10, 10, np.inf, 20),
        (-np.inf, 10, 20, 20),
    ],
)
def test_a_box_without_an_area_takes_no_part(box: tuple[float, float, float, float]) -> None:
    table = TrackTable()
    for _ in range(3):
        ids = byte_track(table, *found((*box, 0.9), at(200)), elapsed_s=0.1)
        assert ids[0] == -1
    assert ids[1] == 1
    assert len(table) == 1


def test_a_score_that_is_no_number_takes_no_part() -> None:
    table = TrackTable()
    for _ in range(3):
        assert byte_track(table, *found(at(10, np.nan)), elapsed_s=0.1).tolist() == [-1]
    assert len(table) == 0


@given(values=st.lists(st.floats(width=32), min_size=4, max_size=4), elapsed_s=st.floats(0, 1e12))
def test_any_box_at_any_time_is_survived(values: list[float], elapsed_s: float) -> None:
    table = TrackTable()
    boxes = np.array([values, [0, 0, 9, 9]], np.float32)
    scores, class_ids = np.ones(2, np.float32), np.zeros(2, np.int32)
    for _ in range(4):
        ids = byte_track(table, boxes, scores, class_ids, elapsed_s=elapsed_s)
        assert ids.shape == (2,)
    assert len(table) <= 4


def test_the_table_does_not_grow_with_time() -> None:
    table = TrackTable()
    rng = np.random.default_rng(0)
    room = 0
    for step in range(600):
        boxes, scores, class_ids = found(*(at(*rng.uniform(0, 2000, 1)) for _ in range(20)))
        byte_track(table, boxes, scores, class_ids, elapsed_s=0.1)
        if step == 60:
            room = len(table.unseen_s)
    assert len(table.unseen_s) <= 2 * room
    assert len(table) <= 20 * 12  # of a second's frames


def test_forgetting_keeps_counting() -> None:
    table = TrackTable()
    for expected in ([-1], [1]):
        assert byte_track(table, *found(at(10)), elapsed_s=0.1).tolist() == expected
    table.clear()
    for expected in ([-1], [2]):
        assert byte_track(table, *found(at(10)), elapsed_s=0.1).tolist() == expected


def test_reads_views() -> None:
    boxes, scores, class_ids = found(at(10), at(100), at(200), at(300))
    table, again = TrackTable(), TrackTable()
    for _ in range(2):
        ids = byte_track(table, boxes[::-2], scores[::-2], class_ids[::-2], elapsed_s=0.1)
        same = byte_track(
            again, boxes[::-2].copy(), scores[::-2].copy(), class_ids[::-2].copy(), elapsed_s=0.1
        )
    np.testing.assert_array_equal(ids, same)
    assert table.track_ids.tolist() == [1, 2]


def test_the_kernel_writes_the_rows_of_its_tracks_only() -> None:
    boxes, scores, class_ids = found(at(10), at(100), at(300, 0.2))
    room = 9
    motion, unseen_s = np.full((room, 4, 5), np.nan), np.full(room, np.nan)
    labels, track_ids = np.full((room, 4), -7), np.full(3, -7)
    count, next_id = byte_track_cpu(
        motion, unseen_s, labels, 0, boxes, scores, class_ids,
        elapsed_s=0.0, **DEFAULTS | {"min_hits": 1}, next_id=5, track_ids=track_ids,
    )  # fmt: skip
    assert (count, next_id, track_ids.tolist()) == (2, 7, [5, 6, -1])
    assert np.isfinite(motion[:2]).all()
    assert np.isnan(motion[2:]).all()
    assert np.isnan(unseen_s[2:]).all()
    assert (labels[2:] == -7).all()


GOOD: dict[str, Any] = {
    "boxes_xyxy": np.zeros((2, 4), np.float32),
    "scores": np.zeros(2, np.float32),
    "class_ids": np.zeros(2, np.int32),
    "elapsed_s": 0.1,
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes_xyxy": np.zeros((2, 5), np.float32)}, r"`boxes_xyxy` must have shape \(N, 4\)"),
        ({"scores": np.zeros(3, np.float32)}, r"`scores` must have shape \(2,\), got \(3,\)"),
        ({"class_ids": np.zeros(1, np.int32)}, r"`class_ids` must have shape \(2,\)"),
        ({"elapsed_s": -0.1}, "`elapsed_s` must be finite and at least 0 s, got -0.1"),
        ({"elapsed_s": np.nan}, "`elapsed_s` must be finite and at least 0 s, got nan"),
        ({"lost_s": np.inf}, "`lost_s` must be finite and at least 0 s, got inf"),
        ({"high_score": 1.5}, r"`high_score` must be in \[0, 1\], got 1.5"),
        ({"min_iou_low": -1}, r"`min_iou_low` must be in \[0, 1\], got -1"),
        ({"min_hits": 0}, "`min_hits` must be at least 1, got 0"),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^byte_track: {message}"):
        byte_track(TrackTable(), **GOOD | options)


def test_refuses_types() -> None:
    with pytest.raises(TypeError, match=r"^byte_track: `boxes_xyxy` must be float32, got float64"):
        byte_track(TrackTable(), **GOOD | {"boxes_xyxy": np.zeros((2, 4))})
