"""What a classifier tells, drawn over frames of every kind, and written line by line."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgecv.colour import PALETTE_RGB
from edgecv.results import Classification, Detections, ModelResults, Result, Segmentation
from edgecv.stream.annotate import annotated
from edgecv.stream.ledger import Ledger
from edgecv.stream.pipeline import StreamResult
from edgecv.stream.sinks import JsonlSink
from edgecv.stream.sources import Frame

CLASSES = ("cat", "dog", "bird", "fish")
FOUND = Classification(np.array([0.05, 0.7, 0.05, 0.2], np.float32))


def rows_of(picture: np.ndarray, class_id: int) -> np.ndarray:
    """The rows in which a class's plate is seen."""
    is_plate = (picture == PALETTE_RGB[class_id]).all(axis=2)
    return np.flatnonzero(is_plate.sum(axis=1) > 3)


def test_the_best_classes_stand_in_the_corner_the_best_on_top() -> None:
    frame = Frame(0, np.zeros((480, 640, 3), np.uint8), "rgb24")
    picture = annotated(FOUND, frame, CLASSES).to_array("rgb24")
    first, second, third = (rows_of(picture, class_id) for class_id in (1, 3, 0))
    assert first.max() < second.min() <= second.max() < third.min()
    assert len(rows_of(picture, 2)) == 0  # three are enough
    assert third.max() < 480 * 0.4
    assert not picture[:, 320:].any()


@pytest.mark.parametrize("size_hw", [(40, 48), (8, 8), (1, 1)])
def test_a_thumbnail_has_room_for_one(size_hw: tuple[int, int]) -> None:
    frame = Frame(0, np.zeros((*size_hw, 3), np.uint8), "rgb24")
    picture = annotated(FOUND, frame, CLASSES).to_array("rgb24")
    assert len(rows_of(picture, 3)) == 0


def test_planes_and_formats_without_canvas() -> None:
    planes = tuple(np.full(s, 128, np.uint8) for s in ((96, 128), (48, 64), (48, 64)))
    drawn = annotated(FOUND, Frame(0, planes, "yuv420p"), CLASSES)
    assert (drawn.pixels[0] != 128).any()
    packed = annotated(FOUND, Frame(0, np.full((96, 128, 2), 128, np.uint8), "yuyv422"), CLASSES)
    assert packed.format == "bgr24"


def test_a_result_of_no_known_task_cannot_be_drawn() -> None:
    class Other(Result):
        to_records = counted = headline = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="how a Other is drawn"):
        annotated(Other(), Frame(0, np.zeros((8, 8, 3), np.uint8), "rgb24"), CLASSES)


def test_a_line_of_json_holds_the_best_classes(tmp_path: Path) -> None:
    frame = Frame(3, np.zeros((8, 8, 3), np.uint8), "rgb24", None, Path("a.png"))
    with JsonlSink(tmp_path / "found.jsonl", CLASSES) as sink:
        sink.write(StreamResult(frame, FOUND, Ledger(0.0)))
    record = json.loads((tmp_path / "found.jsonl").read_text())
    assert (record["frame"], record["path"]) == (3, "a.png")
    assert record["classes"][0] == {"class": "dog", "class_id": 1, "score": 0.7}
    assert [entry["class"] for entry in record["classes"]] == ["dog", "fish", "cat", "bird"]


def test_detections_are_asked_of_detectors_only() -> None:
    frame = Frame(0, np.zeros((8, 8, 3), np.uint8), "rgb24")
    found = Detections.empty()
    assert StreamResult(frame, found, Ledger(0.0)).detections is found
    with pytest.raises(TypeError, match="must be a detector, got a Classification"):
        _ = StreamResult(frame, FOUND, Ledger(0.0)).detections


def halves(size_hw: tuple[int, int], left: int, right: int) -> Segmentation:
    labels = np.full(size_hw, left, np.uint8)
    labels[:, size_hw[1] // 2 :] = right
    return Segmentation(labels)


def test_every_pixel_is_tinted_and_the_classes_are_named_in_their_order() -> None:
    frame = Frame(0, np.full((480, 640, 3), 100, np.uint8), "rgb24")
    picture = annotated(halves((480, 640), 3, 1), frame, CLASSES).to_array("rgb24")
    below = picture[240:].reshape(240, 2, 320, 3)
    for half, class_id in ((0, 3), (1, 1)):
        wanted = 100 + 0.55 * (PALETTE_RGB[class_id].astype(float) - 100)
        assert np.abs(below[:, half] - wanted).max() <= 1.5  # 0.55 is rounded to 256ths
    dog, fish = rows_of(picture, 1), rows_of(picture, 3)
    assert len(dog) > 0
    assert dog.max() < fish.min()
    assert len(rows_of(picture, 0)) == 0


@pytest.mark.parametrize("name", ["background", "__background__", "Background"])
def test_the_background_stays_as_it_is(name: str) -> None:
    frame = Frame(0, np.full((480, 640, 3), 100, np.uint8), "rgb24")
    picture = annotated(halves((480, 640), 0, 1), frame, (name, "dog")).to_array("rgb24")
    assert (picture[240:, :320] == 100).all()
    assert (picture[240:, 320:] != 100).any(axis=2).all()
    assert len(rows_of(picture, 0)) == 0
    assert len(rows_of(picture, 1)) > 0


def test_a_segmentation_is_drawn_into_planes_and_thumbnails() -> None:
    planes = tuple(np.full(s, 128, np.uint8) for s in ((96, 128), (48, 64), (48, 64)))
    drawn = annotated(halves((96, 128), 2, 3), Frame(0, planes, "yuv420p"), CLASSES)
    assert drawn.format == "yuv420p"
    assert (drawn.pixels[0] != 128).any(axis=0).all()
    for size_hw in ((1, 1), (8, 8)):
        frame = Frame(0, np.zeros((*size_hw, 3), np.uint8), "rgb24")
        assert annotated(halves(size_hw, 1, 1), frame, CLASSES).size_hw == size_hw


def test_a_line_of_json_holds_shares_and_no_pixels(tmp_path: Path) -> None:
    frame = Frame(0, np.zeros((480, 640, 3), np.uint8), "rgb24")
    with JsonlSink(tmp_path / "found.jsonl", CLASSES) as sink:
        sink.write(StreamResult(frame, halves((480, 640), 1, 3), Ledger(0.0)))
    record = json.loads((tmp_path / "found.jsonl").read_text())
    assert record["segmentation"] == [
        {"class": "dog", "class_id": 1, "share": 0.5},
        {"class": "fish", "class_id": 3, "share": 0.5},
    ]


def test_several_models_are_drawn_each_with_its_own_names() -> None:
    box = np.array([[10, 60, 90, 95]], np.float32)
    found = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32))
    scene = Classification(np.array([0.25, 0.75], np.float32))
    both = ModelResults(
        {"objects": found, "scene": scene}, {"objects": ("thing",), "scene": ("in", "out")}
    )
    together = annotated(both, Frame(0, np.zeros((100, 120, 3), np.uint8), "rgb24"), ())
    apart = Frame(0, np.zeros((100, 120, 3), np.uint8), "rgb24")
    apart = annotated(found, annotated(scene, apart, ("in", "out")), ("thing",))
    np.testing.assert_array_equal(together.pixels, apart.pixels)
    assert np.asarray(together.pixels).any()
