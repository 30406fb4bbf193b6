"""What a user receives: records, COCO's records, clipping, and the optional guest."""

import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.data.coco_shapes import segment_from_coco
from edgecv.data.segments import RunLengths
from edgecv.errors import MissingDependencyError
from edgecv.results import Classification, Detections, Instances, Poses, Segmentation
from edgecv.results.run_lengths import compressed_run_lengths

TWO = Detections(
    np.array([[10, 20, 30.5, 60], [-4, -8, 200, 100.125]], np.float32),
    np.array([0.75, 0.123456789], np.float32),
    np.array([1, 0], np.int32),
)


def test_length() -> None:
    assert (len(TWO), len(Detections.empty())) == (2, 0)


def test_empty_has_the_shapes_and_types_of_the_contract() -> None:
    empty = Detections.empty()
    assert (empty.boxes_xyxy.shape, empty.boxes_xyxy.dtype) == ((0, 4), np.float32)
    assert (empty.scores.dtype, empty.class_ids.dtype) == (np.float32, np.int32)
    assert len(empty.clip((10, 10))) == 0
    assert empty.to_records(["cat"]) == []
    assert empty.to_coco(1, [1]) == []


def test_to_records() -> None:
    assert TWO.to_records(["cat", "dog"]) == [
        {"class": "dog", "class_id": 1, "score": 0.75, "box_xyxy": [10, 20, 30.5, 60]},
        {"class": "cat", "class_id": 0, "score": 0.12346, "box_xyxy": [-4, -8, 200, 100.12]},
    ]


def test_to_coco() -> None:
    records = TWO.to_coco(image_id=42, category_ids=[7, 90])
    assert [record["bbox"] for record in records] == [[10, 20, 20.5, 40], [-4, -8, 204, 108.125]]
    assert [record["category_id"] for record in records] == [90, 7]
    assert [record["score"] for record in records] == TWO.scores.tolist()  # ties stay ties
    assert {record["image_id"] for record in records} == {42}


def test_records_are_json() -> None:
    json.dumps(TWO.to_records(["cat", "dog"]) + TWO.to_coco(1, [1, 2]))


def test_to_coco_leaves_the_boxes() -> None:
    before = TWO.boxes_xyxy.copy()
    TWO.to_coco(1, [1, 2])
    np.testing.assert_array_equal(TWO.boxes_xyxy, before)


def test_clip_cuts_at_height_and_width() -> None:
    clipped = TWO.clip((50, 100))
    np.testing.assert_array_equal(clipped.boxes_xyxy, [[10, 20, 30.5, 50], [0, 0, 100, 50]])
    np.testing.assert_array_equal(clipped.scores, TWO.scores)
    np.testing.assert_array_equal(clipped.class_ids, TWO.class_ids)


@given(
    boxes=arrays(np.float32, (4, 4), elements=st.floats(-1e4, 1e4, width=32)),
    size_hw=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
)
def test_clip_slices_any_frame(boxes: NDArray[np.float32], size_hw: tuple[int, int]) -> None:
    found = Detections(boxes, np.ones(4, np.float32), np.zeros(4, np.int32))
    inside = found.clip(size_hw).boxes_xyxy
    assert inside.dtype == np.float32
    assert (inside >= 0).all()
    assert (inside <= np.array(size_hw)[[1, 0, 1, 0]]).all()
    kept = (boxes >= 0) & (boxes <= np.array(size_hw)[[1, 0, 1, 0]])
    np.testing.assert_array_equal(inside[kept], boxes[kept])


def test_to_supervision_hands_over_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    guest = TWO.to_supervision()
    np.testing.assert_array_equal(guest.xyxy, TWO.boxes_xyxy)
    np.testing.assert_array_equal(guest.confidence, TWO.scores)
    np.testing.assert_array_equal(guest.class_id, [1, 0])
    assert guest.class_id.dtype == int


def test_to_supervision_without_the_package_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match="`pip install supervision`"):
        TWO.to_supervision()


TRACKED = Detections(TWO.boxes_xyxy, TWO.scores, TWO.class_ids, track_ids=np.array([-1, 7]))


