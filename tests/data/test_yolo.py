"""The YOLO reader: both layouts, the forms of data.yaml, and every fault with its line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.data.class_names import read_yaml_names
from edgecv.data.yolo import is_yolo_folder, read_yolo
from edgecv.errors import DatasetError


def write_yolo(
    folder: Path,
    labels: dict[str, str | None],
    *,
    layout: str = "{kind}/{split}",
    split: str = "val",
    names: str = "names: [cat, dog]\n",
) -> Path:
    """Images of 40x30, a label file for each whose text is not None."""
    image_folder, label_folder = (
        folder / layout.format(kind=kind, split=split) for kind in ("images", "labels")
    )
    image_folder.mkdir(parents=True)
    label_folder.mkdir(parents=True)
    for stem, text in labels.items():
        Image.new("RGB", (40, 30)).save(image_folder / f"{stem}.png")
        if text is not None:
            (label_folder / f"{stem}.txt").write_text(text)
    (folder / "data.yaml").write_text(names)
    return folder


@pytest.mark.parametrize("layout", ["{kind}/{split}", "{split}/{kind}"])
def test_reads_both_layouts(tmp_path: Path, layout: str) -> None:
    labels = {"a": "1 0.5 0.5 0.5 0.2\n\n0 0.5 0.5 1 1.05\n", "b": "", "c": None}
    folder = write_yolo(tmp_path / "pets", labels, layout=layout)
    dataset = read_yolo(folder)
    assert (dataset.name, dataset.split) == ("pets", "val")
    assert (dataset.classes, dataset.category_ids) == (("cat", "dog"), (1, 2))
    assert [sample.image_id for sample in dataset.samples] == [1, 2, 3]
    first = dataset.samples[0]
    # The second box sticks out by 0.75 pixels above and below: clipped.
    np.testing.assert_allclose(first.boxes_xyxy, [[10, 12, 30, 18], [0, 0, 40, 30]])
    np.testing.assert_array_equal(first.class_ids, [1, 0])
    np.testing.assert_allclose(first.areas, [120, 1200])
    assert [len(sample.boxes_xyxy) for sample in dataset.samples] == [2, 0, 0]


def test_val_means_valid_too(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path, {"a": None}, layout="{split}/{kind}", split="valid")
    assert read_yolo(folder, "val").split == "valid"


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("0 0.5 0.5 0.5", "label must be five numbers, `class cx cy w h`, got 4"),
        ("0 0.5 0.5 0.5 0.5 0.9", "got 6 .*hold a score"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1", "more a polygon"),
        ("2 0.5 0.5 0.5 0.5", r"class must be one of 0 \(cat\), 1 \(dog\) .*got '2'"),
        ("-1 0.5 0.5 0.5 0.5", "got '-1'"),
        ("0.5 0.5 0.5 0.5 0.5", "got '0.5'"),
        ("0 0.5 0.5 half 0.5", "label must be numbers, got '0 0.5 0.5 half 0.5'"),
        ("0 20 15 10 10", r"in fractions of the image, got 20 15 10 10 \(pixels\?\)"),
        ("0 0.5 0.5 0 0.5", "box must have x2 > x1"),
        ("0 0.5 0.5 -0.5 0.5", "box must have x2 > x1"),
        ("0 0.9 0.5 0.5 0.5", "box must lie inside the image of 40x30"),
        ("0 nan 0.5 0.5 0.5", "box must have four finite numbers"),
        ("0 0.5 0.5 inf 0.5", "in fractions of the image, got 0.5 0.5 inf 0.5"),
    ],
)
def test_names_file_and_line_of_a_fault(tmp_path: Path, label: str, message: str) -> None:
    good = "1 0.5 0.5 0.5 0.2\n"
    folder = write_yolo(tmp_path, {"a": f"{good}\n{label}\n{good}"})
    with pytest.raises(DatasetError, match=rf"a\.txt:3: .*{message}.*`--on-bad skip`"):
        read_yolo(folder)
    skipped = read_yolo(folder, on_bad="skip")
    assert [problem.line for problem in skipped.problems] == [3]
    assert skipped.samples[0].class_ids.tolist() == [1, 1]


def test_a_label_without_its_image_is_a_fault(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path, {"a": None})
    (folder / "labels" / "val" / "gone.txt").touch()
    (folder / "labels" / "val" / "classes.txt").touch()  # labelImg leaves it there
    with pytest.raises(DatasetError, match=r"gone\.txt: image `gone` must exist"):
        read_yolo(folder)
    assert len(read_yolo(folder, on_bad="skip").problems) == 1


def test_an_unusable_image_costs_the_image(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path, {"a": None, "b": None})
    (folder / "images" / "val" / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"a\.png: .*empty file"):
        read_yolo(folder)
    dataset = read_yolo(folder, on_bad="skip")
    assert [sample.image_path.name for sample in dataset.samples] == ["b.png"]


def test_refuses_a_split_without_images(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="split `val` must hold at least one image"):
        read_yolo(write_yolo(tmp_path, {}))


def test_refuses_another_layout(tmp_path: Path) -> None:
    assert not is_yolo_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"at least one split, got none. Put the images into"):
        read_yolo(tmp_path)


def test_classes_txt_serves_too(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path, {"a": "1 0.5 0.5 0.5 0.2"})
    (folder / "data.yaml").unlink()
    with pytest.raises(DatasetError, match=r"data\.yaml or classes\.txt .* got neither"):
        read_yolo(folder)
    (folder / "classes.txt").write_text("zebra\nyak\n")
    assert read_yolo(folder).classes == ("zebra", "yak")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nc: 2\nnames: [cat, dog]", ("cat", "dog")),
        ("names: ['traffic light', \"a, b\", 'it''s']", ("traffic light", "a, b", "it's")),
        ("names: [cat,\n        dog]  # two\nnc: 2", ("cat", "dog")),
        ("names: ['cat#1', dog] # comment", ("cat#1", "dog")),
        ("names: ['a]', '[b']", ("a]", "[b")),
        ("names: {0: cat, 1: 'dog, big'}", ("cat", "dog, big")),
        ("names:\n  0: cat\n  1: traffic light  # comment\n\ntrain: x", ("cat", "traffic light")),
        ("names:\n  1: dog\n  0: cat", ("cat", "dog")),
        ("names:\n- cat\n- hot-dog\nnc: 2", ("cat", "hot-dog")),
        ("names:\n  - cat\n  # between\n  - 'x: y'\n", ("cat", "x: y")),
        ('path: ..\nnames:\n  0: "say \\"hi\\""', ('say "hi"',)),
        ("  names: [no]\nnames: [yes]", ("yes",)),
    ],
)
def test_reads_the_forms_of_data_yaml(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    assert read_yaml_names(path) == names


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("nc: 2\nnames: cat", 2, "`names` must be a list or a map of names, got 'cat'"),
        ("names: [cat, [dog]]", 1, "must be a list or a map"),
        ("names: [cat, dog", 1, "must be a list or a map"),
        ("names: &all [cat]", 1, "must be a list or a map"),
        ("names:\n  0: cat\n  first: dog", 3, "got 'first: dog'"),
        ("names:\n  - {a: b}", 2, "must be a list or a map"),
        ("nc: 2\nnames: {0: cat, 2: dog}", 2, "indices must be 0, 1, 2 and so on, got 0, 2"),
    ],
)
def test_refuses_rather_than_guesses(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(DatasetError, match=rf"data\.yaml:{line}: .*{message}"):
        read_yaml_names(path)


@pytest.mark.parametrize("names", ["names: []", "names:\n", "nc: 2\n", "names: [cat, cat]"])
def test_refuses_names_that_are_none(tmp_path: Path, names: str) -> None:
    with pytest.raises(DatasetError, match=r"data\.yaml: .* must (be|have)"):
        read_yolo(write_yolo(tmp_path, {"a": None}, names=names))
