"""The tracker in scenes of which the truth is known, and in real video, where ids must last."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError
from edgecv.results import Detections, Instances
from edgecv.runtime.model import Model
from edgecv.stream.sources import open_source
from edgecv.stream.tracking import Tracker, TrackerConfig

from .mot_scores import Boxes, Scores, mot_scores

FPS = 30.0
PERSON, CAR, DOG = 0, 2, 16  # of COCO


def detections(boxes_xyxy: Any, scores: Any, class_ids: Any = None) -> Detections:
    boxes = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
    kinds = np.zeros(len(boxes), np.int32) if class_ids is None else np.array(class_ids, np.int32)
    return Detections(boxes, np.array(scores, np.float32), kinds)


Scene = Callable[[float], Boxes]  # the truth at a time


def walkers(time_s: float) -> Boxes:
    """Six people who walk both ways, past each other at different distances."""
    boxes = {}
    for i in range(6):
        direction, start = (1, 20) if i % 2 == 0 else (-1, 900)
        x = start + direction * (90 + 15 * i) * time_s + 40 * (i // 2)
        y = 200 + 45 * i
        boxes[i] = (x, y, x + 50, y + 120)
    return boxes


def crossing(time_s: float) -> Boxes:
    """Two who walk through one another: for some frames they are one box."""
    x = 100 + 120 * time_s
    other = 600 - 120 * time_s
    return {0: (x, 100, x + 60, 260), 1: (other, 110, other + 62, 272)}


def seen(
    truth: Boxes,
    rng: np.random.Generator,
    *,
    missed: float,
    false: float,
    faint: float,
    jitter: float,
) -> Detections:
    """Return what a detector makes of a frame."""
    boxes, scores = [], []
    for box in truth.values():
        if rng.random() < missed:
            continue
        boxes.append(np.array(box) + rng.normal(0, jitter, 4))
        scores.append(rng.uniform(0.15, 0.45) if rng.random() < faint else rng.uniform(0.65, 0.95))
    for _ in range(rng.poisson(false)):
        corner = rng.uniform(0, 900, 2)
        boxes.append(np.concatenate([corner, corner + rng.uniform(30, 120, 2)]))
        scores.append(rng.uniform(0.15, 0.8))
    order = np.argsort(-np.array(scores), kind="stable")
    return detections(np.array(boxes).reshape(-1, 4)[order], np.array(scores)[order])


def without_suppressed(found: Detections) -> Detections:
    """Drop of two boxes that are nearly one the one with the lower score, as detectors do."""
    from edgecv.kernels import nms

    return found[nms(found.boxes_xyxy, found.scores, found.class_ids, iou_threshold=0.6)]


def follow(
    scene: Scene,
    *,
    duration_s: float = 5.0,
    dropped: float = 0.0,
    seed: int = 0,
    config: TrackerConfig | None = None,
    **detector: float,
) -> tuple[list[Boxes], list[Boxes]]:
    """Return the truth and what was tracked, of the frames that were not dropped."""
    rng = np.random.default_rng(seed)
    options = {"missed": 0.0, "false": 0.0, "faint": 0.0, "jitter": 1.0} | detector
    tracker = Tracker(config)
    truth, tracked = [], []
    for index in range(round(duration_s * FPS)):
        if rng.random() < dropped:
            continue
        time_s = index / FPS
        found = without_suppressed(seen(scene(time_s), rng, **options))
        ids = tracker.update(found, time_s).tracked
        assert ids.track_ids is not None
        truth.append(scene(time_s))
        tracked.append(dict(zip(ids.track_ids.tolist(), ids.boxes_xyxy.tolist(), strict=True)))
    return truth, tracked


CASES: dict[str, tuple[Scene, dict[str, float]]] = {
    "clean": (walkers, {}),
    "misses": (walkers, {"missed": 0.1}),
    "faint": (walkers, {"faint": 0.3}),
    "false positives": (walkers, {"false": 1.0, "missed": 0.05}),
    "half of the frames dropped": (walkers, {"dropped": 0.5}),
    "all of it": (
        walkers,
        {"missed": 0.05, "false": 0.5, "faint": 0.2, "jitter": 2.0, "dropped": 0.3},
    ),
    "through one another": (crossing, {}),
}
# What a perfect tracker of such detections would reach, less what confirming costs.
FLOORS = {
    "clean": (0.98, 0.99),
    "misses": (0.87, 0.93),
    "faint": (0.97, 0.985),
    "false positives": (0.87, 0.93),
    "half of the frames dropped": (0.97, 0.98),
    "all of it": (0.88, 0.94),
    "through one another": (0.93, 0.96),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_scores_in_scenes_of_which_the_truth_is_known(name: str, seed: int) -> None:
    scene, options = CASES[name]
    scores = mot_scores(*follow(scene, seed=seed, **options))
    mota, idf1 = FLOORS[name]
    assert scores.mota >= mota
    assert scores.idf1 >= idf1
    assert scores.num_switches == 0


def test_scores_of_a_worked_example() -> None:
    box, far = (0, 0, 10, 10), (50, 0, 60, 10)
    truth: list[Boxes] = [{1: box}, {1: box}, {1: box}, {1: box, 2: far}]
    tracked: list[Boxes] = [{7: box}, {7: box}, {8: box}, {8: box, 9: (90, 0, 99, 9)}]
    # Of 5 boxes one is missed, one found is false, and one changes its id.
    assert mot_scores(truth, tracked) == Scores(1 - 3 / 5, 2 * 2 / (5 + 5), 1, 1, 1)


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_trackeval(name: str) -> None:
    metrics = pytest.importorskip("trackeval.metrics")
    scene, options = CASES[name]
    truth, tracked = follow(scene, config=TrackerConfig(lost_s=0.05), **options)
    ours = mot_scores(truth, tracked)
    from edgecv.kernels.reference import box_iou

    known = sorted({i for frame in truth for i in frame})
    others = sorted({i for frame in tracked for i in frame})
    data = {
        "num_timesteps": len(truth),
        "num_gt_ids": len(known),
        "num_tracker_ids": len(others),
        "num_gt_dets": sum(map(len, truth)),
        "num_tracker_dets": sum(map(len, tracked)),
        "gt_ids": [np.array([known.index(i) for i in frame], int) for frame in truth],
        "tracker_ids": [np.array([others.index(i) for i in frame], int) for frame in tracked],
        "similarity_scores": [
            box_iou(
                np.array(list(a.values())).reshape(-1, 4), np.array(list(b.values())).reshape(-1, 4)
            )
            for a, b in zip(truth, tracked, strict=True)
        ],
    }
    quiet = {"PRINT_CONFIG": False, "THRESHOLD": 0.5}
    clear = metrics.CLEAR(quiet).eval_sequence(data)
    identity = metrics.Identity(quiet).eval_sequence(data)
    assert ours.mota == pytest.approx(clear["MOTA"])
    assert ours.num_switches == clear["IDSW"]
    assert ours.idf1 == pytest.approx(identity["IDF1"])


def test_ids_go_on_where_time_begins_anew() -> None:
    tracker = Tracker()
    box = detections([(10, 10, 50, 90)], [0.9])
    ids = [tracker.update(box, at_s).track_ids for at_s in (5.0, 5.1, 0.0, 0.1)]
    assert [int(i[0]) for i in ids if i is not None] == [-1, 1, -1, 2]
    assert tracker.num_tracks == 1


def test_a_frame_without_objects() -> None:
    tracker = Tracker()
    found = tracker.update(Detections.empty(), 0.0)
    assert found.track_ids is not None
    assert (found.track_ids.shape, found.track_ids.dtype) == ((0,), np.int64)


def test_instances_stay_instances() -> None:
    boxes = np.array([[10, 10, 50, 90]], np.float32)
    masks = np.ones((1, 8, 8), np.float32)
    found = Instances(boxes, np.ones(1, np.float32), np.zeros(1, np.int32), masks, (100, 100))
    tracked = Tracker(TrackerConfig(min_hits=1)).update(found, 0.0)
    assert isinstance(tracked, Instances)
    assert tracked.track_ids is not None
    assert tracked.track_ids.tolist() == [1]
    np.testing.assert_array_equal(tracked.masks, masks)


@pytest.mark.parametrize("at_s", [np.nan, np.inf])
def test_refuses_a_time_that_is_none(at_s: float) -> None:
    with pytest.raises(ValueError, match=r"^Tracker.update: `at_s` must be finite, got"):
        Tracker().update(Detections.empty(), at_s)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"high_score": 1.5}, r"`high_score` must be in \[0, 1\], got 1.5"),
        ({"min_iou": np.nan}, r"`min_iou` must be in \[0, 1\], got nan"),
        ({"low_score": 0.7}, "must not descend, got 0.7, 0.5 and 0.6"),
        ({"lost_s": -1.0}, "`lost_s` must be finite and at least 0 s, got -1.0"),
        ({"min_hits": 0}, "`min_hits` must be at least 1, got 0"),
    ],
)
def test_refuses_a_config(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^tracker: .*{message}"):
        TrackerConfig(**options)


@pytest.fixture(scope="session")
def yolox(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """YOLOX-nano, trained on COCO by its authors."""
    pytest.importorskip("onnx")
    import edgecv
    from edgecv.classes import parse_classes
    from edgecv.export.adoption.adopt import Preprocessing, adopt

    source = shared_data / "weights" / "yolox_nano_416.onnx"
    if not source.exists():
        pytest.skip("needs the weights of YOLOX-nano")
    path = tmp_path_factory.mktemp("yolox") / "yolox.onnx"
    adopt(source, path, "yolox", parse_classes("coco"), preprocessing=Preprocessing())
    return edgecv.load(path, "cpu", threads=1)


Lives = dict[int, dict[int, list[int]]]  # by class and id: the frames in which it is seen


def lives_of(model: Model, video: Path, every: int) -> tuple[Lives, int]:
    """Return where each id of each class is seen in every so many frames, and how many they are."""
    tracker = Tracker()
    low = model.with_thresholds(score=0.1)
    lives: Lives = {}
    num_frames = 0
    with open_source(video) as source:
        for frame in source:
            if frame.index % every:
                continue
            assert frame.pts_s is not None
            colours: dict[str, Any] = {"matrix": frame.matrix, "range": frame.range}
            found = low(frame.pixels, format=frame.format, **colours)
            assert isinstance(found, Detections)
            tracked = tracker.update(found, frame.pts_s).tracked
            assert tracked.track_ids is not None
            for class_id, track_id in zip(tracked.class_ids, tracked.track_ids, strict=True):
                of_class = lives.setdefault(int(class_id), {})
                of_class.setdefault(int(track_id), []).append(num_frames)
            num_frames += 1
    return lives, num_frames


def test_a_person_and_a_dog_keep_their_ids(yolox: Model, shared_data: Path) -> None:
    """The person is there throughout; the dog leaves the picture once and comes back later."""
    lives, num_frames = lives_of(yolox, shared_data / "videos" / "dog_person_720p.mp4", 3)
    assert num_frames == 97
    (person,) = lives[PERSON].values()
    assert person == list(range(1, num_frames))  # all but the first
    before, after = lives[DOG].values()
    assert (before[0], before[-1]) == (1, 23)
    assert (after[0], after[-1]) == (37, num_frames - 1)
    assert len(before) + len(after) >= 0.95 * (23 + 60)


def test_cars_keep_their_ids(yolox: Model, shared_data: Path) -> None:
    """One car is there throughout, two more come into the picture and stay."""
    lives, num_frames = lives_of(yolox, shared_data / "videos" / "highway_cars_540p.mp4", 3)
    assert num_frames == 74
    assert len(lives[CAR]) == 3
    for car, first in zip(lives[CAR].values(), (1, 28, 47), strict=True):
        assert car == list(range(first, num_frames))
