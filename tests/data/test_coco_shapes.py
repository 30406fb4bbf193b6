"""Polygons, run lengths and keypoints of COCO's format: read, and refused with the reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from edgecv.data.checks import UnusableError
from edgecv.data.coco import read_coco
from edgecv.data.coco_shapes import keypoints_from_coco, segment_from_coco
from edgecv.data.segments import Polygons, RunLengths
from edgecv.errors import DatasetError

mask_api = pytest.importorskip("pycocotools.mask")

masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(mask=masks)
def test_run_lengths_are_those_of_the_mask_api(mask: Any) -> None:
    compressed = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    plain = {"size": list(mask.shape), "counts": compressed["counts"].decode()}
    segment = segment_from_coco(plain, mask.shape)
    assert isinstance(segment, RunLengths)
    np.testing.assert_array_equal(segment.mask(), mask)
    listed = {"size": list(mask.shape), "counts": segment.counts.tolist()}
    again = segment_from_coco(json.loads(json.dumps(listed)), mask.shape)
    assert isinstance(again, RunLengths)
    np.testing.assert_array_equal(again.mask(), mask)


def test_long_runs_take_several_characters() -> None:
    mask = np.zeros((300, 400), np.uint8, order="F")
    mask[:, 100:390] = 1
    counts = mask_api.encode(mask)["counts"].decode()
    segment = segment_from_coco({"size": [300, 400], "counts": counts}, (300, 400))
    assert isinstance(segment, RunLengths)
    np.testing.assert_array_equal(segment.counts, [30000, 87000, 3000])


def test_polygons_keep_their_corners() -> None:
    segment = segment_from_coco([[0, 0, 4.5, 0, 4.5, 3], [5, 5, 9, 5, 9, 9, 5, 9]], (10, 10))
    assert isinstance(segment, Polygons)
    np.testing.assert_array_equal(segment.sizes, [3, 4])
    np.testing.assert_array_equal(segment.corners_xy[:4], [[0, 0], [4.5, 0], [4.5, 3], [5, 5]])
    assert segment.corners_xy.dtype == np.float64


def test_no_outline_is_none() -> None:
    assert segment_from_coco([], (10, 10)) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ring", "must be a list of polygons or an object with `size` and `counts`, got a string"),
        ({"counts": [4]}, "must be a list of polygons or an object"),
        ([1, 2, 3, 4, 5, 6], "each polygon must be a list of numbers, got 1"),
        ([[1, 2, 3, 4]], "x and y of at least 3 corners, got 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "x and y of at least 3 corners, got 7 numbers"),
        ([[1, 2, 3, 4, 5, None]], "must have finite numbers, got None"),
        ([[1, 2, 3, 4, 5, float("nan")]], "must have finite numbers, got nan"),
        ([[1, 2, 3, 4, 5, 10**400]], "must have finite numbers"),
        ([[0, 0, 9, 0, 9, 21.5]], r"inside the image of 30x20, got the corner \(9, 21.5\)"),
        ({"size": [30, 20], "counts": [600]}, r"must be the image's .* \[20, 30\], got \[30, 20\]"),
        ({"size": [20, 30], "counts": None}, "must be a list of whole numbers .* got null"),
        ({"size": [20, 30], "counts": [600.0]}, "must be a list of whole numbers"),
        ({"size": [20, 30], "counts": [601, -1]}, "must be a list of whole numbers"),
        ({"size": [20, 30], "counts": [599]}, "must add up to the image's 600 pixels, got 599"),
        ({"size": [20, 30], "counts": "é"}, "characters of COCO's code, got 'é'"),
        ({"size": [20, 30], "counts": "P"}, "must end with a whole number"),
    ],
)
def test_a_broken_outline_is_refused(value: Any, message: str) -> None:
    with pytest.raises(UnusableError, match=message):
        segment_from_coco(value, (20, 30))


def test_keypoints_are_rows_of_x_y_visibility() -> None:
    np.testing.assert_array_equal(
        keypoints_from_coco([1, 2, 2, 0, 0, 0], 2, (20, 30)), [[1, 2, 2], [0, 0, 0]]
    )
    np.testing.assert_array_equal(keypoints_from_coco(None, 2, (20, 30)), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2, 2], "x, y and visibility of 2 points, got 3 entries"),
        ("nose", "x, y and visibility of 2 points, got a string"),
        ([1, 2, 2, 1, "2", 2], "must be finite numbers, got '2'"),
        ([1, 2, 2, 1, float("inf"), 2], "must be finite numbers, got inf"),
        ([1, 2, 2, 1, 2, 3], "visibility of a keypoint must be 0, 1 or 2, got 3"),
        ([1, 2, 2, 32, 2, 1], r"keypoint must lie inside the image of 30x20, got \(32, 2\)"),
    ],
)
def test_broken_keypoints_are_refused(value: Any, message: str) -> None:
    with pytest.raises(UnusableError, match=message):
        keypoints_from_coco(value, 2, (20, 30))


def write_people(folder: Path, **changes: Any) -> Path:
    """One image of 30x20 with a person, a ball and a crowd."""
    people = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [
            {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"]},
            {"id": 2, "name": "ball"},
        ],
        "annotations": [
            {
                "image_id": 1,
                "category_id": 1,
                "bbox": [1, 1, 9, 9],
                "segmentation": [[1, 1, 10, 1, 10, 10]],
                "keypoints": [5, 2, 2, 6, 3, 1],
            },
            {"image_id": 1, "category_id": 2, "bbox": [12, 1, 5, 5]},
            {
                "image_id": 1,
                "category_id": 1,
                "bbox": [0, 0, 30, 20],
                "iscrowd": 1,
                "segmentation": {"size": [20, 30], "counts": [0, 600]},
            },
        ],
    }
    (folder / "train").mkdir()
    Image.new("RGB", (30, 20)).save(folder / "train" / "a.png")
    (folder / "instances_train.json").write_text(json.dumps(people | changes, indent=1))
    return folder


def test_reading_fills_outlines_and_keypoints(tmp_path: Path) -> None:
    dataset = read_coco(write_people(tmp_path))
    (sample,) = dataset.samples
    assert sample.segments is not None
    assert [type(segment) for segment in sample.segments] == [Polygons, type(None), RunLengths]
    assert dataset.keypoint_names == ("nose", "left_eye")
    assert sample.keypoints is not None
    assert sample.keypoints.dtype == np.float32
    nothing = np.zeros((2, 3))
    np.testing.assert_array_equal(sample.keypoints, [[[5, 2, 2], [6, 3, 1]], nothing, nothing])


def test_files_without_shapes_have_none(tmp_path: Path) -> None:
    box = {"image_id": 1, "category_id": 2, "bbox": [12, 1, 5, 5], "segmentation": []}
    people = write_people(
        tmp_path, annotations=[box], categories=[{"id": 2, "name": "ball", "keypoints": []}]
    )
    dataset = read_coco(people)
    assert dataset.samples[0].segments is None
    assert dataset.samples[0].keypoints is None
    assert dataset.keypoint_names == ()


def test_categories_that_name_different_keypoints_have_none(tmp_path: Path) -> None:
    categories = [
        {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"]},
        {"id": 2, "name": "ball", "keypoints": ["centre"]},
    ]
    assert read_coco(write_people(tmp_path, categories=categories)).keypoint_names == ()


def test_names_of_keypoints_must_be_a_list(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "person", "keypoints": "nose"}]
    with pytest.raises(DatasetError, match=r"json:\d+: `keypoints` of a category must be a list"):
        read_coco(write_people(tmp_path, categories=categories))


def test_a_skeleton_joins_keypoints_counted_from_one(tmp_path: Path) -> None:
    person = {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"], "skeleton": [[2, 1]]}
    categories = [{"id": 2, "name": "ball"}, person]
    assert read_coco(write_people(tmp_path, categories=categories)).skeleton == ((1, 0),)


@pytest.mark.parametrize(
    "skeleton", [[[1, 3]], [[0, 1]], [[1]], [[1, 2.0]], [[True, 1]], "1-2", [{"from": 1}]]
)
def test_a_skeleton_of_other_points_is_refused(tmp_path: Path, skeleton: Any) -> None:
    person = {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"], "skeleton": skeleton}
    people = write_people(tmp_path, categories=[person, {"id": 2, "name": "ball"}])
    with pytest.raises(DatasetError, match=r"`skeleton` of a category must be pairs of its 2 key"):
        read_coco(people)


def test_keypoints_are_written_as_they_were_read(tmp_path: Path) -> None:
    person = {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"], "skeleton": [[2, 1]]}
    dataset = read_coco(write_people(tmp_path, categories=[person, {"id": 2, "name": "ball"}]))
    assert dataset.has_keypoints
    written = dataset.to_coco()
    assert [entry["keypoints"] for entry in written["categories"]] == [["nose", "left_eye"]] * 2
    assert written["categories"][0]["skeleton"] == [[2, 1]]
    rows = [(entry["keypoints"], entry["num_keypoints"]) for entry in written["annotations"]]
    assert rows == [([5, 2, 2, 6, 3, 1], 2), ([0] * 6, 0), ([0] * 6, 0)]
    (tmp_path / "instances_train.json").write_text(json.dumps(written))
    again = read_coco(tmp_path)
    assert (again.keypoint_names, again.skeleton) == (("nose", "left_eye"), ((1, 0),))
    first, second = dataset.samples[0].keypoints, again.samples[0].keypoints
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, second)


def test_a_crowds_keypoints_are_none_to_learn(tmp_path: Path) -> None:
    crowd = {
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 1, 9, 9],
        "iscrowd": 1,
        "keypoints": [5, 2, 2, 6, 3, 1],
    }
    assert not read_coco(write_people(tmp_path, annotations=[crowd])).has_keypoints


def test_a_broken_shape_is_named_by_file_and_line_or_left_out(tmp_path: Path) -> None:
    broken = {
        "id": 7,
        "image_id": 1,
        "category_id": 2,
        "bbox": [12, 1, 5, 5],
        "segmentation": [[1, 1]],
    }
    people = write_people(tmp_path, annotations=[broken])
    with pytest.raises(DatasetError, match=r"json:\d+: annotation 7: each polygon must have x"):
        read_coco(people)
    dataset = read_coco(people, on_bad="skip")
    assert len(dataset.samples[0].class_ids) == 0
    assert len(dataset.problems) == 1


def test_official_files_are_read_whole(shared_data: Path) -> None:
    """Every outline of the official annotations passes the checks, 23 crowds among them."""
    dataset = read_coco(shared_data / "coco", "train")
    segments = [segment for sample in dataset.samples for segment in sample.segments or ()]
    assert len(segments) == 2148
    assert sum(isinstance(segment, RunLengths) for segment in segments) == 23
