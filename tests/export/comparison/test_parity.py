"""The arithmetic of the parity report, on outputs made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgecv.export.comparison.parity import (
    OutputDifference,
    ParityReport,
    Tolerance,
    compare,
    match_detections,
)
from edgecv.output_spec import ClassMapOutput, FusedOutput, LogitsOutput
from edgecv.results import Detections
from edgecv.runtime.model import Model
from edgecv.runtime.session import Outputs
from edgecv.spec import InputSpec, ModelSpec


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array([row[:5] for row in rows], np.float32).reshape(-1, 5)
    classes = np.array([row[5] for row in rows], np.int32)
    return Detections(table[:, :4], table[:, 4], classes)


def test_detections_match_by_class_and_place() -> None:
    expected = detections((0, 0, 9, 9, 0.9, 0), (20, 20, 30, 30, 0.8, 1), (50, 50, 60, 60, 0.7, 0))
    actual = detections((20, 21, 30, 30, 0.8, 1), (0, 0, 9, 9, 0.9, 0), (50, 50, 60, 63, 0.7, 0))
    assert match_detections(expected, actual).tolist() == [[0, 1], [1, 0]]


def test_a_detection_is_matched_once() -> None:
    twins = detections((0, 0, 9, 9, 0.9, 0), (0, 0, 9, 9, 0.8, 0))
    assert match_detections(twins, detections((0, 0, 9, 9, 0.9, 0))).tolist() == [[0, 0]]


def test_another_class_is_no_match() -> None:
    left, right = detections((0, 0, 9, 9, 0.9, 0)), detections((0, 0, 9, 9, 0.9, 1))
    assert match_detections(left, right).shape == (0, 2)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Detections.empty(), Detections.empty()),
        (Detections.empty(), detections((0, 0, 9, 9, 1, 0))),
    ],
)
def test_nothing_matches_nothing(left: Detections, right: Detections) -> None:
    assert match_detections(left, right).shape == (0, 2)
    assert match_detections(right, left).shape == (0, 2)


def report(**changes: Any) -> ParityReport:
    values = {
        "num_images": 2,
        "num_reference": 100,
        "num_candidate": 100,
        "num_matched": 100,
        "box_px": 0.0,
        "score": 0.0,
    }
    outputs = (OutputDifference("logits", 1e-6, changes.pop("relative", 1e-7)),)
    return ParityReport(outputs=outputs, **(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"relative": 2e-4}, "output `logits` differs"),
        ({"relative": float("nan")}, "output `logits` differs"),
        ({"num_matched": 98}, "2 of 100 detections have no counterpart"),
        ({"num_candidate": 102}, "2 of 102 detections have no counterpart"),
        ({"box_px": 0.2}, "boxes differ"),
        ({"score": float("nan")}, "scores differ"),
        (
            {"num_keypoints": 300, "num_strayed": 4},
            "4 of 300 keypoints lie more than 2 px from where they should",
        ),
    ],
)
def test_each_limit_is_kept(changes: dict[str, float], said: str) -> None:
    (violation,) = report(**changes).violations(Tolerance())
    assert said in violation


def test_pixels_of_another_class_are_counted() -> None:
    (violation,) = report(unit="pixels", num_matched=98).violations(Tolerance())
    assert violation == "2 of 100 pixels are of another class"
    assert report(unit="pixels", num_matched=99).violations(Tolerance()) == []


def test_masks_have_a_limit_of_their_own() -> None:
    (entry,) = report(relative=9e-4).outputs
    masks = replace(report(), outputs=(replace(entry, name="masks"),))
    assert masks.violations(Tolerance()) == []
    (violation,) = masks.violations(Tolerance(mask=8e-4))
    assert violation == "output `masks` differs by 9.00e-04 of its largest value (allowed 8e-04)"


def test_within_the_limits_nothing_is_said() -> None:
    assert report(relative=1e-4, num_matched=99, box_px=0.1).violations(Tolerance()) == []
    assert report(num_keypoints=300, num_strayed=3).violations(Tolerance()) == []


class Finds:
    """A session that answers every image with two objects of two points each."""

    backend = "by hand"

    def __init__(self, points: NDArray[np.float32]) -> None:
        self.points = points
        self.spec = ModelSpec(
            "keypoints",
            ("kite", "ball"),
            InputSpec("images", (40, 60)),
            FusedOutput(keypoints="keypoints"),
            keypoints=("nose", "tail"),
        )

    def run(self, batch: object, scalars: object = None, proposals: object = None) -> Outputs:
        del batch, scalars, proposals
        return {
            "num_detections": np.array([2], np.int32),
            "boxes": np.array([[[0, 0, 20, 20], [30, 0, 60, 20]]], np.float32),
            "scores": np.array([[0.9, 0.8]], np.float32),
            "classes": np.array([[0, 1]], np.int32),
            "keypoints": self.points,
        }

    def warm_up(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def test_keypoints_in_another_place_are_counted(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    points = np.full((1, 2, 2, 3), 10, np.float32)
    points[..., 2] = 0.5
    moved = points.copy()
    moved[0, 0, 0, :2] += 1.2  # 1.7 px away
    moved[0, 0, 1, :2] += 1.6  # 2.3
    moved[0, 1, 0, 0] = np.nan
    found = compare(Model(Finds(points)), Model(Finds(moved)), [tmp_path / "a.png"])
    assert (found.num_keypoints, found.num_strayed) == (4, 2)
    assert [output.name for output in found.outputs] == ["boxes", "scores", "classes"]
    same = compare(Model(Finds(points)), Model(Finds(points)), [tmp_path / "a.png"])
    assert (same.num_keypoints, same.num_strayed) == (4, 0)
    assert found.to_plain()["num_strayed"] == 2


class Labels:
    """A session that answers every image with one class map."""

    backend = "by hand"

    def __init__(self, labels: NDArray[np.int64], output: ClassMapOutput | LogitsOutput) -> None:
        self.labels = labels
        self.spec = ModelSpec("segment", ("a", "b"), InputSpec("images", (4, 5)), output)

    def run(self, batch: object, scalars: object = None, proposals: object = None) -> Outputs:
        del batch, scalars, proposals
        planes = np.stack([self.labels == 0, self.labels == 1]).astype(np.float32)
        return {"labels": self.labels[None], "logits": planes[None]}

    def warm_up(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("output", [ClassMapOutput(), LogitsOutput()])
def test_labels_are_compared_pixel_by_pixel(
    tmp_path: Path, output: ClassMapOutput | LogitsOutput
) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.new("RGB", (5, 4)).save(path)
    ours, theirs = np.zeros((4, 5), np.int64), np.zeros((4, 5), np.int64)
    theirs[1:3, 2] = 1
    found = compare(Model(Labels(ours, output)), Model(Labels(theirs, output)), paths)
    assert (found.unit, found.num_reference, found.num_candidate) == ("pixels", 40, 40)
    assert found.num_matched == 36
    assert "4 of 40 pixels are of another class" in found.violations(Tolerance())
    named = [difference.name for difference in found.outputs]
    # One label more or less is no small difference of a map: it is counted, not subtracted.
    assert named == ([] if isinstance(output, ClassMapOutput) else ["labels", "logits"])
    same = compare(Model(Labels(ours, output)), Model(Labels(ours, output)), paths)
    assert same.violations(Tolerance()) == []
