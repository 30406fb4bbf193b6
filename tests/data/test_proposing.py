"""Proposing regions in a data set: the names of the file, and recall counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.data.proposing import propose_regions
from edgecv.data.samples import DetectionDataset, Sample
from edgecv.errors import DatasetError
from edgecv.proposals import sliding_windows

SIZE_HW = (60, 80)


def dataset(folder: Path, boxes: list[list[float]], crowds: list[bool]) -> DetectionDataset:
    """One image."""
    folder.mkdir(parents=True)
    path = folder / "a.png"
    Image.fromarray(np.zeros((*SIZE_HW, 3), np.uint8)).save(path)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    sample = Sample(
        path,
        1,
        SIZE_HW,
        array,
        np.zeros(len(array), np.int32),
        np.ones(len(array), np.float32),
        np.array(crowds, bool),
    )
    return DetectionDataset("set", folder.name, ("thing",), (1,), (sample,), ())


def iou(first: list[float], second: list[float]) -> float:
    sides = [min(first[k + 2], second[k + 2]) - max(first[k], second[k]) for k in (0, 1)]
    common = max(0.0, sides[0]) * max(0.0, sides[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / (sum(areas) - common)


def test_recall_is_the_share_of_objects_covered(tmp_path: Path) -> None:
    windows = sliding_windows(SIZE_HW, 20)
    x1, y1, x2, y2 = windows[0].tolist()
    exact, loose, tiny = [x1, y1, x2, y2], [3.0, 3, 23, 57], [3.0, 3, 5, 5]
    best = [max(iou(box, window) for window in windows.tolist()) for box in (exact, loose, tiny)]
    assert best[0] == 1
    assert 0.5 < best[1] < 0.7
    assert best[2] < 0.5
    train = dataset(tmp_path / "train", [exact, loose, tiny, tiny], [False, False, False, True])
    empty = dataset(tmp_path / "val", [], [])
    seen: list[None] = []
    found = propose_regions(
        [train, empty], "sliding-windows", count=20, on_image=lambda: seen.append(None)
    )
    assert len(seen) == 2
    assert list(found.proposals.images) == ["train/a.png", "val/a.png"]
    assert found.recalls[0].num_objects == 3
    assert found.recalls[0].covered == (2, 1)
    assert found.recalls[0].to_plain() == {
        "images": 1,
        "regions_per_image": 20.0,
        "recall0.5": pytest.approx(2 / 3),
        "recall0.7": pytest.approx(1 / 3),
    }
    assert found.recalls[1].to_row() == (20.0, 0.0, 0.0)
    known = train.with_proposals(found.proposals)
    np.testing.assert_array_equal(known.samples[0].proposals_xyxy, windows)


def test_a_name_that_is_unique_stands_alone(tmp_path: Path) -> None:
    train = dataset(tmp_path / "train", [], [])
    found = propose_regions([train], "sliding-windows", count=5)
    assert list(found.proposals.images) == ["a.png"]


def test_names_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    first = dataset(tmp_path / "one" / "images", [], [])
    second = dataset(tmp_path / "two" / "images", [], [])
    with pytest.raises(DatasetError, match=r"got `images/a\.png` twice"):
        propose_regions([first, replace(second, split="val")], "sliding-windows", count=5)
