"""Thresholds of a running stream: which detections count, and when a change takes hold."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError
from edgecv.results import Detections
from edgecv.stream.pipeline import Pipeline
from edgecv.stream.regions import RegionBox
from edgecv.stream.scene import SceneConfig
from edgecv.stream.settings import Settings, Thresholds
from edgecv.stream.tracking import TrackerConfig
from edgecv.stream.watching import Scenes

Fake = Any  # the classes of conftest.py, which no test can import

SCORES = np.array([0.9, 0.6, 0.45, 0.3, 0.15, 0.05], np.float32)
CLASSES = np.array([0, 1, 0, 1, 0, 1], np.int32)  # even, odd


@pytest.fixture
def model(fake_model: Fake) -> Any:
    """Finds the same six objects in each frame, as far as its threshold lets them through."""

    class SixObjects(fake_model):  # type: ignore[misc]
        spec = fake_model.spec  # 0.25 and 0.45
        is_fixed = False

        def with_thresholds(self, **changes: Any) -> Any:
            if self.is_fixed and changes.get("score") is not None:
                raise InputError("the score threshold is fixed inside this graph.")
            other = type(self)()
            given = {f"{key}_threshold": changes.get(key) for key in ("score", "iou")}
            other.spec = self.spec.with_postprocess(**given)
            return other

        def finish(self, outputs: Any, placement: Any) -> Detections:
            super().finish(outputs, placement)
            found = Detections(
                np.arange(6)[:, None] * 8 + np.array([[0, 0, 8, 8]], np.float32), SCORES, CLASSES
            )
            return found[found.scores > self.spec.postprocess.score_threshold]

    return SixObjects()


def scores(settings: Settings, source: Any, **options: Any) -> list[list[float]]:
    with Pipeline(source, settings, **options) as pipeline:
        return [result.detections.scores.tolist() for result in pipeline.results()]


def rounded(found: list[float]) -> list[float]:
    return [round(score, 2) for score in found]


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (Thresholds(), [0.9, 0.6, 0.45, 0.3]),
        (Thresholds(score=0.5), [0.9, 0.6]),
        (Thresholds(score=0.1), [0.9, 0.6, 0.45, 0.3, 0.15]),
        (Thresholds(score_of_class={"odd": 0.7}), [0.9, 0.45]),
        (Thresholds(score_of_class={"odd": 0.01}), [0.9, 0.6, 0.45, 0.3, 0.05]),
        (Thresholds(score=0.5, score_of_class={"even": 0.1}), [0.9, 0.6, 0.45, 0.15]),
    ],
)
def test_which_detections_count(
    model: Any, fake_source: Fake, thresholds: Thresholds, expected: list[float]
) -> None:
    (found,) = scores(Settings(model, thresholds), fake_source(1))
    assert rounded(found) == expected


@pytest.mark.parametrize(
    ("thresholds", "first", "later"),
    [
        # The tracker sees all but 0.05; none has an id in the first frame.
        (Thresholds(), [0.9, 0.6, 0.45, 0.3], [0.9, 0.6, 0.45, 0.3]),
        (Thresholds(score=0.5), [0.9, 0.6], [0.9, 0.6]),
        (Thresholds(score=0.02), [0.9, 0.6, 0.45, 0.3, 0.15, 0.05], None),
    ],
)
def test_a_tracker_sees_more_than_what_counts(
    model: Any,
    fake_source: Fake,
    thresholds: Thresholds,
    first: list[float],
    later: list[float] | None,
) -> None:
    scenes = Scenes({"fake": SceneConfig(TrackerConfig(low_score=0.1))})
    settings = Settings(model, thresholds, lowest_score=scenes.lowest_score)
    found = [rounded(each) for each in scores(settings, fake_source(4), scenes=scenes)]
    assert found[0] == first
    assert found[-1] == (later or first)


def test_a_tracked_object_counts_below_the_models_own_threshold(model: Any) -> None:
    setting = Settings(model, lowest_score=0.1).current
    found = Detections(np.zeros((6, 4), np.float32), SCORES, CLASSES)
    ids = np.array([1, 2, -1, -1, 3, 4], np.int64)
    reported = setting.reported(replace(found, track_ids=ids))
    assert isinstance(reported, Detections)
    assert rounded(reported.scores.tolist()) == [0.9, 0.6, 0.45, 0.3, 0.15]


def test_a_change_takes_hold_without_losing_a_frame(model: Any, fake_source: Fake) -> None:
    settings = Settings(model)
    with Pipeline(fake_source(60), settings) as pipeline:
        counts = []
        for result in pipeline.results():
            counts.append(len(result.detections))
            if result.frame.index == 20:
                thread = threading.Thread(target=settings.adjust, kwargs={"score": 0.5})
                thread.start()
                thread.join()
    assert len(counts) == 60
    assert (counts[0], counts[-1]) == (4, 2)
    assert sorted(counts, reverse=True) == counts  # once
    assert settings.thresholds == Thresholds(score=0.5)


def test_a_change_that_is_refused_changes_nothing(model: Any) -> None:
    settings = Settings(model, Thresholds(score=0.5))
    before = settings.current
    with pytest.raises(InputError, match="`score` must be in \\[0, 1\\], got 2"):
        settings.adjust(score=2)
    with pytest.raises(InputError, match="must name classes of the model, got 'dog'"):
        settings.apply(Thresholds(score_of_class={"dog": 0.5}))
    assert settings.current is before


def test_what_a_graph_has_fixed(model: Any, fake_source: Fake) -> None:
    assert Settings(model).fixed() == {}
    assert Settings(model).effective == {"score": 0.25, "iou": 0.45}
    model.is_fixed = True
    settings = Settings(model, lowest_score=0.1)  # a tracker makes do with what there is
    assert settings.fixed() == {"score": "the score threshold is fixed inside this graph."}
    assert settings.effective == {"iou": 0.45}
    scenes = Scenes({"fake": SceneConfig()})
    (found,) = scores(settings, fake_source(1), scenes=scenes)
    assert rounded(found) == [0.9, 0.6, 0.45, 0.3]


def test_another_model_keeps_the_thresholds(model: Any) -> None:
    settings = Settings(model, Thresholds(score=0.5))
    settings.use(type(model)())
    assert settings.current.runner.spec.postprocess.score_threshold == 0.5


def test_a_region_is_all_that_the_model_looks_at(fake_source: Fake, fake_model: Fake) -> None:
    sizes = []

    class Looking(fake_model):  # type: ignore[misc]
        def fit(self, frame: Any, **options: Any) -> Any:
            sizes.append(frame.shape[:2])
            return super().fit(frame, **options)

    region = RegionBox((0.5, 0.25, 1, 1), is_relative=True)  # of 48 x 64
    with Pipeline(fake_source(3), Looking(), regions=[region]) as pipeline:
        results = list(pipeline.results())
    assert sizes == [(36, 32)] * 3
    for result in results:
        # The model found (index, 1, 31, 35) in its part.
        expected = [result.frame.index + 32, 13, 63, 47]
        assert result.detections.boxes_xyxy[0].tolist() == expected


def test_a_region_outside_of_the_frame_is_that_sources_own_error(
    fake_source: Fake, fake_model: Fake
) -> None:
    bad, good = fake_source(3), fake_source(3)
    bad.name, good.name = "bad", "good"
    regions = [RegionBox((100, 0, 200, 10)), None]
    with Pipeline([bad, good], fake_model(), regions=regions) as pipeline:
        assert [result.source for result in pipeline.results()] == ["good"] * 3
        assert "lies outside of the frame" in str(pipeline.errors()["bad"])
        counts = pipeline.status()["bad"].counts
    assert (counts.decoded, counts.num_dropped) == (1, 1)
