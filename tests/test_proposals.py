"""Proposals: their file, windows, selective search, and how they become the network's input."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError, MissingDependencyError
from edgecv.placement import Placement
from edgecv.proposals import (
    ImageProposals,
    Proposals,
    as_input,
    propose,
    read_proposals,
    selective_search,
    sliding_windows,
    write_proposals,
)

BOXES = np.array([[1, 2, 30, 40], [0, 0, 5, 5]], np.float32)
NONE = np.zeros((0, 4), np.float32)


def some() -> Proposals:
    images = {
        "a.png": ImageProposals((60, 80), BOXES),
        "val/b.png": ImageProposals((40, 50), NONE),
        "train/b.png": ImageProposals((40, 50), BOXES[:1]),
    }
    return Proposals("sliding-windows", images)


@pytest.mark.parametrize("name", ["file.npz", "file.json"])
@pytest.mark.parametrize("proposals", [some(), Proposals(None, {})])
def test_a_file_holds_what_was_written(tmp_path: Path, name: str, proposals: Proposals) -> None:
    path = tmp_path / name
    write_proposals(path, proposals)
    found = read_proposals(path)
    assert found.method == proposals.method
    assert list(found.images) == list(proposals.images)
    for key, image in proposals.images.items():
        assert found.images[key].size_hw == image.size_hw
        np.testing.assert_array_equal(found.images[key].boxes_xyxy, image.boxes_xyxy)


def test_images_are_found_by_name_and_by_folder() -> None:
    proposals = some()
    assert proposals.of(Path("anywhere/a.png"), (60, 80)) is BOXES
    assert len(proposals.of(Path("x/val/b.png"), (40, 50))) == 0
    assert len(proposals.of(Path("x/train/b.png"), (40, 50))) == 1
    with pytest.raises(InputError, match=r"no proposals for the image `b.png`.*data propose"):
        proposals.of(Path("test/b.png"), (40, 50))
    with pytest.raises(InputError, match=r"`a.png` of \(60, 80\) pixels.*the image has \(8, 9\)"):
        proposals.of(Path("a.png"), (8, 9))


def write_npz(path: Path, **changes: Any) -> None:
    arrays: dict[str, Any] = {
        "method": "",
        "names": ["a.png"],
        "sizes_hw": [[60, 80]],
        "counts": [2],
        "boxes_xyxy": BOXES,
    }
    np.savez(path, **{key: np.array(value) for key, value in (arrays | changes).items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": [3]}, r"add up to the 2 boxes, got 1, 1, 1 and a sum of 3"),
        ({"names": ["a.png", "a.png"]}, "`names` must hold each image once"),
        (
            {"boxes_xyxy": np.zeros((2, 5))},
            r"of `a.png` must have the shape \(P, 4\), got \(2, 5\)",
        ),
        ({"boxes_xyxy": BOXES[:, [2, 1, 0, 3]]}, "must be finite with x2 >= x1"),
        ({"boxes_xyxy": BOXES * np.nan}, "must be finite"),
        ({"method": "guessing"}, r"`method` must be one of selective-search.*got 'guessing'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "file.npz"
    write_npz(path, **changes)
    with pytest.raises(InputError, match=message):
        read_proposals(path)


def test_what_is_no_file_of_proposals_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    with pytest.raises(InputError, match=r"there is no such file of proposals.*data propose"):
        read_proposals(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="is not a file of proposals"):
        read_proposals(path)
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"images": {"a.png": {"boxes_xyxy": []}}}))
    with pytest.raises(InputError, match="is not a file of proposals: 'size_hw'"):
        read_proposals(path)
    with pytest.raises(InputError, match=r"must end in `\.npz` or `\.json`"):
        write_proposals(tmp_path / "file.txt", some())


def test_the_input_holds_what_lies_in_the_frame() -> None:
    placement = Placement.of((100, 200), (100, 100), "centre-crop")  # x - 50 of the frame
    boxes = np.array([[60, 10, 90, 30], [0, 0, 40, 40], [40, 0, 70, 20], [140, 90, 210, 120]])
    rows = as_input(boxes.astype(np.float32), placement, 5)
    wanted = [[10, 10, 40, 30], [0, 0, 20, 20], [90, 90, 100, 100], [0] * 4, [0] * 4]
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [wanted])
    np.testing.assert_array_equal(as_input(boxes.astype(np.float32), placement, 1), [wanted[:1]])
    np.testing.assert_array_equal(as_input(NONE, placement, 2), np.zeros((1, 2, 4)))


@given(
    size_hw=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    count=st.integers(1, 200),
)
def test_windows_lie_in_the_frame_and_are_as_many_as_asked(
    size_hw: tuple[int, int], count: int
) -> None:
    windows = sliding_windows(size_hw, count)
    assert windows.shape == (count, 4)
    assert windows.dtype == np.float32
    height, width = size_hw
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] <= np.array([width, height]) + 1e-3).all()
    assert (windows[:, 2:] > windows[:, :2]).all()


def test_windows_leave_no_gap() -> None:
    windows = sliding_windows((90, 160), 200)
    seen = np.zeros((90, 160), bool)
    for x1, y1, x2, y2 in windows[1:].round().astype(int):
        seen[y1:y2, x1:x2] = True
    assert seen.all()


def test_selective_search_needs_the_contributed_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", ModuleType("cv2"))  # an OpenCV without them
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgecv\[proposals\]'"):
        selective_search(np.zeros((8, 8, 3), np.uint8))


def test_selective_search_finds_what_stands_out() -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "ximgproc"):
        pytest.skip("needs OpenCV's contributed modules")
    image = np.full((600, 800, 3), 40, np.uint8)
    image[100:300, 200:500] = 220, 30, 30
    found = propose("selective-search", image, 500)
    wanted = np.array([200, 100, 500, 300])
    assert np.abs(found - wanted).max(axis=1).min() < 10
