"""Reading images that lie in a folder per class: DIR/SPLIT/CLASS/*.jpg, or DIR/CLASS/*.jpg.

The second form is split here: the same way each time, whatever else lies there.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from edgecv.data.checks import ProblemLog, choose_split, is_split_name
from edgecv.data.labelled import ClassificationDataset, LabelledImage
from edgecv.data.samples import OnBad
from edgecv.errors import DatasetError, InputError
from edgecv.images import IMAGE_SUFFIXES, image_size_hw

_VAL_SHARE = 0.2
_WHOLE = "all"  # the split that takes every image of a folder without splits
_SHOWN = 5  # class names in a message


def read_class_folders(
    folder: Path | str,
    split: str | None = None,
    *,
    on_bad: OnBad = "error",
    name: str | None = None,
) -> ClassificationDataset:
    """Read one split of images that lie in a folder per class.

    The classes are those of the training split, by name; the other splits must have the same.
    Folders in a class's folder belong to the class. Hidden files and files that are no images by
    their suffix are passed over. Where there are no folders for splits, a fifth of each class, but
    at least one image, is the split `val`, chosen by a checksum of the file's name within the data
    set, so that images that are added later move few of the others; the rest is `train`, and
    `all` is both.

    Args:
        folder: holds a folder per split or per class.
        split: `val` also means `valid` and `validation`; None: test, else val, else the only one.
        on_bad: `skip` leaves out images that cannot be opened, classes without an image and
            classes that the training split does not have, and records them in `problems`.
        name: of the data set; the folder's name where None.

    Raises:
        DatasetError: if the layout is another, the split is unknown, there are fewer than two
            classes, or something is bad and `on_bad` is `error`.

    """
    folder = Path(folder)
    log = ProblemLog()
    split_folders = _split_folders(folder)
    note = ""
    if split_folders:
        chosen = choose_split(split, split_folders, folder, "")
        root = split_folders[chosen]
        reference = next(
            (split_folders[k] for k in split_folders if is_split_name(k, "train")), root
        )
        found = _images_by_class(root)
        classes = _classes(reference, log if reference is root else ProblemLog())
        _log_differences(root, found, classes, log)
        images = [(path, name) for name in classes for path in found.get(name, ())]
    else:
        chosen = choose_split(split, ("train", "val", _WHOLE), folder, "")
        root = folder
        classes = _classes(folder, log)
        found = _images_by_class(folder)
        parts = {name: _parted(folder, found[name], chosen, log) for name in classes}
        images = [(path, name) for name, paths in parts.items() for path in paths]
        if chosen != _WHOLE:
            note = (
                f"`{folder}` has no folders for splits: {len(images)} of "
                f"{sum(len(found[name]) for name in classes)} images are the split {chosen}, "
                "always the same ones"
            )
    class_ids = {name: index for index, name in enumerate(classes)}
    samples = [
        LabelledImage(path, class_ids[name]) for path, name in images if _is_readable(path, log)
    ]
    if on_bad == "error" or not samples:
        log.raise_first()
    return ClassificationDataset(
        name=name or folder.resolve().name,
        split=chosen,
        classes=classes,
        samples=tuple(samples),
        problems=tuple(log.problems),
        note=note,
    )


def is_class_folder(folder: Path) -> bool:
    """Tell whether `folder` has at least two classes, in splits or not."""
    roots = list(_split_folders(folder).values()) or [folder]
    return all(sum(map(bool, _images_by_class(root).values())) > 1 for root in roots)


def _split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of splits: they are called so, and hold folders and no images."""
    found = {}
    for path in _folders(folder):
        if any(is_split_name(path.name, split) for split in ("train", "val", "test")):
            has_images = any(_is_image(child) for child in path.iterdir())
            if not has_images and _folders(path):
                found[path.name] = path
    return found


def _images_by_class(root: Path) -> dict[str, list[Path]]:
    """Return the image files of each class, both in the order of their names."""
    return {
        path.name: sorted(file for file in path.rglob("*") if _is_image(file))
        for path in _folders(root)
    }


def _classes(root: Path, log: ProblemLog) -> tuple[str, ...]:
    """Return the classes that have an image in `root`, at least two."""
    found = _images_by_class(root)
    for name in [name for name, paths in found.items() if not paths]:
        log.add(root / name, None, "a class must have at least one image, got an empty folder")
    classes = tuple(name for name, paths in found.items() if paths)
    if len(classes) < 2:  # noqa: PLR2004  # nothing to tell apart
        log_text = f"got {_listed(classes)}" if classes else "got no folder with images"
        raise DatasetError(
            f"`{root}` must hold a folder of images for each of at least two classes, {log_text}. "
            "Put the images into DIR/train/CLASS and DIR/val/CLASS, or DIR/CLASS."
        )
    return classes


def _log_differences(
    root: Path, found: dict[str, list[Path]], classes: tuple[str, ...], log: ProblemLog
) -> None:
    """Log the classes that only one of the training split and this split has."""
    noted = {problem.path for problem in log.problems}
    for name in classes:
        if not found.get(name):
            log.add(root / name, None, "every class of the training split must have an image here")
    for name in found:
        if name not in classes and root / name not in noted:
            log.add(root / name, None, f"class must be one of {_listed(classes)} (of training)")


def _parted(folder: Path, paths: list[Path], split: str, log: ProblemLog) -> list[Path]:
    """Return the images of a class that a split takes."""
    if split == _WHOLE:
        return paths
    if len(paths) < 2:  # noqa: PLR2004  # one for each split
        log.add(paths[0], None, "a class must have two images to be split, got this one alone")
        return []
    by_checksum = sorted(paths, key=lambda path: _checksum(path.relative_to(folder)))
    num_val = max(1, round(_VAL_SHARE * len(paths)))
    chosen = by_checksum[:num_val] if split == "val" else by_checksum[num_val:]
    return sorted(chosen)


def _checksum(path: Path) -> bytes:
    return hashlib.sha256(path.as_posix().encode()).digest()


def _is_readable(path: Path, log: ProblemLog) -> bool:
    try:
        image_size_hw(path)
    except InputError as error:
        log.add(path, None, str(error).removeprefix("read_image: ").rpartition(". ")[0])
        return False
    return True


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _is_image(path: Path) -> bool:
    is_shown = not path.name.startswith(".")
    return is_shown and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    shown = ", ".join(f"`{name}`" for name in known[:_SHOWN])
    return f"{shown}, …" if len(known) > _SHOWN else shown