def test_track_ids_go_where_the_objects_go(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["cat", "dog"]
    assert [record["track_id"] for record in TRACKED.to_records(names)] == [None, 7]
    assert [record["track_id"] for record in TRACKED.to_coco(1, [1, 2])] == [None, 7]
    json.dumps(TRACKED.to_records(names) + TRACKED.to_coco(1, [1, 2]))
    clipped = TRACKED.clip((50, 100))
    assert clipped.track_ids is not None
    assert clipped.track_ids.tolist() == [-1, 7]
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    assert TRACKED.to_supervision().tracker_id.tolist() == [-1, 7]
    assert TWO.to_supervision().tracker_id is None
    assert len(TRACKED.tracked) == 1
    assert len(TWO.tracked) == 0


@pytest.mark.parametrize(
    "rows",
    [slice(1, None), [1], np.array([False, True]), np.array([1]), [False, True]],
    ids=["slice", "list", "mask", "array", "list of bool"],
)
def test_some_of_the_objects_keep_all_that_is_known(rows: Any) -> None:
    some = TRACKED[rows]
    assert some.track_ids is not None
    assert some.track_ids.tolist() == [7]
    np.testing.assert_array_equal(some.boxes_xyxy, TWO.boxes_xyxy[1:])
    np.testing.assert_array_equal(some.scores, TWO.scores[1:])
    np.testing.assert_array_equal(some.class_ids, TWO.class_ids[1:])
    assert len(TWO[rows]) == 1
    mask = instances()[rows]
    assert (type(mask), mask.frame_hw, mask.masks.shape) == (Instances, (60, 140), (1, 8, 8))
    pose = poses()[rows]
    np.testing.assert_array_equal(pose.keypoints, poses().keypoints[1:])
    assert (pose.names, pose.skeleton) == (("nose", "tail"), ((0, 1),))


def test_no_rows_are_no_objects() -> None:
    assert len(TRACKED[[]]) == len(TRACKED[:0]) == 0
    assert TRACKED[[]].boxes_xyxy.shape == (0, 4)


def test_one_object_is_taken_by_a_slice() -> None:
    with pytest.raises(TypeError, match=r"got 1\. Take `detections\[1:2\]`"):
        TRACKED[1]  # type: ignore[index]


def instances() -> Instances:
    """`TWO` with a full mask and one whose right half alone is covered."""
    masks = np.ones((2, 8, 8), np.float32)
    masks[1, :, :4] = 0
    return Instances(TWO.boxes_xyxy, TWO.scores, TWO.class_ids, masks, (60, 140))


def test_masks_are_painted_over_their_boxes() -> None:
    found = instances().frame_masks()
    assert found.shape == (2, 60, 140)
    assert found.dtype == np.bool_
    rows, columns = np.nonzero(found[0])
    x1, y1, x2, y2 = TWO.boxes_xyxy[0]
    assert (columns.min(), rows.min()) == (round(x1), round(y1))
    assert abs(columns.max() + 1 - x2) <= 1
    assert abs(rows.max() + 1 - min(y2, 60)) <= 1
    _, columns = np.nonzero(found[1])
    centre = TWO.boxes_xyxy[1, [0, 2]].mean()
    assert abs(columns.min() - centre) <= 1 + np.diff(TWO.boxes_xyxy[1, [0, 2]])[0] / 16
    assert instances().frame_masks(threshold=1.0).sum() == 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_coco_records_hold_the_masks_as_run_lengths() -> None:
    mask_tools = pytest.importorskip("pycocotools.mask")
    records = instances().to_coco(5, [7, 9])
    assert json.loads(json.dumps(records)) == records
    for record, plain, mask in zip(
        records, TWO.to_coco(5, [7, 9]), instances().frame_masks(), strict=True
    ):
        segmentation = record.pop("segmentation")
        assert record == plain
        np.testing.assert_array_equal(mask_tools.decode(segmentation), mask)


def test_supervision_gets_the_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    guest: Any = instances().to_supervision()
    np.testing.assert_array_equal(guest.mask, instances().frame_masks())


def poses() -> Poses:
    """`TWO` with two points each."""
    points = np.array(
        [[[12.5, 20, 0.9], [30, 25.25, 0.125]], [[-3, 70, 0.5], [8, 9, 0.001]]], np.float32
    )
    names = ("nose", "tail")
    return Poses(TWO.boxes_xyxy, TWO.scores, TWO.class_ids, points, names, ((0, 1),))


def test_records_name_the_keypoints() -> None:
    records = poses().to_records(["cat", "dog"])
    assert json.loads(json.dumps(records)) == records
    assert records[0].pop("keypoints") == {"nose": [12.5, 20, 0.9], "tail": [30, 25.25, 0.125]}
    assert records[1].pop("keypoints")["tail"] == [8, 9, 0.001]
    assert records == TWO.to_records(["cat", "dog"])


def test_coco_records_hold_the_keypoints_in_a_row() -> None:
    records = poses().to_coco(5, [7, 9])
    assert json.loads(json.dumps(records)) == records
    assert records[1].pop("keypoints") == pytest.approx([-3, 70, 0.5, 8, 9, 0.001])
    assert records[0].pop("keypoints") == pytest.approx([12.5, 20, 0.9, 30, 25.25, 0.125])
    assert records == TWO.to_coco(5, [7, 9])


def test_clip_moves_no_keypoint() -> None:
    clipped = poses().clip((50, 100))
    np.testing.assert_array_equal(clipped.boxes_xyxy, TWO.clip((50, 100)).boxes_xyxy)
    np.testing.assert_array_equal(clipped.keypoints, poses().keypoints)
    assert (clipped.names, clipped.skeleton) == (("nose", "tail"), ((0, 1),))


def test_supervision_gets_the_keypoints(monkeypatch: pytest.MonkeyPatch) -> None:
    def guest_of(**fields: Any) -> SimpleNamespace:
        return SimpleNamespace(**fields, data={})

    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=guest_of))
    data: Any = poses().to_supervision().data
    np.testing.assert_array_equal(data["keypoints"], poses().keypoints[..., :2])
    np.testing.assert_array_equal(data["keypoint_scores"], poses().keypoints[..., 2])


