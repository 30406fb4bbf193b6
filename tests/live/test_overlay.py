"""What a browser draws, of each kind of result."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecv.colour import PALETTE_RGB
from edgecv.live.overlay import MOST_OBJECTS, described
from edgecv.live.tap import encoded, jpeg
from edgecv.results import Classification, Detections, Instances, Poses, Result, Segmentation
from edgecv.stream.sources import Frame

BOXES = np.array([[10, 12, 30, 40], [0, 0, 5, 5]], np.float32)
SCORES, CLASS_IDS = np.array([0.9, 0.5], np.float32), np.array([1, 0], np.int32)
CLASSES = ("background", "dog", "cat")


def rgba(layer: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(layer)).convert("RGBA"))


def test_tracks_are_told_where_somebody_tracks() -> None:
    tracked = Detections(BOXES, SCORES, CLASS_IDS, track_ids=np.array([7, -1]))
    assert described(tracked, CLASSES, (48, 64)).content["tracks"] == [7, -1]
    assert (
        "tracks" not in described(Detections(BOXES, SCORES, CLASS_IDS), CLASSES, (48, 64)).content
    )


def test_many_objects_are_cut_off_and_counted() -> None:
    many = Detections(
        np.zeros((500, 4), np.float32), np.ones(500, np.float32), np.zeros(500, np.int32)
    )
    content = described(many, CLASSES, (48, 64)).content
    assert (len(content["boxes"]), content["more"]) == (MOST_OBJECTS, 500 - MOST_OBJECTS)


def test_masks_are_a_picture_in_the_colours_of_their_classes() -> None:
    masks = np.ones((2, 28, 28), np.float32)
    found = Instances(BOXES, SCORES, CLASS_IDS, masks=masks, frame_hw=(48, 64))
    overlay = described(found, CLASSES, (48, 64))
    picture = rgba(overlay.layer)
    assert picture.shape == (48, 64, 4)
    assert picture[26, 20].tolist() == [*PALETTE_RGB[1], 255]
    assert picture[2, 2].tolist() == [*PALETTE_RGB[0], 255]
    assert picture[45, 60, 3] == 0
    empty = Instances(BOXES[:0], SCORES[:0], CLASS_IDS[:0], masks=masks[:0], frame_hw=(48, 64))
    assert described(empty, CLASSES, (48, 64)).layer == b""


def test_points_have_their_limbs() -> None:
    points = np.array([[[1, 2, 0.5], [np.nan, 4, 0.25]]] * 2, np.float32)
    found = Poses(BOXES, SCORES, CLASS_IDS, keypoints=points, names=("a", "b"), skeleton=((0, 1),))
    content = described(found, CLASSES, (48, 64)).content
    assert content["points"] == [[[1, 2, 0.5], [0, 4, 0.25]]] * 2
    assert content["skeleton"] == [[0, 1]]


def test_areas_are_tinted_but_for_the_background() -> None:
    labels = np.zeros((600, 1000), np.uint8)
    labels[:300] = 1
    overlay = described(Segmentation(labels), CLASSES, (600, 1000))
    picture = rgba(overlay.layer)
    assert picture.shape[1] <= 480
    assert picture[10, 10].tolist() == [*PALETTE_RGB[1], 255]
    assert picture[-10, 10, 3] == 0
    assert overlay.content["shares"] == [(1, 0.5)]


def test_the_best_classes_are_told() -> None:
    found = Classification(np.array([0.1, 0.7, 0.2], np.float32))
    content = described(found, CLASSES, (48, 64)).content
    assert content == {"kind": "classes", "top": [[1, 0.7], [2, 0.2], [0, 0.1]]}


def test_what_is_unknown_is_told_in_words() -> None:
    class Depth(Result):
        KEY = "depth"

        def to_records(self, classes: Any) -> Any:
            raise NotImplementedError

        def counted(self) -> list[int]:
            return []

        def headline(self, classes: Any) -> str:
            return f"{len(classes)} m"

    assert described(Depth(), CLASSES, (48, 64)).content == {"kind": "words", "words": "3 m"}


def test_values_that_are_no_numbers_stay_json(result_of: Callable[..., Any]) -> None:
    boxes = np.array([[np.nan, 1, np.inf, 2]], np.float32)
    found = Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.int32))
    data = encoded(result_of(found), CLASSES, max_width=64)
    length = int.from_bytes(data[:4], "little")
    assert json.loads(data[12 : 12 + length])["result"]["boxes"][0][0] == 0


@pytest.mark.parametrize(
    ("size_hw", "expected"), [((48, 64), (48, 64)), ((720, 1280), (45, 80)), ((3, 4000), (1, 80))]
)
def test_pictures_are_made_smaller_never_larger(
    size_hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    frame = Frame(0, np.full((*size_hw, 3), (200, 100, 50), np.uint8), "bgr24")
    picture = Image.open(io.BytesIO(jpeg(frame, max_width=80)))
    assert picture.size == expected[::-1]
    assert np.asarray(picture).mean(axis=(0, 1)) == pytest.approx([50, 100, 200], abs=4)


def test_a_decoders_planes_become_a_picture() -> None:
    planes = tuple(np.full(shape, 128, np.uint8) for shape in [(48, 64), (24, 32), (24, 32)])
    frame = Frame(0, planes, "yuv420p", range="full")
    picture = np.asarray(Image.open(io.BytesIO(jpeg(frame, max_width=640))))
    assert picture.shape == (48, 64, 3)
    assert np.abs(picture.astype(int) - 128).max() <= 2
