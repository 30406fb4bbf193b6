"""Reading images with label images: for each image a PNG whose pixel values are classes.

SPLIT/NAME.jpg with SPLITannot/NAME.png as CamVid has them, images/SPLIT with labels/SPLIT,
annotations/SPLIT or masks/SPLIT, SPLIT/images with SPLIT/labels, or MMSegmentation's img_dir/SPLIT
with ann_dir/SPLIT; and classes.txt, a name a line.

Source:
    Badrinarayanan et al., "SegNet", PAMI 2017, whose CamVid is laid out so; the documentation of
    MMSegmentation, "Prepare datasets".
"""

import re
from collections.abc import Container
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecv.data.checks import ProblemLog, choose_split, read_class_list
from edgecv.data.pixel_labels import VOID, SegmentationDataset, SegmentedImage
from edgecv.data.samples import OnBad
from edgecv.errors import DatasetError, InputError
from edgecv.images import IMAGE_SUFFIXES, image_size_hw, read_label_image

_CLASS_LIST = "classes.txt"
_LABELS_OF = {"images": ("labels", "annotations", "masks"), "img_dir": ("ann_dir",)}
_LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # without loss
_VOID_NAMES = {"void", "ignore", "unlabeled", "unlabelled"}
_IGNORED = re.compile(r"(?P<name>.*?)\s*\(ignored?(?:\s*,\s*id\s*(?P<value>\d+))?\)", re.IGNORECASE)
_SHOWN = 5  # values in a message


def read_label_images(
    folder: Path | str,
    split: str | None = None,
    *,
    on_bad: OnBad = "error",
    name: str | None = None,
) -> SegmentationDataset:
    """Read one split of images with label images.

    The first line of classes.txt names the value 0, the second 1. A line `NAME (ignore)`, or one
    that is `void`, `ignore` or `unlabelled`, names a value that is no class: such pixels are `VOID`
    and neither learnt nor measured, like those of 255, which needs no line. Image and label image
    have the same name but for the suffix.

    Args:
        folder: holds classes.txt and the folders of images and label images.
        split: `val` also means `valid` and `validation`; None: test, else val, else the only one.
        on_bad: `skip` leaves out images without a label image, label images without an image, those
            whose sizes differ, that cannot be decoded, are coloured pictures or have a value
            without a name, and records them in `problems`.
        name: of the data set; the folder's name where None.

    Raises:
        DatasetError: if the layout is another, the split is unknown, no image is left, or
            something is bad and `on_bad` is `error`.

    """
    folder = Path(folder)
    splits = _split_folders(folder)
    remedy = "Put the images into `images/val` and the label images into `labels/val`."
    chosen = choose_split(split, splits, folder, remedy)
    classes, values, num_named = _read_classes(folder)
    image_folder, label_folder = splits[chosen]
    images = _files(image_folder, IMAGE_SUFFIXES)
    labels = {path.stem: path for path in _files(label_folder, _LABEL_SUFFIXES)}
    log = ProblemLog()
    samples = []
    for path in images:
        label_path = labels.pop(path.stem, None)
        if label_path is None:
            wanted = label_folder / f"{path.stem}.png"
            log.add(path, None, f"label image must exist, got no `{wanted}`")
            continue
        sample = _checked(path, label_path, num_named, log)
        samples += [sample] if sample else []
    for label_path in labels.values():
        log.add(label_path, None, f"image must exist, got none of its name in `{image_folder}`")
    if on_bad == "error" or not samples:
        log.raise_first()
    if not samples:
        raise DatasetError(
            f"`{image_folder}` must hold at least one image, got none. Choose another split."
        )
    return SegmentationDataset(
        name=name or folder.resolve().name,
        split=chosen,
        classes=classes,
        values=values,
        samples=tuple(samples),
        problems=tuple(log.problems),
    )


def is_label_folder(folder: Path) -> bool:
    """Tell whether `folder` has images with label images, none of them a YOLO's text file."""
    return any(
        _files(images, IMAGE_SUFFIXES) and _files(labels, _LABEL_SUFFIXES)
        for images, labels in _split_folders(folder).values()
    )


def _split_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return the folders of images and of label images by split, where both exist."""
    pairs = [(path.name, path, folder / f"{path.name}annot") for path in folder.glob("*")]
    for images, others in _LABELS_OF.items():
        for labels in others:
            pairs += [(p.name, p, folder / labels / p.name) for p in folder.glob(f"{images}/*")]
            pairs += [(p.parent.name, p, p.parent / labels) for p in folder.glob(f"*/{images}")]
    return {
        split: (images, labels)
        for split, images, labels in pairs
        if images.is_dir() and labels.is_dir()
    }


def _files(folder: Path, suffixes: Container[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    shown = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return [path for path in shown if path.suffix.lower() in suffixes]


def _checked(
    path: Path, label_path: Path, num_named: int, log: ProblemLog
) -> SegmentedImage | None:
    """Return an image with its label image, or None after logging why it cannot be used."""
    blamed = path
    try:
        size_hw = image_size_hw(path)
        blamed = label_path
        labels = read_label_image(label_path)
    except InputError as error:
        log.add(blamed, None, str(error).removeprefix("read_image: ").rpartition(". ")[0])
        return None
    if labels.shape != size_hw:
        (height, width), (rows, columns) = size_hw, labels.shape
        text = f"label image must be as large as `{path}`, {width}x{height}, got {columns}x{rows}"
        log.add(label_path, None, text)
        return None
    seen = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    unnamed = [str(value) for value in seen if num_named <= value < VOID]
    if unnamed:
        listed = ", ".join(unnamed[:_SHOWN]) + (", …" if len(unnamed) > _SHOWN else "")
        text = f"labels must be 0..{num_named - 1} (from {_CLASS_LIST}) or {VOID}, got {listed}"
        log.add(label_path, None, text)
        return None
    return SegmentedImage(path, label_path, size_hw)


def _read_classes(folder: Path) -> tuple[tuple[str, ...], NDArray[np.uint8], int]:
    """Return the names of the classes, which of them each value is, and how many have a line."""
    path = folder / _CLASS_LIST
    if not path.is_file():
        raise DatasetError(
            f"`{folder}` must hold {_CLASS_LIST} with the class names, got none. Write one name a "
            "line in the order of the values, and `(ignore)` behind what is no class."
        )
    lines = read_class_list(path)
    classes: list[str] = []
    values = np.full(256, VOID, np.uint8)
    for value, line in enumerate(lines):
        mark = _IGNORED.fullmatch(line)
        stated = None if mark is None else mark["value"]
        if stated is not None and int(stated) != value:
            raise DatasetError(
                f"{path}:{value + 1}: a line must stand where its value does, the first for 0, "
                f"got the id {stated}. Move it to line {int(stated) + 1}."
            )
        if mark is not None or line.lower() in _VOID_NAMES:
            continue
        if value >= VOID:
            raise DatasetError(
                f"{path}:{value + 1}: a class must have a value below {VOID}, got {value}. "
                "Leave classes out."
            )
        values[value] = len(classes)
        classes.append(line)
    if not classes:
        raise DatasetError(f"{path}: there must be at least one class, got none. Name the classes.")
    return tuple(classes), values, len(lines)
