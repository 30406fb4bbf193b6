"""What second models and several models tell: rows stay with their objects, names with results."""

import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.results import Attributes, Classification, Detections, ModelResults, Poses

BREEDS = ("poodle", "beagle")


def breed(poodle: float) -> Classification:
    return Classification(np.array([poodle, 1 - poodle], np.float32))


TOLD = Attributes((breed(0.25), None, breed(0.875)), BREEDS)
DOGS = Detections(
    np.array([[0, 0, 9, 9], [5, 5, 30, 30], [2, 2, 8, 80]], np.float32),
    np.array([0.9, 0.8, 0.7], np.float32),
    np.array([1, 0, 1], np.int32),
    attributes={"breed": TOLD},
)


def test_a_row_for_each_object() -> None:
    assert len(TOLD) == 3
    assert TOLD.labels() == ["beagle 0.75", "", "poodle 0.88"]
    assert (TOLD.class_ids.tolist(), TOLD.class_ids.dtype) == ([1, -1, 0], np.int32)
    assert (TOLD.scores.tolist(), TOLD.scores.dtype) == ([0.75, 0, 0.875], np.float32)


selections = (
    st.lists(st.integers(-3, 2), max_size=5).map(lambda rows: np.array(rows, np.intp))
    | st.lists(st.booleans(), min_size=3, max_size=3).map(lambda rows: np.array(rows, np.bool_))
    | st.slices(3)
)


@given(rows=selections)
def test_some_of_the_objects_keep_what_was_told(rows: Any) -> None:
    some, order = DOGS[rows], np.arange(3)[rows].tolist()
    assert some.attributes["breed"].results == tuple(TOLD.results[row] for row in order)
    assert some.scores.tolist() == [DOGS.scores[row] for row in order]


def test_objects_are_chosen_by_what_was_told() -> None:
    poodles = DOGS[DOGS.attributes["breed"].class_ids == 0]
    assert poodles.boxes_xyxy.tolist() == [[2, 2, 8, 80]]


def test_nothing_was_told_unless_somebody_did() -> None:
    assert Detections.empty().attributes == {}
    plain = Detections(DOGS.boxes_xyxy, DOGS.scores, DOGS.class_ids)
    assert "attributes" not in plain.to_records(["cat", "dog"])[0]


def test_records_hold_what_was_told() -> None:
    first, second, _ = DOGS.to_records(["cat", "dog"])
    assert first["attributes"] == {
        "breed": [
            {"class": "beagle", "class_id": 1, "score": 0.75},
            {"class": "poodle", "class_id": 0, "score": 0.25},
        ]
    }
    assert second["attributes"] == {"breed": None}
    json.dumps([first, second])


def test_clip_keeps_what_was_told() -> None:
    assert DOGS.clip((10, 10)).attributes == {"breed": TOLD}
    points = np.zeros((3, 1, 3), np.float32)
    poses = Poses(
        DOGS.boxes_xyxy, DOGS.scores, DOGS.class_ids, points, ("nose",),
        attributes=DOGS.attributes,
    )  # fmt: skip
    assert poses.clip((10, 10)).attributes == {"breed": TOLD}


def test_supervision_gets_what_was_told_as_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def guest_of(**fields: Any) -> SimpleNamespace:
        return SimpleNamespace(**fields, data={})

    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=guest_of))
    data: Any = DOGS.to_supervision().data
    assert data["breed"].tolist() == ["beagle 0.75", "", "poodle 0.88"]


def test_a_second_detector_tells_how_many() -> None:
    told = Attributes((DOGS[:2], Detections.empty()), ("cat", "dog"))
    assert told.labels() == ["1 dog, 1 cat", ""]
    assert told.class_ids.tolist() == [-1, -1]


BOTH = ModelResults(
    {"animals": DOGS, "breed": breed(0.25)}, {"animals": ("cat", "dog"), "breed": BREEDS}
)


def test_several_results_by_name() -> None:
    assert BOTH["animals"] is DOGS
    names = ["animals/cat", "animals/dog", "breed/poodle", "breed/beagle"]
    assert [names[class_id] for class_id in BOTH.counted()] == [
        *("animals/dog", "animals/cat", "animals/dog", "breed/beagle")
    ]
    animals, of_breed = BOTH.to_records(names)
    assert animals == {"model": "animals", "detections": DOGS.to_records(["cat", "dog"])}
    assert of_breed["classes"][0]["class"] == "beagle"
    assert BOTH.headline(names) == "animals: 2 dog, 1 cat; breed: beagle 0.750, poodle 0.250"
