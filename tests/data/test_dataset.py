"""open_dataset's addresses, and what a data set tells a COCO evaluator."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.data import DetectionDataset, Problem, Sample, open_dataset
from edgecv.errors import DatasetError

FORMATS = ["voc", "coco", "yolo"]


def write_empty(folder: Path, prefix: str) -> Path:
    """The layout of a format around one image without objects."""
    places = {"voc": "JPEGImages", "coco": "val", "yolo": "images/val"}
    (folder / places[prefix]).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / places[prefix] / "a.png")
    if prefix == "voc":
        (folder / "Annotations").mkdir()
        (folder / "Annotations" / "a.xml").write_text("<annotation/>")
        (folder / "ImageSets" / "Main").mkdir(parents=True)
        (folder / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    elif prefix == "coco":
        (folder / "instances_val.json").write_text(
            '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [],'
            ' "categories": [{"id": 1, "name": "cat"}]}'
        )
    else:
        (folder / "labels" / "val").mkdir(parents=True)
    (folder / "classes.txt").write_text("cat\n")
    return folder


@pytest.mark.parametrize("prefix", FORMATS)
def test_opens_every_format(tmp_path: Path, prefix: str) -> None:
    folder = write_empty(tmp_path / "pets", prefix)
    dataset = open_dataset(f"{prefix}:{folder}")
    assert (dataset.name, dataset.split, dataset.classes) == ("pets", "val", ("cat",))
    assert dataset.samples[0].size_hw == (30, 40)
    assert dataset.samples[0].boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize("prefix", FORMATS)
def test_an_unknown_split_lists_those_found(tmp_path: Path, prefix: str) -> None:
    folder = write_empty(tmp_path / "pets", prefix)
    with pytest.raises(DatasetError, match="the split must be one of val, got `dev`"):
        open_dataset(f"{prefix}:{folder}", "dev")


@pytest.mark.parametrize("prefix", FORMATS)
def test_a_bare_folder_is_told_its_prefix(tmp_path: Path, prefix: str) -> None:
    folder = write_empty(tmp_path / "pets", prefix)
    with pytest.raises(DatasetError, match=f"By its content the folder is `{prefix}:{folder}`"):
        open_dataset(str(folder))


@pytest.mark.parametrize("text", ["", "imagenet", "voc", "voc:", "png:.", "C:\\pets"])
def test_refuses_other_addresses(text: str) -> None:
    accepted = "must be one of bccd, voc:DIR, coco:DIR, yolo:DIR"
    with pytest.raises(DatasetError, match=f"{accepted}, got `"):
        open_dataset(text)


def test_refuses_a_folder_of_no_format(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="The folder has the layout of none of them"):
        open_dataset(str(tmp_path))


def test_refuses_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="must be a folder, got a file"):
        open_dataset(f"voc:{tmp_path / 'file'}")
    with pytest.raises(DatasetError, match="must be a folder, got no such folder"):
        open_dataset(f"voc:{tmp_path / 'gone'}")


def test_several_splits_without_a_usual_one_must_be_chosen(tmp_path: Path) -> None:
    folder = write_empty(tmp_path / "pets", "voc")
    lists = folder / "ImageSets" / "Main"
    (lists / "val.txt").rename(lists / "north.txt")
    (lists / "south.txt").write_text("a\n")
    with pytest.raises(DatasetError, match="must be one of north, south, got none given"):
        open_dataset(f"voc:{folder}")


def sample(image_id: int, boxes_xyxy: list[list[float]], class_ids: list[int]) -> Sample:
    boxes = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
    return Sample(
        Path(f"/images/{image_id}.jpg"),
        image_id,
        (30, 40),
        boxes,
        np.array(class_ids, np.int32),
        np.arange(1, len(boxes) + 1, dtype=np.float32),
        np.arange(len(boxes)) % 2 == 1,
    )


def pets() -> DetectionDataset:
    first = sample(7, [[0, 0, 10, 20], [1.5, 2, 3, 4]], [1, 0])
    third = sample(9, [[5, 5, 6, 6]], [1])
    return DetectionDataset(
        "pets", "val", ("cat", "dog"), (4, 90), (first, sample(8, [], []), third), ()
    )


def test_to_coco() -> None:
    coco = pets().to_coco()
    assert [image["id"] for image in coco["images"]] == [7, 8, 9]
    assert coco["images"][0] == {"id": 7, "file_name": "7.jpg", "height": 30, "width": 40}
    assert coco["categories"] == [{"id": 4, "name": "cat"}, {"id": 90, "name": "dog"}]
    rows = [
        (entry["id"], entry["image_id"], entry["category_id"], entry["area"], entry["iscrowd"])
        for entry in coco["annotations"]
    ]
    assert rows == [(1, 7, 90, 1.0, 0), (2, 7, 4, 2.0, 1), (3, 9, 90, 1.0, 0)]
    assert [entry["bbox"] for entry in coco["annotations"]] == [
        [0, 0, 10, 20],
        [1.5, 2, 1.5, 2],
        [5, 5, 1, 1],
    ]


def test_an_evaluator_gives_the_ground_truth_itself_full_marks() -> None:
    evaluator = pytest.importorskip("faster_coco_eval")
    coco = pets().to_coco()
    truth = evaluator.COCO(coco)
    found = truth.loadRes([entry | {"score": 0.9} for entry in coco["annotations"]])
    evaluation = evaluator.COCOeval_faster(truth, found, "bbox", print_function=lambda *_: None)
    evaluation.run()
    assert evaluation.stats_as_dict["AP_all"] == pytest.approx(1.0)


def test_a_problem_reads_as_file_and_line() -> None:
    assert str(Problem(Path("a/b.xml"), 34, "box must")) == "a/b.xml:34: box must"
    assert str(Problem(Path("a/b.png"), None, "it must")) == "a/b.png: it must"


def test_importing_needs_no_torch_and_touches_no_network() -> None:
    program = "import sys, edgecv.data; print([m for m in sys.modules if m in {'torch', 'yaml'}])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
