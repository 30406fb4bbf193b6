"""Known data sets: where BCCD is looked for, what it holds, and its download through a mirror."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgecv.data import open_dataset
from edgecv.data.known import (
    KNOWN_DATASETS,
    data_root,
    register_dataset,
)
from edgecv.data.samples import DetectionDataset, OnBad
from edgecv.errors import DatasetError, DownloadError

COMMIT = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
FOLDERS = ("Annotations", "ImageSets", "JPEGImages")


@pytest.fixture
def bccd_folder(shared_data: Path) -> Path:
    if not (shared_data / "bccd").is_dir():
        pytest.skip("needs bccd in the data folder")
    return shared_data / "bccd"


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without data sets, with an empty cache and a mirror folder; the folder of both."""
    (tmp_path / "work" / "checkout").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "checkout")
    monkeypatch.delenv("EDGECV_DATA", raising=False)
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGECV_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def mirror_bccd(machine: Path, bccd_folder: Path, *, leave_out: str = "") -> Path:
    """Put an archive as GitHub makes it where EDGECV_MIRROR is looked up."""
    path = machine / "mirror" / "codeload.github.com" / "Shenggan" / "BCCD_Dataset" / "zip" / COMMIT
    path.parent.mkdir(parents=True)
    top = f"BCCD_Dataset-{COMMIT}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}/README.md", "not wanted")
        archive.writestr(f"{top}/BCCD/notes.txt", "not wanted either")
        for name in FOLDERS:
            for file in (bccd_folder / name).rglob("*"):
                inside = f"{top}/BCCD/{file.relative_to(bccd_folder).as_posix()}"
                if file.is_file() and file.name != leave_out:
                    archive.write(file, inside)
    return path


@pytest.mark.parametrize(
    ("split", "images", "boxes", "empty"),
    [
        ("train", 205, 2804, ["BloodImage_00343.xml"]),
        ("val", 87, 1137, ["BloodImage_00338.xml"]),
        ("test", 72, 945, []),
        (None, 72, 945, []),
    ],
)
def test_bccd(
    bccd_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    split: str | None,
    images: int,
    boxes: int,
    empty: list[str],
) -> None:
    monkeypatch.setenv("EDGECV_DATA", str(bccd_folder.parent))
    dataset = open_dataset("bccd", split)
    assert (dataset.name, dataset.split) == ("bccd", split or "test")
    assert dataset.classes == ("WBC", "RBC", "Platelets")
    assert len(dataset.samples) == images
    assert sum(len(sample.boxes_xyxy) for sample in dataset.samples) == boxes
    assert [problem.path.name for problem in dataset.problems] == empty
    assert {sample.size_hw for sample in dataset.samples} == {(480, 640)}


def test_bccd_as_voc_agrees_with_its_coco_file(
    bccd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_DATA", str(bccd_folder.parent))
    voc, coco = open_dataset("bccd", "test"), open_dataset(f"coco:{bccd_folder}", "test")
    assert voc.classes == coco.classes
    for mine, theirs in zip(voc.samples, coco.samples, strict=True):
        assert mine.image_path == theirs.image_path
        np.testing.assert_array_equal(mine.boxes_xyxy, theirs.boxes_xyxy)
        np.testing.assert_array_equal(mine.class_ids, theirs.class_ids)
        np.testing.assert_array_equal(mine.areas, theirs.areas)


def test_another_problem_of_bccd_raises(
    bccd_folder: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = bare_machine / "data" / "bccd"
    for name in FOLDERS:
        shutil.copytree(bccd_folder / name, copy / name)
    monkeypatch.setenv("EDGECV_DATA", str(copy.parent))
    broken = copy / "Annotations" / "BloodImage_00343.xml"
    broken.write_text(broken.read_text().replace("<name>RBC</name>", "<name>rbc</name>", 1))
    with pytest.raises(DatasetError, match=r"class must be one of WBC, RBC, Platelets .*got 'rbc'"):
        open_dataset("bccd", "train")


def test_bccd_is_fetched_verified_and_kept(bccd_folder: Path, bare_machine: Path) -> None:
    archive = mirror_bccd(bare_machine, bccd_folder)
    assert len(open_dataset("bccd", "val").samples) == 87
    kept = bare_machine / "cache" / "bccd-d272fb14"
    assert sorted(path.name for path in kept.iterdir()) == sorted(FOLDERS)
    assert list(kept.parent.iterdir()) == [kept]  # neither the archive nor a part of it
    archive.unlink()
    assert len(open_dataset("bccd", "train").samples) == 205


def test_an_archive_with_other_content_is_refused(bccd_folder: Path, bare_machine: Path) -> None:
    mirror_bccd(bare_machine, bccd_folder, leave_out="BloodImage_00000.xml")
    with pytest.raises(DownloadError, match="must have SHA-256 59eb0d82"):
        open_dataset("bccd")
    assert list((bare_machine / "cache").iterdir()) == []


def test_without_data_or_archive_the_remedy_is_named(bare_machine: Path) -> None:
    with pytest.raises(DownloadError, match=rf"EDGECV_MIRROR must hold .*{COMMIT}"):
        open_dataset("bccd")
    assert not (bare_machine / "cache").exists()


def test_data_root(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_root() is None
    beside = bare_machine / "work" / "shared" / "data"
    beside.mkdir(parents=True)
    assert data_root() == beside
    monkeypatch.setenv("EDGECV_DATA", str(bare_machine))
    assert data_root() == bare_machine
    monkeypatch.setenv("EDGECV_DATA", str(bare_machine / "mistyped"))
    with pytest.raises(DatasetError, match=r"EDGECV_DATA must name a folder, got `.*mistyped`"):
        data_root()


def test_a_name_taken_twice_is_refused() -> None:
    before = dict(KNOWN_DATASETS)

    def bccd(split: str | None = None, *, on_bad: OnBad = "error") -> DetectionDataset:
        raise AssertionError(split, on_bad)

    with pytest.raises(ValueError, match="must be new, got `bccd`"):
        register_dataset(bccd)
    assert before == KNOWN_DATASETS
