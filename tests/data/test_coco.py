"""The COCO reader: folders, classes, and every fault with the line of its entry."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecv.data.coco import is_coco_folder, read_coco
from edgecv.errors import DatasetError


def document(**changes: Any) -> dict[str, Any]:
    """Two images, two categories in reverse order, two annotations; `changes` replaces lists."""
    content: dict[str, Any] = {
        "info": {"images": ["not these"], "text": 'a "quoted" ] bracket'},
        "images": [
            {"id": 7, "file_name": "a.png", "height": 30, "width": 40, "license": 3},
            {"id": 3, "file_name": "b.png", "height": 30, "width": 40},
        ],
        "annotations": [
            {"id": 5, "image_id": 7, "category_id": 90, "bbox": [1, 2, 10, 10.5], "area": 60.5},
            {"id": 6, "image_id": 7, "category_id": 4, "bbox": [0, 0, 40.5, 30], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 4, "name": "cat"}],
    }
    return content | changes


def write_coco(
    folder: Path, content: object, *, split: str = "val2017", images: str = "val2017"
) -> Path:
    """A split with its JSON indented, so that every entry has lines of its own."""
    (folder / images).mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(folder / images / name)
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    (folder / f"instances_{split}.json").write_text(text)
    return folder


def line_of(folder: Path, needle: str, *, split: str = "val2017") -> int:
    """The line of the brace that opens the object in which `needle` stands."""
    lines = (folder / f"instances_{split}.json").read_text().splitlines()
    index = next(index for index, line in enumerate(lines) if needle in line)
    return max(i for i in range(index + 1) if lines[i].strip() == "{") + 1


def test_reads_a_split(tmp_path: Path) -> None:
    dataset = read_coco(write_coco(tmp_path / "zoo", document()), "val")
    assert (dataset.name, dataset.split) == ("zoo", "val2017")
    assert dataset.classes == ("cat", "zebra")
    assert dataset.category_ids == (4, 90)
    first, second = dataset.samples
    assert (first.image_id, second.image_id) == (7, 3)
    assert first.image_path == tmp_path / "zoo" / "val2017" / "a.png"
    np.testing.assert_array_equal(first.boxes_xyxy, [[1, 2, 11, 12.5], [0, 0, 40, 30]])
    np.testing.assert_array_equal(first.class_ids, [1, 0])
    np.testing.assert_array_equal(first.areas, [60.5, 1200])  # the file's, else the box's
    np.testing.assert_array_equal(first.is_crowd, [False, True])
    assert second.boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize("images", ["val2017", "images/val2017", "images", "JPEGImages", "."])
def test_finds_the_images(tmp_path: Path, images: str) -> None:
    assert len(read_coco(write_coco(tmp_path, document(), images=images)).samples) == 2


def test_finds_the_file_in_annotations(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, document())
    (folder / "annotations").mkdir()
    name = "instances_val2017.json"
    (folder / name).rename(folder / "annotations" / name)
    assert is_coco_folder(folder)
    assert len(read_coco(folder).samples) == 2


def test_chooses_test_then_val_then_the_only_one(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, document(), split="train2017", images="images")
    assert read_coco(folder).split == "train2017"
    write_coco(folder, document(), images="images")
    assert read_coco(folder).split == "val2017"
    write_coco(folder, document(), split="test", images="images")
    assert read_coco(folder).split == "test"
    assert read_coco(folder, "train").split == "train2017"
    write_coco(folder, document(), split="val2014", images="images")
    with pytest.raises(DatasetError, match="one of val2014, val2017, got `val`"):
        read_coco(folder, "val")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"bbox": [1, 2, 0, 5]}, r"box must have x2 > x1 and y2 > y1, got \(1, 2, 1, 7\)"),
        ({"bbox": [1, 2, 5, -5]}, "box must have x2 > x1 and y2 > y1"),
        ({"bbox": [1, 2, 40.5, 5]}, "box must lie inside the image of 40x30"),
        ({"bbox": [1, 2, float("nan"), 5]}, "box must have four finite numbers"),
        ({"bbox": [1, 2, 5]}, r"`bbox` must be four numbers.*got \[1, 2, 5\]"),
        ({"bbox": [1, 2, 5, "5"]}, "`bbox` must be four numbers"),
        ({"bbox": [1, 2, 5, True]}, "`bbox` must be four numbers"),
        ({"bbox": None}, "`bbox` must be four numbers.*got null"),
        ({"image_id": 8}, "`image_id` must be that of an image, got 8"),
        ({"image_id": "7"}, '`image_id` must be a whole number, got "7"'),
        ({"category_id": 5}, r"class must be one of 4, 90 \(from `categories`\), got 5"),
        ({"bbox": [1, 2, 10**400, 5]}, "`bbox` must be numbers of pixels, got a larger one"),
        ({"area": 1e300}, r"`area` must be a number of at least 0, got 1e\+300"),
        ({"area": -1}, "`area` must be a number of at least 0, got -1"),
        ({"area": float("nan")}, "`area` must be a number of at least 0, got NaN"),
    ],
)
def test_names_the_line_of_a_bad_annotation(
    tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    good = document()["annotations"][0]
    content = document(annotations=[good, good | {"id": 99} | entry, good])
    folder = write_coco(tmp_path, content)
    line = line_of(folder, '"id": 99')
    with pytest.raises(
        DatasetError, match=rf"val2017\.json:{line}: annotation 99: {message}.*`--on-bad skip`"
    ):
        read_coco(folder)
    skipped = read_coco(folder, on_bad="skip")
    assert [problem.line for problem in skipped.problems] == [line]
    assert len(skipped.samples[0].boxes_xyxy) == 2


def test_an_annotation_without_a_key_and_one_that_is_no_object(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, document(annotations=[{"image_id": 7, "category_id": 4}, 5]))
    first, second = read_coco(folder, on_bad="skip").problems
    assert first.text == "annotation: entry must have the key `bbox`, got image_id, category_id"
    assert second.text == "annotation: entry must be an object, got 5"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file_name": "gone.png"}, "`file_name` must name a file in .*, got 'gone.png'"),
        ({"file_name": 5}, "`file_name` must be a string, got 5"),
        ({"height": 31}, "stated size must be that of .*40x30, got 40x31"),
        ({"width": "40"}, "`width` must be a whole number"),
        ({"id": 3}, "image id must be unique, got 3 again"),
    ],
)
def test_names_the_line_of_a_bad_image(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    first, second = document()["images"]
    folder = write_coco(tmp_path, document(images=[second, first | {"license": 99} | entry]))
    line = line_of(folder, '"license": 99')
    with pytest.raises(DatasetError, match=rf"json:{line}: image \d: {message}"):
        read_coco(folder)
    skipped = read_coco(folder, on_bad="skip")
    assert [sample.image_id for sample in skipped.samples] == [3]
    assert skipped.problems[0].line == line


def test_annotations_go_silently_with_their_image(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, document())
    (folder / "val2017" / "a.png").write_bytes(b"")
    (problem,) = read_coco(folder, on_bad="skip").problems
    assert problem.text.startswith("image 7: ")


def test_an_image_may_keep_its_size_to_itself(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "a.png"}]
    (sample,) = read_coco(write_coco(tmp_path, document(images=images))).samples
    assert sample.size_hw == (30, 40)


def test_a_bad_category_is_never_skipped(tmp_path: Path) -> None:
    categories = [{"id": 4, "name": "cat"}, {"id": 4, "name": "dog"}]
    folder = write_coco(tmp_path, document(categories=categories))
    line = line_of(folder, '"dog"')
    with pytest.raises(DatasetError, match=rf"json:{line}: category id must be unique, got 4"):
        read_coco(folder, on_bad="skip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"images": [,]\n}', r"val2017\.json:2: the file must be JSON, got: Expecting value"),
        ("", r"val2017\.json:1: the file must be JSON"),
        ("[" * 200_000, "must be JSON, got"),
        ("[" + "9" * 5000 + "]", "must be JSON, got: Exceeds the limit"),
        ("[]", "lists categories, images, annotations, got no list `categories`"),
        (json.dumps(document(annotations={})), "got no list `annotations`"),
        (json.dumps(document(categories=[])), "at least one class, got none"),
        (json.dumps(document(images=[], annotations=[])), "at least one image, got none"),
    ],
)
def test_refuses_what_is_not_cocos_form(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_coco(write_coco(tmp_path, text), on_bad="skip")


def test_refuses_a_folder_without_annotation_files(tmp_path: Path) -> None:
    assert not is_coco_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"at least one split, got none\. Put `instances_train"):
        read_coco(tmp_path)


@pytest.mark.parametrize(
    ("split", "images", "boxes", "crowds"), [("val", 128, 987, 10), ("train", 258, 2148, 23)]
)
def test_reads_the_official_files(
    shared_data: Path, split: str, images: int, boxes: int, crowds: int
) -> None:
    dataset = read_coco(shared_data / "coco", split)
    assert dataset.split == f"{split}2017"
    assert (len(dataset.classes), dataset.category_ids[-1]) == (80, 90)
    assert len(dataset.samples) == images
    assert sum(len(sample.boxes_xyxy) for sample in dataset.samples) == boxes
    assert sum(int(sample.is_crowd.sum()) for sample in dataset.samples) == crowds
    assert dataset.problems == ()


def test_to_coco_gives_the_official_annotations_back(shared_data: Path) -> None:
    path = shared_data / "coco" / "instances_val2017.json"
    official = json.loads(path.read_text())
    ours = read_coco(shared_data / "coco", "val").to_coco()

    def rows(content: dict[str, Any]) -> list[tuple[Any, ...]]:
        keys = ("image_id", "category_id", "iscrowd", "area", "bbox")
        return sorted(tuple(entry[key] for key in keys) for entry in content["annotations"])

    def outlines(content: dict[str, Any]) -> list[Any]:
        entries = sorted(content["annotations"], key=lambda entry: (entry["area"], entry["bbox"]))
        return [entry["segmentation"] for entry in entries]

    assert outlines(ours) == outlines(official)
    for mine, theirs in zip(rows(ours), rows(official), strict=True):
        assert mine[:3] == theirs[:3]
        # float32 holds 24 bits: of areas up to 640 * 640, and of edges up to 1024.
        assert mine[3] == pytest.approx(theirs[3], rel=2**-23)
        assert mine[4] == pytest.approx(theirs[4], abs=2 * 1024 * 2**-24)
