"""Images in a folder per class: both layouts, the split that is made, and every refusal."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from edgecv.data import ClassificationDataset, open_classification, open_dataset, open_for_task
from edgecv.errors import DatasetError


def save(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 6)).save(folder / name)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Cats and dogs in train, val and test."""
    folder = tmp_path / "pets"
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for name in ("dog", "cat"):
            save(folder / split / name, *(f"{split}{index}.jpg" for index in range(count)))
    return folder


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Twenty cats and ten dogs, not split."""
    folder = tmp_path / "plain"
    save(folder / "cat", *(f"{index}.png" for index in range(20)))
    save(folder / "dog", *(f"{index}.png" for index in range(10)))
    return folder


def labels(dataset: ClassificationDataset) -> list[tuple[str, str]]:
    return [
        (sample.image_path.name, dataset.classes[sample.class_id]) for sample in dataset.samples
    ]


def test_a_split_is_read(pets: Path) -> None:
    dataset = open_classification(f"folder:{pets}", "val")
    assert (dataset.name, dataset.split, dataset.classes) == ("pets", "val", ("cat", "dog"))
    assert labels(dataset) == [
        ("val0.jpg", "cat"),
        ("val1.jpg", "cat"),
        ("val0.jpg", "dog"),
        ("val1.jpg", "dog"),
    ]
    assert (dataset.problems, dataset.note) == ((), "")


def test_the_folder_alone_is_enough_and_test_comes_first(pets: Path) -> None:
    assert open_classification(str(pets)).split == "test"
    assert open_for_task("classify", str(pets), "train").split == "train"


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_val_has_other_names(pets: Path, name: str) -> None:
    (pets / "val").rename(pets / name)
    assert open_classification(f"folder:{pets}", "val").split == name


def test_what_is_no_image_is_passed_over(pets: Path) -> None:
    (pets / "test" / "cat" / "notes.txt").write_text("no image")
    (pets / "test" / "cat" / ".hidden.jpg").write_bytes(b"")
    (pets / "test" / ".cache").mkdir()
    save(pets / "test" / "cat" / "of monday", "deep.JPG")
    assert labels(open_classification(f"folder:{pets}", "test")) == [
        ("deep.JPG", "cat"),
        ("test0.jpg", "cat"),
        ("test0.jpg", "dog"),
    ]


def test_a_folder_without_splits_is_split_in_each_class(plain: Path) -> None:
    train, val = (open_classification(str(plain), split) for split in ("train", "val"))
    assert set(labels(train)) | set(labels(val)) == set(
        labels(open_classification(str(plain), "all"))
    )
    assert not set(labels(train)) & set(labels(val))
    assert [sum(name == wanted for _, name in labels(val)) for wanted in ("cat", "dog")] == [4, 2]
    assert val.note == (
        f"`{plain}` has no folders for splits: 6 of 30 images are the split val, always the same "
        "ones"
    )
    assert open_classification(str(plain)).split == "val"


def test_the_split_does_not_depend_on_where_the_folder_lies(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "elsewhere")
    ours, theirs = (
        open_classification(str(place), "val") for place in (plain, tmp_path / "elsewhere")
    )
    assert labels(ours) == labels(theirs)


def test_an_image_more_moves_at_most_one_of_the_others(plain: Path) -> None:
    before = set(labels(open_classification(str(plain), "val")))
    save(plain / "cat", "new.png")
    after = set(labels(open_classification(str(plain), "val")))
    assert len(before - after) <= 1


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "plane"):
        save(tmp_path / "vehicles" / name, "a.png", "b.png")
    dataset = open_classification(str(tmp_path / "vehicles"), "all")
    assert dataset.classes == ("plane", "train")


def test_one_class_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat", "a.png")
    save(tmp_path / "val" / "cat", "a.png")
    with pytest.raises(DatasetError, match=r"at least two classes, got `cat`\. Put the images"):
        open_classification(f"folder:{tmp_path}", "train")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match="at least two classes, got no folder with images"):
        open_classification(f"folder:{tmp_path}")


def test_an_empty_class_is_refused_or_left_out(pets: Path) -> None:
    (pets / "train" / "bird").mkdir()
    with pytest.raises(DatasetError, match=r"bird: a class must have at least one image, got an"):
        open_classification(f"folder:{pets}", "train")
    dataset = open_classification(f"folder:{pets}", "train", on_bad="skip")
    assert dataset.classes == ("cat", "dog")
    assert [problem.path.name for problem in dataset.problems] == ["bird"]
    assert open_classification(f"folder:{pets}", "val").problems == ()


def test_a_class_that_val_lacks_is_refused_or_left_out(pets: Path) -> None:
    shutil.rmtree(pets / "val" / "dog")
    message = r"dog: every class of the training split must have an image here.*--on-bad skip"
    with pytest.raises(DatasetError, match=message):
        open_classification(f"folder:{pets}", "val")
    dataset = open_classification(f"folder:{pets}", "val", on_bad="skip")
    assert dataset.classes == ("cat", "dog")
    assert {name for _, name in labels(dataset)} == {"cat"}


def test_a_class_that_training_lacks_is_refused_or_left_out(pets: Path) -> None:
    save(pets / "val" / "bird", "a.png")
    with pytest.raises(DatasetError, match=r"bird: class must be one of `cat`, `dog` \(of train"):
        open_classification(f"folder:{pets}", "val")
    dataset = open_classification(f"folder:{pets}", "val", on_bad="skip")
    assert {name for _, name in labels(dataset)} == {"cat", "dog"}


def test_a_single_image_cannot_be_split(plain: Path) -> None:
    save(plain / "bird", "only.png")
    with pytest.raises(DatasetError, match=r"only.png: a class must have two images to be split"):
        open_classification(str(plain), "train")


def test_an_unreadable_image_is_refused_or_left_out(pets: Path) -> None:
    (pets / "train" / "cat" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DatasetError, match=r"torn.jpg: `.*torn.jpg` must be an image"):
        open_classification(f"folder:{pets}", "train")
    dataset = open_classification(f"folder:{pets}", "train", on_bad="skip")
    assert len(dataset.samples) == 6
    assert len(dataset.problems) == 1


def test_a_file_is_no_folder(pets: Path) -> None:
    file = pets / "train" / "cat" / "train0.jpg"
    for address in (f"folder:{file}", str(file)):
        with pytest.raises(DatasetError, match="must be a folder, got a file"):
            open_classification(address)
    with pytest.raises(DatasetError, match="must be a folder, got no such folder"):
        open_classification(f"folder:{pets}x")


def test_an_unknown_split_lists_those_found(pets: Path, plain: Path) -> None:
    with pytest.raises(DatasetError, match="must be one of test, train, val, got `dev`"):
        open_classification(f"folder:{pets}", "dev")
    with pytest.raises(DatasetError, match="must be one of all, train, val, got `test`"):
        open_classification(f"folder:{plain}", "test")


@pytest.mark.parametrize("address", ["bccd", "voc:DIR", "coco:DIR", "yolo:DIR"])
def test_what_has_boxes_is_for_detectors(address: str) -> None:
    with pytest.raises(DatasetError, match=rf"got `{address}`. That holds objects with boxes"):
        open_classification(address)


def test_a_bare_folder_of_boxes_is_for_detectors(tmp_path: Path) -> None:
    save(tmp_path / "images" / "train", "a.png")
    (tmp_path / "labels" / "train").mkdir(parents=True)
    with pytest.raises(DatasetError, match=rf"the folder is `yolo:{tmp_path}`, objects with boxes"):
        open_classification(str(tmp_path))


@pytest.mark.parametrize("address", ["", "folder:", "imagenet:DIR"])
def test_an_address_of_nothing_is_refused(address: str) -> None:
    with pytest.raises(DatasetError, match="must be `folder:DIR` or the folder itself"):
        open_classification(address)


def test_a_detector_is_told_that_there_are_no_boxes(pets: Path) -> None:
    with pytest.raises(DatasetError, match="Images by class have no boxes: train a classifier"):
        open_dataset(f"folder:{pets}")
    with pytest.raises(DatasetError, match=rf"folder is `folder:{pets}`, images by class"):
        open_dataset(str(pets))
