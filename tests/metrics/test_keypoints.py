"""Figures of keypoints: by hand, and against pycocotools on the same records."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.data import DetectionDataset, Sample
from edgecv.errors import InputError
from edgecv.metrics.coco import keypoint_sigmas
from edgecv.metrics.detection import detection_metrics, with_shapes_of
from edgecv.results import Detections, Poses

pytest.importorskip("faster_coco_eval")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE_HW = (480, 640)
PERSON = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
KITE = ("top", "left_corner", "right_corner")
COCO = (
    *("AP", "AP50", "AP75", "AP_medium", "AP_large"),
    *("AR20", "AR50", "AR75", "AR_medium", "AR_large"),
)  # in pycocotools' order; AR50 and AR75 are not ours


def sample(
    image_id: int,
    boxes: NDArray[np.float32],
    keypoints: NDArray[np.float32],
    class_ids: NDArray[np.int32] | None = None,
    *,
    crowd: int | None = None,
) -> Sample:
    ids = np.zeros(len(boxes), np.int32) if class_ids is None else class_ids
    areas = 0.6 * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    is_crowd = np.arange(len(boxes)) == crowd
    path = Path(f"{image_id}.png")
    return Sample(path, image_id, SIZE_HW, boxes, ids, areas, is_crowd, None, keypoints)


def dataset_of(names: tuple[str, ...], *samples: Sample) -> DetectionDataset:
    return DetectionDataset(
        "poses", "val", ("kite", "ball"), (7, 3), samples, (), keypoint_names=names
    )


def one_kite(moved_px: float) -> tuple[DetectionDataset, list[Poses]]:
    """A kite of area 6000 whose two labelled points are found so far away, the third anywhere."""
    box = np.array([[100, 80, 200, 180]], np.float32)
    points = np.array([[[150, 80, 2], [100, 180, 1], [0, 0, 0]]], np.float32)
    found = points + np.array([moved_px, 0, 0], np.float32)
    found[..., 2] = 0.9
    found[0, 2] = [-300, 900, 0.1]
    poses = Poses(box, np.ones(1, np.float32), np.zeros(1, np.int32), found, KITE)
    return dataset_of(KITE, sample(1, box, points)), [poses]


def test_the_similarity_is_that_of_its_definition() -> None:
    moved, area, sigma = 12.0, 6000.0, 0.05
    similarity = math.exp(-(moved**2) / (2 * area * (2 * sigma) ** 2))
    assert 0.25 < similarity < 0.35
    for factor, hits in ((1.0, 0), (0.5, 5), (0.1, 10)):
        # Of the thresholds 0.50, 0.55 .. 0.95, those that the similarity reaches.
        reached = sum(similarity ** (factor**2) >= 0.5 + 0.05 * step for step in range(10))
        assert reached == hits
        dataset, found = one_kite(factor * moved)
        metrics = detection_metrics(dataset, ("kite", "ball"), found)
        for figures in (metrics.summary, metrics.per_class["kite"]):
            assert figures["AP"] == pytest.approx(1.0)  # the box is right
            assert figures["keypoint_AP"] == pytest.approx(reached / 10)
            assert figures["keypoint_AR20"] == pytest.approx(reached / 10)
        assert math.isnan(metrics.per_class["ball"]["keypoint_AP"])
        assert metrics.to_plain()["per_class"]["ball"]["keypoint_AP"] is None


def test_cocos_deviations_are_of_the_points_of_a_person_by_their_names() -> None:
    params = pytest.importorskip("pycocotools.cocoeval").Params("keypoints")
    np.testing.assert_allclose(keypoint_sigmas(PERSON), params.kpt_oks_sigmas)
    mixed = PERSON[::-1]
    np.testing.assert_allclose(keypoint_sigmas(mixed), params.kpt_oks_sigmas[::-1])
    np.testing.assert_array_equal(keypoint_sigmas(KITE), [0.05] * 3)
    np.testing.assert_array_equal(keypoint_sigmas(PERSON[:5]), [0.05] * 5)


def test_nothing_found_is_measured_too() -> None:
    dataset, (found,) = one_kite(0)
    nothing = Poses(
        found.boxes_xyxy[:0],
        found.scores[:0],
        found.class_ids[:0],
        found.keypoints[:0],
        KITE,
    )
    assert detection_metrics(dataset, ("kite", "ball"), [nothing]).summary["keypoint_AP"] == 0.0


def test_without_keypoints_on_either_side_there_are_boxes_only() -> None:
    dataset, (found,) = one_kite(0)
    boxes_only = Detections(found.boxes_xyxy, found.scores, found.class_ids)
    points = dataset.samples[0].keypoints
    assert points is not None
    unlabelled = replace(
        dataset, samples=(replace(dataset.samples[0], keypoints=np.zeros_like(points)),)
    )
    bare = replace(
        dataset, samples=(replace(dataset.samples[0], keypoints=None),), keypoint_names=()
    )
    for truth, one in ((dataset, boxes_only), (unlabelled, found), (bare, found)):
        metrics = detection_metrics(truth, ("kite", "ball"), [one])
        assert metrics.summary["AP"] == pytest.approx(1.0)
        assert not any("keypoint" in key for key in (*metrics.summary, *metrics.per_class["kite"]))


def test_other_keypoints_are_refused() -> None:
    dataset, found = one_kite(0)
    renamed = replace(dataset, keypoint_names=("top", "right_corner", "left_corner"))
    with pytest.raises(
        InputError,
        match=r"the keypoints top, left_corner, right_corner, and poses val has top, right_corner,"
        r" left_corner\. Measure it on data with the same keypoints in the same order",
    ):
        detection_metrics(renamed, ("kite", "ball"), found)


def test_figures_of_keypoints_join_those_of_boxes() -> None:
    dataset, found = one_kite(6)
    both = detection_metrics(dataset, ("kite", "ball"), found)
    boxes_only = Detections(found[0].boxes_xyxy, found[0].scores, found[0].class_ids)
    metrics = detection_metrics(dataset, ("kite", "ball"), [boxes_only])
    joined = with_shapes_of(metrics, both.to_plain())
    assert joined.to_plain(curves=True) == both.to_plain(curves=True)


def crowded_poses(num_keypoints: int) -> tuple[list[Sample], list[list[Any]]]:
    """Twenty images with a crowd each and an object without points, and what is found near."""
    rng = np.random.default_rng(0)
    samples, found = [], []
    for image_id in range(1, 21):
        corner = rng.uniform(0, [400, 250], (6, 2))
        sides = rng.uniform(12, 220, (6, 2))
        boxes = np.hstack([corner, corner + sides]).astype(np.float32)
        ids = rng.integers(0, 2, 6).astype(np.int32)
        share = rng.random((6, num_keypoints, 2))
        places = corner[:, None] + share * sides[:, None]
        seen = rng.integers(0, 3, (6, num_keypoints, 1))
        points = np.concatenate([places, seen], axis=-1).astype(np.float32)
        points[0, :, 2] = 0
        samples.append(sample(image_id, boxes, points, ids, crowd=5))
        off = rng.normal(0, 0.05, (6, num_keypoints, 2)) * sides.mean(axis=1)[:, None, None]
        near = np.concatenate([places + off, rng.random((6, num_keypoints, 1))], axis=-1)
        everything = np.concatenate([near, near[::-1]]).astype(np.float32)
        around = np.concatenate([boxes, boxes[::-1]])
        scores = np.sort(rng.random(12).astype(np.float32))[::-1].copy()
        classes = rng.permutation(np.tile(ids, 2)).astype(np.int32)
        found.append([around, scores, classes, everything])
    return samples, found


@pytest.mark.parametrize("names", [PERSON, KITE])
def test_agrees_with_pycocotools(names: tuple[str, ...]) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    samples, arrays = crowded_poses(len(names))
    dataset = dataset_of(names, *samples)
    found = [Poses(*one, names) for one in arrays]
    metrics = detection_metrics(dataset, ("kite", "ball"), found)
    truth = coco.COCO()
    truth.dataset = dataset.to_coco()
    truth.createIndex()
    records = [
        record
        for one, image in zip(found, dataset.samples, strict=True)
        for record in one.to_coco(image.image_id, dataset.category_ids)
    ]
    for record in records:
        del record["bbox"]  # as COCO's result files are: the area is that of the points
    peer = cocoeval.COCOeval(truth, truth.loadRes(records), "keypoints")
    peer.params.kpt_oks_sigmas = keypoint_sigmas(names)
    peer.evaluate()
    peer.accumulate()
    peer.summarize()
    wanted = dict(zip(COCO, peer.stats, strict=True))
    for name in COCO:
        if name not in {"AR50", "AR75"}:
            assert metrics.summary[f"keypoint_{name}"] == pytest.approx(wanted[name], abs=1e-9)
    assert 0.05 < wanted["AP"] < 0.9
    for index, name in ((1, "kite"), (0, "ball")):  # pycocotools sorts the ids, 3 is the ball's
        precision = peer.eval["precision"][:, :, index, 0, -1]
        assert metrics.per_class[name]["keypoint_AP"] == pytest.approx(precision.mean())
        assert metrics.per_class[name]["keypoint_AP75"] == pytest.approx(precision[5].mean())
