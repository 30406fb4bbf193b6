"""Data sets that edgecv knows by name, and where they lie on this machine."""

import os
from pathlib import Path
from typing import Protocol

from edgecv.data.download import extract, fetch
from edgecv.data.samples import DetectionDataset, OnBad
from edgecv.data.voc import is_voc_folder, read_voc
from edgecv.errors import DatasetError
from edgecv.files import cache_folder


class KnownDataset(Protocol):
    """A function that finds or fetches a data set and reads one split of it."""

    def __call__(self, split: str | None = None, *, on_bad: OnBad = "error") -> DetectionDataset:
        """Return the split; None means test, else val, else the only one."""
        ...


KNOWN_DATASETS: dict[str, KnownDataset] = {}


def register_dataset(function: KnownDataset) -> KnownDataset:
    """Make `function` known to `open_dataset` under its own name.

    Raises:
        ValueError: if the name is taken.

    """
    name: str = function.__name__  # type: ignore[attr-defined]
    if name in KNOWN_DATASETS:
        raise ValueError(
            f"register_dataset: the function's name must be new, got `{name}`. Rename one of them."
        )
    KNOWN_DATASETS[name] = function
    return function


def data_root() -> Path | None:
    """Return the folder with this machine's data sets: $EDGECV_DATA, else ../shared/data.

    The latter is looked for beside the working directory, for those who work in a checkout.

    Raises:
        DatasetError: if EDGECV_DATA is set to what is no folder.

    """
    named = os.environ.get("EDGECV_DATA")
    if named:
        root = Path(named).expanduser()
        if not root.is_dir():
            raise DatasetError(
                f"data_root: EDGECV_DATA must name a folder, got `{named}`. Correct or unset it."
            )
        return root
    beside = Path.cwd().parent / "shared" / "data"
    return beside if beside.is_dir() else None


_BCCD_COMMIT = "d272fb14cdff6e473fafeeeba32aba5f560e9e43"
_BCCD_URL = f"https://codeload.github.com/Shenggan/BCCD_Dataset/zip/{_BCCD_COMMIT}"
# Of the content: GitHub compresses its archives anew now and then.
_BCCD_SHA256 = "59eb0d826c422ae58c4c46f2dac8de1af80c371950dbf0593d8aeb0c8f74f265"
_BCCD_CLASSES = ("WBC", "RBC", "Platelets")
_BCCD_EMPTY_BOXES = frozenset({("BloodImage_00338.xml", 163), ("BloodImage_00343.xml", 55)})


@register_dataset
def bccd(split: str | None = None, *, on_bad: OnBad = "error") -> DetectionDataset:
    """Read BCCD: blood cells, 364 images of 640x480, fetched when it is not on this machine.

    Two of its boxes have no area, in BloodImage_00338.xml and BloodImage_00343.xml. They are
    left out and recorded in `problems`, whatever `on_bad` is.

    Args:
        split: train (205 images, 2804 boxes), val (87, 1137) or test (72, 945).
        on_bad: what to do about anything else that is wrong.

    Raises:
        DatasetError: if the copy on this machine is damaged.
        DownloadError: if it has to be fetched and cannot be.

    Source:
        https://github.com/Shenggan/BCCD_Dataset, MIT; 4888 boxes of WBC, RBC and Platelets.

    """
    root = data_root()
    folder = root / "bccd" if root is not None else None
    if folder is None or not is_voc_folder(folder):
        folder = _fetched_bccd()
    return read_voc(
        folder,
        split,
        on_bad=on_bad,
        name="bccd",
        classes=_BCCD_CLASSES,
        tolerated=_BCCD_EMPTY_BOXES,
    )


def _fetched_bccd() -> Path:
    """Return the folder in the cache, downloaded and verified if it is not there yet."""
    folder = cache_folder() / f"bccd-{_BCCD_COMMIT[:8]}"
    if not folder.is_dir():
        # The process id: two trainings that start at once each fetch their own.
        archive = fetch(_BCCD_URL, folder.with_name(f"{folder.name}.{os.getpid()}.zip"))
        try:
            extract(
                archive,
                folder,
                under=f"BCCD_Dataset-{_BCCD_COMMIT}/BCCD",
                keep=("Annotations", "ImageSets", "JPEGImages"),
                content_sha256=_BCCD_SHA256,
            )
        finally:
            archive.unlink(missing_ok=True)
    return folder
