"""Opening a data set by a short address: a known name, or a format and a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from edgecv.data.class_folders import is_class_folder, read_class_folders
from edgecv.data.coco import is_coco_folder, read_coco
from edgecv.data.known import KNOWN_DATASETS
from edgecv.data.label_images import is_label_folder, read_label_images
from edgecv.data.labelled import ClassificationDataset
from edgecv.data.pixel_labels import SegmentationDataset
from edgecv.data.samples import DetectionDataset, OnBad, Problem, Sample
from edgecv.data.voc import is_voc_folder, read_voc
from edgecv.data.yolo import is_yolo_folder, read_yolo
from edgecv.errors import DatasetError
from edgecv.spec import Task

__all__ = [
    "ClassificationDataset",
    "DetectionDataset",
    "OnBad",
    "Problem",
    "Sample",
    "SegmentationDataset",
    "open_any",
    "open_classification",
    "open_dataset",
    "open_for_task",
    "open_segmentation",
]


AnyDataset: TypeAlias = DetectionDataset | ClassificationDataset | SegmentationDataset


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


_CLASS_FOLDERS = "folder"
_LABEL_IMAGES = "labels"


def open_dataset(
    text: str, split: str | None = None, *, on_bad: OnBad = "error"
) -> DetectionDataset:
    """Read one split of the detection data set that `text` names, and check every annotation.

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
    folder = _existing(place, "open_dataset")
    return _FORMATS[prefix].read(folder, split, on_bad=on_bad)


def open_classification(
    text: str, split: str | None = None, *, on_bad: OnBad = "error"
) -> ClassificationDataset:
    """Read one split of the data set for classification that `text` names, and check every file.

    Args:
        text: `folder:DIR`, or DIR alone, see `edgecv.data.class_folders`.
        split: None: test, else val, else the only one; `val` also means `validation`.
        on_bad: `error` raises for what cannot be used, `skip` leaves it out and records it.

    Raises:
        DatasetError: if `text` is nothing of that, the split is unknown, or something is bad and
            `on_bad` is `error`; the message names the file.

    """
    prefix, colon, place = text.partition(":")
    if colon and prefix == _CLASS_FOLDERS and place:
        return read_class_folders(_existing(place, "open_classification"), split, on_bad=on_bad)
    accepted = (
        f"open_classification: images by class must be `{_CLASS_FOLDERS}:DIR` or the folder "
        f"itself, got `{text}`. "
    )
    if colon and prefix == _LABEL_IMAGES:
        raise DatasetError(accepted + "That holds label images: measure a segmentation model.")
    if text in KNOWN_DATASETS or (colon and prefix in _FORMATS):
        raise DatasetError(accepted + "That holds objects with boxes: train a detector on it.")
    folder = Path(text).expanduser()
    fitting = [f"`{name}:{text}`" for name, known in _FORMATS.items() if _fits(known, folder)]
    if fitting:
        raise DatasetError(
            accepted + f"By its content the folder is {' or '.join(fitting)}, objects with boxes: "
            "train a detector on it."
        )
    if not text or (colon and not folder.exists()):
        raise DatasetError(accepted + "Name a folder that holds a folder of images per class.")
    return read_class_folders(_existing(text, "open_classification"), split, on_bad=on_bad)


def open_segmentation(
    text: str, split: str | None = None, *, on_bad: OnBad = "error"
) -> SegmentationDataset:
    """Read one split of the data set for semantic segmentation that `text` names, and check it.

    Args:
        text: `labels:DIR`, see `edgecv.data.label_images`.
        split: None: test, else val, else the only one; `val` also means `validation`.
        on_bad: `error` raises for what cannot be used, `skip` leaves it out and records it.

    Raises:
        DatasetError: if `text` is nothing of that, the split is unknown, or something is bad and
            `on_bad` is `error`; the message names the file.

    """
    prefix, colon, place = text.partition(":")
    if colon and prefix == _LABEL_IMAGES and place:
        return read_label_images(_existing(place, "open_segmentation"), split, on_bad=on_bad)
    raise DatasetError(
        f"open_segmentation: images with label images must be `{_LABEL_IMAGES}:DIR`, got `{text}`. "
        + (
            f"By its content the folder is `{_LABEL_IMAGES}:{text}`."
            if text and is_label_folder(Path(text).expanduser())
            else "A segmentation model needs a class for every pixel."
        )
    )


def open_for_task(
    task: Task, text: str, split: str | None = None, *, on_bad: OnBad = "error"
) -> AnyDataset:
    """Read one split of the data set that `text` names, of the kind that a task learns from.

    Raises:
        DatasetError: see `open_dataset`, `open_classification` and `open_segmentation`.

    """
    if task == "classify":
        return open_classification(text, split, on_bad=on_bad)
    opened = open_segmentation if task == "segment" else open_dataset
    return opened(text, split, on_bad=on_bad)


def open_any(text: str, split: str | None = None, *, on_bad: OnBad = "error") -> AnyDataset:
    """Read one split of the data set that `text` names, of the kind that its address tells.

    Args:
        text: as `open_dataset` takes it, or `folder:DIR`, or `labels:DIR`.
        split: see `open_dataset`.
        on_bad: see `open_dataset`.

    Raises:
        DatasetError: see `open_dataset`, `open_classification` and `open_segmentation`.

    """
    prefix = text.partition(":")[0]
    if prefix == _CLASS_FOLDERS:
        return open_classification(text, split, on_bad=on_bad)
    opened = open_segmentation if prefix == _LABEL_IMAGES else open_dataset
    return opened(text, split, on_bad=on_bad)


def _existing(place: str, function: str) -> Path:
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise DatasetError(
            f"{function}: `{place}` must be a folder, got "
            f"{'a file' if folder.exists() else 'no such folder'}. Check the path."
        )
    return folder


def _fits(known: _Format, folder: Path) -> bool:
    return folder.is_dir() and known.fits(folder)


def _unaccepted(text: str) -> str:
    """Return what is accepted instead of `text`, or the prefix that the folder `text` lacks."""
    accepted = [*sorted(KNOWN_DATASETS), *(f"{prefix}:DIR" for prefix in _FORMATS)]
    message = f"open_dataset: the data set must be one of {', '.join(accepted)}, got `{text}`. "
    folder = Path(text).expanduser()
    if text.startswith(f"{_CLASS_FOLDERS}:"):
        message += "Images by class have no boxes: train a classifier, such as resnet18."
    elif text.startswith(f"{_LABEL_IMAGES}:"):
        message += "Label images have no boxes: measure a segmentation model on them."
    elif text and folder.is_dir():
        message += _told_by_content(text, folder)
    else:
        message += "Put the format before the folder, as in `voc:path/to/folder`."
    return message


def _told_by_content(text: str, folder: Path) -> str:
    fitting = [f"`{prefix}:{text}`" for prefix, known in _FORMATS.items() if known.fits(folder)]
    if fitting:
        return f"By its content the folder is {' or '.join(fitting)}."
    if is_label_folder(folder):
        return (
            f"By its content the folder is `{_LABEL_IMAGES}:{text}`, label images: measure a "
            "segmentation model on them."
        )
    if is_class_folder(folder):
        return (
            f"By its content the folder is `{_CLASS_FOLDERS}:{text}`, images by class: train a "
            "classifier, such as resnet18."
        )
    return "The folder has the layout of none of them."
