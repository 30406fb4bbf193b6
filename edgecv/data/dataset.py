"""Opening a detection data set by a short address: a known name, or a format and a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from edgecv.data.coco import is_coco_folder, read_coco
from edgecv.data.known import KNOWN_DATASETS
from edgecv.data.samples import DetectionDataset, OnBad, Problem, Sample
from edgecv.data.voc import is_voc_folder, read_voc
from edgecv.data.yolo import is_yolo_folder, read_yolo
from edgecv.errors import DatasetError

__all__ = ["DetectionDataset", "OnBad", "Problem", "Sample", "open_dataset"]


class _Reader(Protocol):
    def __call__(
        self, folder: Path, split: str | None, *, on_bad: OnBad = "error"
    ) -> DetectionDataset: ...


class _Format(NamedTuple):
    read: _Reader
    fits: Callable[[Path], bool]


_FORMATS = {
    "voc": _Format(read_voc, is_voc_folder),
    "coco": _Format(read_coco, is_coco_folder),
    "yolo": _Format(read_yolo, is_yolo_folder),
}


def open_dataset(
    text: str, split: str | None = None, *, on_bad: OnBad = "error"
) -> DetectionDataset:
    """Read one split of the data set that `text` names, and check every annotation.

    Args:
        text: a known name (`bccd`), or `voc:DIR`, `coco:DIR`, `yolo:DIR`.
        split: None: test, else val, else the only one; `val` also means `val2017`.
        on_bad: `error` raises for what cannot be used, `skip` leaves it out and records it.

    Raises:
        DatasetError: if `text` is nothing of that, the split is unknown or empty, or something
            is bad and `on_bad` is `error`; the message names file and line.
        DownloadError: if a known data set has to be fetched and cannot be.

    """
    if text in KNOWN_DATASETS:
        return KNOWN_DATASETS[text](split, on_bad=on_bad)
    prefix, colon, place = text.partition(":")
    if not colon or prefix not in _FORMATS or not place:
        raise DatasetError(_unaccepted(text))
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise DatasetError(
            f"open_dataset: `{place}` must be a folder, got "
            f"{'a file' if folder.exists() else 'no such folder'}. Check the path."
        )
    return _FORMATS[prefix].read(folder, split, on_bad=on_bad)


def _unaccepted(text: str) -> str:
    """Return what is accepted instead of `text`, or the prefix that the folder `text` lacks."""
    accepted = [*sorted(KNOWN_DATASETS), *(f"{prefix}:DIR" for prefix in _FORMATS)]
    message = f"open_dataset: the data set must be one of {', '.join(accepted)}, got `{text}`. "
    folder = Path(text).expanduser()
    if text and folder.is_dir():
        fitting = [f"`{prefix}:{text}`" for prefix, known in _FORMATS.items() if known.fits(folder)]
        if fitting:
            return message + f"By its content the folder is {' or '.join(fitting)}."
        return message + "The folder has the layout of none of them."
    return message + "Put the format before the folder, as in `voc:path/to/folder`."