def test_a_classification_ranks_its_classes() -> None:
    found = Classification(np.array([0.1, 0.4, 0.1, 0.4], np.float32))
    assert (found.class_id, found.score) == (1, pytest.approx(0.4))
    assert [class_id for class_id, _ in found.top(3)] == [1, 3, 0]  # of equal ones the first first
    assert len(found.top(9)) == 4
    assert found.to_records("abcd", 2) == [
        {"class": "b", "class_id": 1, "score": 0.4},
        {"class": "d", "class_id": 3, "score": 0.4},
    ]
    assert found.counted() == [1]
    assert found.headline("abcd") == "b 0.400, d 0.400, a 0.100, c 0.100"
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        found.top(0)


def test_detections_in_a_few_words() -> None:
    class_ids = np.array([1, 0, 1], np.int32)
    found = Detections(np.zeros((3, 4), np.float32), np.zeros(3, np.float32), class_ids)
    assert found.headline(["cat", "dog"]) == "2 dog, 1 cat"
    assert found.counted() == [1, 0, 1]
    assert Detections.empty().headline(["cat"]) == "no object"


FIELD = Segmentation(np.array([[0, 0, 2, 2], [0, 2, 2, 4]], np.uint8))
PLANTS = ["rye", "oat", "hop", "flax", "corn"]


def test_a_segmentation_tells_the_share_of_each_class() -> None:
    assert FIELD.num_pixels[:5].tolist() == [3, 0, 4, 0, 1]
    assert FIELD.num_pixels.shape == (256,)
    assert FIELD.shares() == [(2, 0.5), (0, 0.375), (4, 0.125)]
    assert FIELD.to_records(PLANTS) == [
        {"class": "hop", "class_id": 2, "share": 0.5},
        {"class": "rye", "class_id": 0, "share": 0.375},
        {"class": "corn", "class_id": 4, "share": 0.125},
    ]
    assert FIELD.headline(PLANTS) == "hop 50.0%, rye 37.5%, corn 12.5%"
    assert FIELD.counted() == [2, 0, 4]
    assert FIELD.mask(2).tolist() == [[False, False, True, True], [False, True, True, False]]
    json.dumps(FIELD.to_records(PLANTS) + FIELD.to_coco(1, [1, 2, 3, 4, 5]))


def test_of_equal_shares_the_first_class_comes_first() -> None:
    assert Segmentation(np.array([[3, 1]], np.uint8)).counted() == [1, 3]


def test_a_segmentation_as_coco_has_it() -> None:
    records = FIELD.to_coco(7, [10, 20, 30, 40, 50])
    assert [record["category_id"] for record in records] == [10, 30, 50]
    for record, class_id in zip(records, (0, 2, 4), strict=True):
        outline = segment_from_coco(record["segmentation"], (2, 4))
        assert isinstance(outline, RunLengths)
        np.testing.assert_array_equal(outline.mask(), FIELD.mask(class_id))


@given(data=st.data())
def test_run_lengths_are_read_as_they_were(data: st.DataObject) -> None:
    sides = st.integers(1, 40)
    size_hw = data.draw(st.tuples(sides, sides))
    threshold = data.draw(st.sampled_from([0, 1, 3, 50, 99, 100]))
    seed = data.draw(st.integers(0, 2**32 - 1))
    mask = np.random.default_rng(seed).integers(0, 100, size_hw) < threshold
    outline = segment_from_coco(
        {"size": list(size_hw), "counts": compressed_run_lengths(mask)}, size_hw
    )
    assert isinstance(outline, RunLengths)
    np.testing.assert_array_equal(outline.mask(), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@pytest.mark.parametrize("size_hw", [(1, 1), (300, 500), (2000, 3000)])
def test_run_lengths_are_those_of_pycocotools(size_hw: tuple[int, int]) -> None:
    mask_api = pytest.importorskip("pycocotools.mask")
    mask = np.zeros(size_hw, bool)
    for fill in (False, True):
        mask[:] = fill
        mask[size_hw[0] // 3 : size_hw[0] // 2, size_hw[1] // 4 : -3] ^= True
        expected = mask_api.encode(np.asfortranarray(mask.view(np.uint8)))["counts"]
        assert compressed_run_lengths(mask).encode() == expected


def test_a_segmentation_as_supervision_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(Detections=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "supervision", made)
    found: Any = FIELD.to_supervision()
    assert found.class_id.tolist() == [0, 2, 4]
    assert found.xyxy.tolist() == [[0, 0, 2, 2], [1, 0, 4, 2], [3, 1, 4, 2]]
    assert [mask.tolist() for mask in found.mask] == [FIELD.mask(i).tolist() for i in (0, 2, 4)]
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match="pip install supervision"):
        FIELD.to_supervision()
