"""Reading data sets in the folder layout of Ultralytics' YOLO, and of Roboflow's exports.

images/SPLIT/NAME.jpg with labels/SPLIT/NAME.txt (or SPLIT/images and SPLIT/labels), one line
`class cx cy w h` an object, and the class names in data.yaml or classes.txt.

Source:
    https://docs.ultralytics.com/datasets/detect/
"""

import re
from collections.abc import Sequence
from pathlib import Path

from edgecv.data.checks import (
    ProblemLog,
    SampleBuilder,
    UnusableError,
    checked_classes,
    choose_split,
    finish,
    read_class_list,
    read_text,
    unknown_class,
)
from edgecv.data.class_names import read_yaml_names
from edgecv.data.samples import DetectionDataset, OnBad
from edgecv.errors import DatasetError
from edgecv.images import IMAGE_SUFFIXES

_YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NUM_FIELDS = 5  # class cx cy w h
_INDEX = re.compile(r"[0-9]{1,9}")
_CLASS_LIST = "classes.txt"  # which labelling tools also write among the labels


def read_yolo(
    folder: Path | str,
    split: str | None = None,
    *,
    on_bad: OnBad = "error",
    name: str | None = None,
) -> DetectionDataset:
    """Read one split of a data set in YOLO's layout.

    An image without a label file, or with an empty one, has no objects. Of data.yaml only
    `names` is read: the folders are found by their names, its paths are not followed.

    Args:
        folder: holds data.yaml or classes.txt, and the folders of images and labels.
        split: `val` also means `valid`; None: test, else val, else the only one.
        on_bad: `skip` leaves out what cannot be used and records it in `problems`.
        name: of the data set; the folder's name where None.

    Raises:
        DatasetError: if the layout is another, the split is unknown or empty, or something is
            bad and `on_bad` is `error`.

    """
    folder = Path(folder)
    splits = _split_folders(folder)
    remedy = "Put the images into `images/train` and the labels into `labels/train`."
    chosen = choose_split(split, splits, folder, remedy)
    classes = _classes(folder)
    image_folder, label_folder = splits[chosen]
    images = [p for p in sorted(image_folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
    log = ProblemLog()
    _log_orphans(label_folder, {path.stem for path in images}, log)
    builders: list[SampleBuilder] = []
    for image_path in images:
        label_path = label_folder / f"{image_path.stem}.txt"
        try:
            builder = SampleBuilder(image_path, len(builders) + 1)
        except UnusableError as error:
            log.add(image_path, None, str(error))
            continue
        if label_path.is_file():
            _read_labels(label_path, builder, classes, log)
        builders.append(builder)
    return finish(
        name=name or folder.resolve().name,
        split=chosen,
        classes=classes,
        category_ids=range(1, len(classes) + 1),
        samples=[builder.sample() for builder in builders],
        log=log,
        on_bad=on_bad,
    )


def is_yolo_folder(folder: Path) -> bool:
    """Tell whether `folder` has the layout of YOLO."""
    return bool(_split_folders(folder))


def _split_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return the folders of images and of labels by split, where both exist."""
    candidates = {
        path.name: (path, folder / "labels" / path.name) for path in (folder / "images").glob("*")
    } | {path.parent.name: (path, path.parent / "labels") for path in folder.glob("*/images")}
    return {
        split: (images, labels)
        for split, (images, labels) in candidates.items()
        if images.is_dir() and labels.is_dir()
    }


def _classes(folder: Path) -> tuple[str, ...]:
    """Return the class names of data.yaml or classes.txt."""
    for yaml_name in _YAML_NAMES:
        if (folder / yaml_name).is_file():
            return checked_classes(read_yaml_names(folder / yaml_name), folder / yaml_name)
    if (folder / _CLASS_LIST).is_file():
        return read_class_list(folder / _CLASS_LIST)
    raise DatasetError(
        f"`{folder}` must hold data.yaml or {_CLASS_LIST} with the class names, got neither. "
        f"Write {_CLASS_LIST}, one name a line in the order of the indices."
    )


def _log_orphans(label_folder: Path, image_stems: set[str], log: ProblemLog) -> None:
    """Log the label files whose image is missing."""
    for path in sorted(label_folder.glob("*.txt")):
        if path.stem not in image_stems and path.name != _CLASS_LIST:
            log.add(path, None, f"image `{path.stem}` must exist, got none of that name")


def _read_labels(
    path: Path, builder: SampleBuilder, classes: Sequence[str], log: ProblemLog
) -> None:
    """Add the objects of a label file to its image."""
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if text.strip():
            try:
                _read_label(text.split(), builder, classes)
            except UnusableError as error:
                log.add(path, line, str(error))


def _read_label(fields: Sequence[str], builder: SampleBuilder, classes: Sequence[str]) -> None:
    """Add one object, `class cx cy w h` in fractions of the image."""
    if len(fields) != _NUM_FIELDS:
        raise UnusableError(
            f"label must be five numbers, `class cx cy w h`, got {len(fields)} "
            "(six hold a score, more a polygon: neither is a box)"
        )
    class_id = _INDEX.fullmatch(fields[0])
    if class_id is None or int(class_id[0]) >= len(classes):
        indexed = [f"{index} ({name})" for index, name in enumerate(classes)]
        raise UnusableError(unknown_class(fields[0], indexed, "the class names"))
    try:
        cx, cy, w, h = map(float, fields[1:])
    except ValueError:
        raise UnusableError(f"label must be numbers, got {' '.join(fields)!r}") from None
    if max(cx, cy, w, h) > 2:  # noqa: PLR2004  # far from what rounding makes of a fraction
        raise UnusableError(
            f"label must be in fractions of the image, got {' '.join(fields[1:])} (pixels?)"
        )
    height, width = builder.size_hw
    builder.add(
        (
            (cx - w / 2) * width,
            (cy - h / 2) * height,
            (cx + w / 2) * width,
            (cy + h / 2) * height,
        ),
        int(class_id[0]),
    )
