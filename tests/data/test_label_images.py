"""Images with label images: the layouts, what classes.txt says, and each thing that is wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecv.data import (
    VOID,
    SegmentationDataset,
    open_any,
    open_classification,
    open_dataset,
    open_for_task,
    open_segmentation,
)
from edgecv.errors import DatasetError, InputError
from edgecv.images import read_label_image


def save(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)


def field(
    folder: Path,
    images: str = "val",
    labels: str = "valannot",
    names: str = "oat\nrye\nvoid\n",
) -> Path:
    """Two pictures, 2x3, whose labels are 0, 1, 2 and 255."""
    folder.mkdir(exist_ok=True)
    (folder / "classes.txt").write_text(names)
    for stem in ("a", "b"):
        save(folder / images / f"{stem}.png", np.zeros((2, 3, 3)))
        save(folder / labels / f"{stem}.png", [[0, 1, 2], [255, 1, 1]])
    return folder


def read(folder: Path) -> SegmentationDataset:
    return open_segmentation(f"labels:{folder}")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("val", "valannot"),
        ("images/val", "labels/val"),
        ("images/val", "annotations/val"),
        ("images/val", "masks/val"),
        ("val/images", "val/labels"),
        ("val/images", "val/masks"),
        ("img_dir/val", "ann_dir/val"),
    ],
)
def test_every_layout_is_read(tmp_path: Path, images: str, labels: str) -> None:
    dataset = read(field(tmp_path / "field", images, labels))
    assert (dataset.name, dataset.split, dataset.classes) == ("field", "val", ("oat", "rye"))
    assert [sample.image_path.name for sample in dataset.samples] == ["a.png", "b.png"]
    assert dataset.samples[0].size_hw == (2, 3)
    labels_read = dataset.labels_of(dataset.samples[0])
    assert labels_read.dtype == np.uint8
    assert labels_read.tolist() == [[0, 1, VOID], [VOID, 1, 1]]
    assert dataset.problems == ()


def test_the_address_tells_the_kind(tmp_path: Path) -> None:
    text = f"labels:{field(tmp_path / 'field')}"
    assert isinstance(open_any(text), SegmentationDataset)
    assert isinstance(open_for_task("segment", text, "val"), SegmentationDataset)


@pytest.mark.parametrize(
    ("names", "classes", "values"),
    [
        ("oat\nrye\nhop\n", ("oat", "rye", "hop"), [0, 1, 2]),
        ("Unlabelled\noat\nrye\n", ("oat", "rye"), [VOID, 0, 1]),
        ("oat\nborder (Ignored)\nrye\n", ("oat", "rye"), [0, VOID, 1]),
        ("oat\nrye\nVoid(ignore,id 2)\n", ("oat", "rye"), [0, 1, VOID]),
    ],
)
def test_lines_name_values_and_what_is_no_class(
    tmp_path: Path, names: str, classes: tuple[str, ...], values: list[int]
) -> None:
    dataset = read(field(tmp_path / "field", names=names))
    assert dataset.classes == classes
    assert dataset.values[:3].tolist() == values
    assert (dataset.values[3:] == VOID).all()


def values_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def palette_of(path: Path) -> None:
    coloured = Image.fromarray(values_of(path), "P")
    coloured.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200] + 253 * [90, 90, 90])
    coloured.save(path)


def deep(path: Path) -> None:
    Image.fromarray(values_of(path).astype(np.uint16)).save(path)


@pytest.mark.parametrize("change", [palette_of, deep])
def test_the_stored_values_count_whatever_they_look_like(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = field(tmp_path / "field")
    change(folder / "valannot" / "a.png")
    with Image.open(folder / "valannot" / "a.png") as image:
        assert image.mode != "L"
    dataset = read(folder)
    assert dataset.labels_of(dataset.samples[0]).tolist() == [[0, 1, VOID], [VOID, 1, 1]]


def test_a_bitmap_is_0_and_1(tmp_path: Path) -> None:
    bits = np.array([[0, 1, 1], [1, 0, 0]], bool)
    Image.fromarray(bits).save(tmp_path / "bits.png")
    assert read_label_image(tmp_path / "bits.png").tolist() == bits.astype(int).tolist()


def remove(path: Path) -> None:
    path.unlink()


def colour(path: Path) -> None:
    with Image.open(path) as image:
        image.convert("RGB").save(path)


def enlarge(path: Path) -> None:
    save(path, np.zeros((4, 3)))


def unnamed(path: Path) -> None:
    save(path, [[0, 1, 3], [7, 255, 1]])


def too_deep(path: Path) -> None:
    Image.fromarray(np.full((2, 3), 700, np.uint16)).save(path)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:44])


def empty(path: Path) -> None:
    path.write_bytes(b"")


BROKEN = [
    (remove, "valannot/a.png", "val/a.png: label image must exist, got no `.*valannot/a.png`"),
    (remove, "val/a.png", "valannot/a.png: image must exist, got none of its name in `.*val`"),
    (colour, "valannot/a.png", "valannot/a.png: .* grey or with a palette, got pixels of mode RGB"),
    (enlarge, "valannot/a.png", "valannot/a.png: .* as large as `.*val/a.png`, 3x2, got 3x4"),
    (unnamed, "valannot/a.png", r"valannot/a.png: labels must be 0\.\.2 .* or 255, got 3, 7"),
    (too_deep, "valannot/a.png", r"valannot/a.png: .* labels of 0\.\.255, got 700"),
    (damage, "valannot/a.png", "valannot/a.png: .* damaged or truncated"),
    (empty, "val/a.png", "val/a.png: .* got an empty file"),
]


@pytest.mark.parametrize(("change", "place", "message"), BROKEN)
def test_what_is_wrong_is_named_or_left_out(
    tmp_path: Path, change: Callable[[Path], None], place: str, message: str
) -> None:
    folder = field(tmp_path / "field")
    change(folder / place)
    with pytest.raises(DatasetError, match=f"{message}.*Mend the file or pass `--on-bad skip`"):
        read(folder)
    dataset = open_segmentation(f"labels:{folder}", on_bad="skip")
    assert [sample.image_path.name for sample in dataset.samples] == ["b.png"]
    assert len(dataset.problems) == 1


def test_a_label_image_that_was_lost_since_is_named(tmp_path: Path) -> None:
    dataset = read(field(tmp_path / "field"))
    dataset.samples[1].label_path.unlink()
    with pytest.raises(InputError, match=r"valannot/b\.png` must exist, got no such file"):
        dataset.labels_of(dataset.samples[1])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("oat\nrye\nvoid (ignore, id 3)\n", "classes.txt:3: .* got the id 3. Move it to line 4"),
        ("void\n", "classes.txt: there must be at least one class, got none"),
        ("oat\n\nrye\n", "class names must be unique and not empty, got '' as name 2"),
        ("\n".join(map(str, range(256))), "classes.txt:256: .* below 255, got 255"),
    ],
)
def test_a_list_of_classes_that_cannot_be_is_refused(
    tmp_path: Path, names: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read(field(tmp_path / "field", names=names))


def test_folders_of_another_layout_are_refused(tmp_path: Path) -> None:
    folder = field(tmp_path / "field")
    with pytest.raises(DatasetError, match="the split must be one of val, got `dev`"):
        open_segmentation(f"labels:{folder}", "dev")
    (folder / "classes.txt").unlink()
    with pytest.raises(DatasetError, match=r"must hold classes.txt with the class names, got none"):
        read(folder)
    shutil.rmtree(folder / "valannot")
    with pytest.raises(DatasetError, match=r"at least one split, got none\. Put the images into"):
        read(folder)
    with pytest.raises(DatasetError, match="must be a folder, got no such folder"):
        open_segmentation(f"labels:{tmp_path / 'nowhere'}")


def test_a_split_without_pairs_is_refused(tmp_path: Path) -> None:
    folder = field(tmp_path / "field")
    for path in (*folder.glob("val/*"), *folder.glob("valannot/*")):
        path.unlink()
    with pytest.raises(DatasetError, match=r"`.*val` must hold at least one image, got none"):
        read(folder)


def test_each_kind_of_data_is_sent_to_its_task(tmp_path: Path) -> None:
    folder = field(tmp_path / "field")
    with pytest.raises(DatasetError, match=r"must be `labels:DIR`.*By its content .*`labels:"):
        open_segmentation(str(folder))
    with pytest.raises(DatasetError, match=r"got `bccd`\. A segmentation model needs a class for"):
        open_segmentation("bccd")
    with pytest.raises(DatasetError, match="Label images have no boxes"):
        open_dataset(f"labels:{folder}")
    with pytest.raises(DatasetError, match="By its content the folder is `labels:"):
        open_dataset(str(folder))
    with pytest.raises(DatasetError, match="That holds label images"):
        open_classification(f"labels:{folder}")


@pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101), ("test", 233)])
def test_camvid_is_read(shared_data: Path, split: str, count: int) -> None:
    dataset = open_segmentation(f"labels:{shared_data / 'camvid'}", split)
    assert (dataset.name, len(dataset.samples), dataset.problems) == ("camvid", count, ())
    assert len(dataset.classes) == 11
    assert (dataset.classes[0], dataset.classes[10]) == ("Sky", "Bicyclist")
    labels = dataset.labels_of(dataset.samples[0])
    assert labels.shape == dataset.samples[0].size_hw == (360, 480)
    assert set(np.unique(labels)) <= {*range(11), VOID}
