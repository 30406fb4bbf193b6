"""COCO JSON as pycocotools reads it, and in flat memory."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError, OutputError
from edgecv.results import Classification, Detections, Instances, ModelResults, Poses, Segmentation
from edgecv.results.run_lengths import compressed_run_lengths, num_covered
from edgecv.stream.sinks import CocoSink

CLASSES = ("cat", "dög")
MakeResult = Callable[..., Any]


def test_pycocotools_reads_it(
    tmp_path: Path, result: MakeResult, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    path = tmp_path / "out.coco.json"
    with CocoSink(path, CLASSES) as sink:
        sink.write(result(0, class_ids=(1, 0), pts_s=0.04, source="door"))
        sink.write(result(1, class_ids=()))
        sink.write(result(2, path=Path("a/b.png")))
        assert not path.exists()
    read = coco.COCO(str(path))
    capsys.readouterr()
    assert read.getCatIds() == [1, 2]
    images = read.loadImgs(read.getImgIds())
    assert [image["file_name"] for image in images] == [
        "door/frame_000000.jpg",
        "frame_000001.jpg",
        "a/b.png",
    ]
    assert (images[0]["height"], images[0]["width"], images[0]["pts_s"]) == (48, 64, 0.04)
    annotations = read.loadAnns(read.getAnnIds(imgIds=[1]))
    assert [one["category_id"] for one in annotations] == [2, 1]
    assert annotations[0]["bbox"] == pytest.approx([1.234, 2, 29.266, 38], abs=1e-5)
    assert annotations[0]["area"] == pytest.approx(29.266 * 38, abs=1e-3)
    assert annotations[0]["score"] == 0.875
    assert sorted(read.anns) == [1, 2, 3]
    assert list(tmp_path.iterdir()) == [path]


def test_masks_have_their_area(tmp_path: Path, result: MakeResult) -> None:
    mask_tools = pytest.importorskip("pycocotools.mask")
    box = np.array([[4, 4, 20, 30]], np.float32)
    masks = np.zeros((1, 14, 14), np.float32)
    masks[:, :, 7:] = 0.9
    found = Instances(box, np.ones(1, np.float32), np.zeros(1, np.int32), masks, (48, 64))
    labels = np.zeros((48, 64), np.uint8)
    labels[:5] = 1
    with CocoSink(tmp_path / "out.coco.json", CLASSES) as sink:
        sink.write(result(0, found=found))
        sink.write(result(1, found=Segmentation(labels)))
    written = json.loads((tmp_path / "out.coco.json").read_text())
    for annotation in written["annotations"]:
        assert annotation["area"] == mask_tools.area(annotation["segmentation"])
    assert written["annotations"][2]["area"] == 5 * 64
    assert written["annotations"][2]["bbox"] == [0, 0, 64, 48]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_the_area_of_run_lengths(share: float) -> None:
    mask = np.random.default_rng(0).random((37, 41)) < share
    assert num_covered(compressed_run_lengths(mask)) == mask.sum()


def test_poses_have_their_points(tmp_path: Path, result: MakeResult) -> None:
    points = np.array([[[1, 2, 0.5], [3, 4, 0.25]]], np.float32)
    found = Poses(
        np.array([[0, 0, 5, 5]], np.float32),
        np.ones(1, np.float32),
        np.zeros(1, np.int32),
        points,
        ("nose", "tail"),
        ((0, 1),),
    )
    with CocoSink(tmp_path / "out.coco.json", CLASSES) as sink:
        sink.write(result(0, found=found))
    written = json.loads((tmp_path / "out.coco.json").read_text())
    assert written["categories"][0]["keypoints"] == ["nose", "tail"]
    assert written["categories"][0]["skeleton"] == [[1, 2]]
    (annotation,) = written["annotations"]
    assert annotation["keypoints"] == [1, 2, 2, 3, 4, 2]
    assert annotation["num_keypoints"] == 2
    assert annotation["keypoint_scores"] == [0.5, 0.25]


def test_memory_stays_flat(tmp_path: Path, result: MakeResult) -> None:
    given = result(0, found=Detections(*_many(100)))
    with CocoSink(tmp_path / "out.coco.json", CLASSES) as sink:
        sink.write(given)
        tracemalloc.start()
        for _ in range(100):
            sink.write(given)
        sink.close()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    size = (tmp_path / "out.coco.json").stat().st_size
    assert size > 1_000_000
    assert peak < 400_000


def _many(count: int) -> tuple[Any, Any, Any]:
    boxes = np.random.default_rng(0).random((count, 4), np.float32)
    return boxes, np.ones(count, np.float32), np.zeros(count, np.int32)


def test_a_classification_is_refused(tmp_path: Path, result: MakeResult) -> None:
    sink = CocoSink(tmp_path / "out.coco.json", CLASSES)
    with pytest.raises(InputError, match=r"got a classification. Write .jsonl or .csv"):
        sink.write(result(0, found=Classification(np.array([1, 0], np.float32))))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_several_models_are_refused(tmp_path: Path, result: MakeResult) -> None:
    sink = CocoSink(tmp_path / "out.coco.json", CLASSES)
    both = ModelResults({"a": Detections.empty()}, {"a": CLASSES})
    with pytest.raises(InputError, match=r"got the results of several models. Write .jsonl\."):
        sink.write(result(0, found=both))
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_discarding_leaves_the_old_file(tmp_path: Path, result: MakeResult) -> None:
    path = tmp_path / "out.coco.json"
    path.write_text("old")
    sink = CocoSink(path, CLASSES)
    sink.write(result(0))
    sink.discard()
    sink.close()
    assert path.read_text() == "old"


def test_a_place_below_a_file_is_refused(tmp_path: Path, result: MakeResult) -> None:
    (tmp_path / "file").touch()
    sink = CocoSink(tmp_path / "file" / "out.coco.json", CLASSES)
    with pytest.raises(OutputError, match="choose another place"):
        sink.write(result(0))
