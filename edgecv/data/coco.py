"""Reading data sets in COCO's format: one JSON file a split, the images in folders beside it.

Source:
    Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; the keys are described at
    https://cocodataset.org/#format-data.
"""

import json
import re
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

from edgecv.data.checks import (
    ProblemLog,
    SampleBuilder,
    UnusableError,
    checked_classes,
    choose_split,
    finish,
    read_text,
    unknown_class,
)
from edgecv.data.coco_shapes import keypoints_from_coco, segment_from_coco
from edgecv.data.samples import DetectionDataset, OnBad
from edgecv.errors import DatasetError

_PREFIX = "instances_"
_LISTS = ("categories", "images", "annotations")
_LARGEST = float(np.finfo(np.float32).max)
_BLANK = re.compile(r"[\s,:]*")  # what may stand between two JSON values of a parsed text


def read_coco(
    folder: Path | str,
    split: str | None = None,
    *,
    on_bad: OnBad = "error",
    name: str | None = None,
) -> DetectionDataset:
    """Read one split of a data set in COCO's format.

    Classes come in the order of their category ids. `area`, `iscrowd` and `segmentation` are taken
    where they are present, and `keypoints` where a category names them, with its `skeleton`; if two
    categories name different ones, none are read. Keys that are not needed are ignored.

    Args:
        folder: holds instances_SPLIT.json, or annotations/instances_SPLIT.json; the images lie
            in SPLIT, images/SPLIT, images, JPEGImages or in `folder` itself.
        split: `val` also means `val2017`; None: test, else val, else the only one.
        on_bad: `skip` leaves out what cannot be used and records it in `problems`.
        name: of the data set; the folder's name where None.

    Raises:
        DatasetError: if there is no such file, it is no JSON of COCO's form, the split is
            unknown or empty, or something is bad and `on_bad` is `error`.

    """
    folder = Path(folder)
    files = _annotation_files(folder)
    remedy = f"Put `{_PREFIX}train.json` there or in its folder `annotations`."
    chosen = choose_split(split, files, folder, remedy)
    document = _Document(files[chosen])
    log = ProblemLog()
    classes = _read_categories(document)
    keypoint_names = _keypoint_names(document)
    skeleton = _skeleton(document, keypoint_names)
    builders = _read_images(document, _image_folders(folder, chosen), log)
    _read_annotations(document, builders, tuple(classes), len(keypoint_names), log)
    return finish(
        name=name or folder.resolve().name,
        split=chosen,
        classes=checked_classes(tuple(classes.values()), document.path),
        category_ids=tuple(classes),
        samples=[builder.sample(len(keypoint_names)) for builder in builders.values() if builder],
        log=log,
        on_bad=on_bad,
        keypoint_names=keypoint_names,
        skeleton=skeleton,
    )


def is_coco_folder(folder: Path) -> bool:
    """Tell whether `folder` has annotation files named as COCO's."""
    return bool(_annotation_files(folder))


def _annotation_files(folder: Path) -> dict[str, Path]:
    """Return the annotation files by split; one in `folder` itself goes first."""
    found = [*(folder / "annotations").glob(f"{_PREFIX}*.json"), *folder.glob(f"{_PREFIX}*.json")]
    return {path.stem.removeprefix(_PREFIX): path for path in found}


def _image_folders(folder: Path, split: str) -> list[Path]:
    """Return the folders in which an image of `split` may lie."""
    places = (split, f"images/{split}", "images", "JPEGImages", ".")
    return [folder / place for place in places if (folder / place).is_dir()]


def _read_categories(document: "_Document") -> dict[int, str]:
    """Return the class names by category id, in the order of the ids."""
    names: dict[int, str] = {}
    for index, entry in enumerate(document.lists["categories"]):
        try:
            category_id, name = _integer(entry, "id"), _string(entry, "name")
            _refuse_repeated("category", category_id, names)
        except UnusableError as error:
            # Nothing can be skipped here: without all classes no class index is safe.
            line = document.line("categories", index)
            raise DatasetError(f"{document.path}:{line}: {error}. Mend the file.") from error
        names[category_id] = name
    return dict(sorted(names.items()))


def _keypoint_names(document: "_Document") -> tuple[str, ...]:
    """Return the names of the keypoints, empty where no category or not all name the same."""
    found = {}
    for index, entry in enumerate(document.lists["categories"]):
        names = entry.get("keypoints")
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            line = document.line("categories", index)
            raise DatasetError(
                f"{document.path}:{line}: `keypoints` of a category must be a list of names, "
                f"got {_shown(names)}. Mend the file."
            )
        if names:
            found[tuple(names)] = index
    return next(iter(found)) if len(found) == 1 else ()


def _skeleton(document: "_Document", names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Return the limbs of the first category that has some, rows of `names` from 0."""
    for index, entry in enumerate(document.lists["categories"]):
        limbs = entry.get("skeleton")
        if not limbs or not names:
            continue
        ends = range(1, len(names) + 1)
        is_list = isinstance(limbs, list)
        if not is_list or not all(
            isinstance(limb, list)
            and len(limb) == 2  # noqa: PLR2004  # its ends
            and all(type(end) is int and end in ends for end in limb)
            for limb in limbs
        ):
            line = document.line("categories", index)
            raise DatasetError(
                f"{document.path}:{line}: `skeleton` of a category must be pairs of its "
                f"{len(names)} keypoints, counted from 1, got {_shown(limbs)}. Mend the file."
            )
        return tuple((start - 1, end - 1) for start, end in limbs)
    return ()


def _read_images(
    document: "_Document", folders: list[Path], log: ProblemLog
) -> dict[int, SampleBuilder | None]:
    """Return a builder by image id, in the file's order; None for an image that was left out."""
    builders: dict[int, SampleBuilder | None] = {}
    for index, entry in enumerate(document.lists["images"]):
        subject = "image"
        try:
            image_id = _integer(entry, "id")
            subject = f"image {image_id}"
            _refuse_repeated("image", image_id, builders)
            builders[image_id] = None
            builders[image_id] = _begin_image(entry, image_id, folders)
        except UnusableError as error:
            log.add(document.path, document.line("images", index), f"{subject}: {error}")
    return builders


def _refuse_repeated(kind: str, entry_id: int, seen: Container[int]) -> None:
    if entry_id in seen:
        raise UnusableError(f"{kind} id must be unique, got {entry_id} again")


def _begin_image(entry: dict[str, Any], image_id: int, folders: list[Path]) -> SampleBuilder:
    """Return the builder of an image, after finding the file and comparing its size."""
    size_hw = None
    if "height" in entry or "width" in entry:
        size_hw = _integer(entry, "height"), _integer(entry, "width")
    return SampleBuilder(_find_image(_string(entry, "file_name"), folders), image_id, size_hw)


def _find_image(file_name: str, folders: list[Path]) -> Path:
    for folder in folders:
        if (folder / file_name).is_file():
            return folder / file_name
    raise UnusableError(
        f"`file_name` must name a file in {', '.join(map(str, folders))}, got {file_name!r}"
    )


def _read_annotations(
    document: "_Document",
    builders: dict[int, SampleBuilder | None],
    category_ids: tuple[int, ...],
    num_keypoints: int,
    log: ProblemLog,
) -> None:
    """Add every annotation to its image, or log why it cannot be used."""
    class_ids = {category_id: index for index, category_id in enumerate(category_ids)}
    for index, entry in enumerate(document.lists["annotations"]):
        try:
            _read_annotation(entry, builders, class_ids, num_keypoints)
        except UnusableError as error:  # noqa: PERF203  # one bad entry does not cost the others
            # Official files are one line long: the id finds what the line number cannot.
            has_id = isinstance(entry, dict) and "id" in entry
            subject = f"annotation {entry['id']}" if has_id else "annotation"
            log.add(document.path, document.line("annotations", index), f"{subject}: {error}")


def _read_annotation(
    entry: Any,  # noqa: ANN401  # whatever JSON holds
    builders: dict[int, SampleBuilder | None],
    class_ids: dict[int, int],
    num_keypoints: int,
) -> None:
    """Add one annotation to its image; that of an image that was left out goes with it."""
    image_id, category_id = _integer(entry, "image_id"), _integer(entry, "category_id")
    if image_id not in builders:
        raise UnusableError(f"`image_id` must be that of an image, got {image_id}")
    if category_id not in class_ids:
        raise UnusableError(unknown_class(category_id, tuple(class_ids), "`categories`"))
    builder = builders[image_id]
    if builder is not None:
        x, y, width, height = _numbers(entry, "bbox")
        keypoints = None
        if num_keypoints:
            keypoints = keypoints_from_coco(entry.get("keypoints"), num_keypoints, builder.size_hw)
        builder.add(
            (x, y, x + width, y + height),
            class_ids[category_id],
            area=_area(entry),
            is_crowd=bool(entry.get("iscrowd", 0)),
            segment=segment_from_coco(entry.get("segmentation") or [], builder.size_hw),
            keypoints=keypoints,
        )


class _Document:
    """A parsed annotation file that can say on which line an entry begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = read_text(path)
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError as error:
            raise DatasetError(
                f"{path}:{error.lineno}: the file must be JSON, got: {error.msg} in column "
                f"{error.colno}. Mend the file or fetch it again."
            ) from error
        except (RecursionError, ValueError) as error:  # Python bounds nesting and digits
            raise DatasetError(f"{path}: the file must be JSON, got: {error}. Mend it.") from error
        self.lists: dict[str, list[Any]] = {}
        for key in _LISTS:
            entries = parsed.get(key) if isinstance(parsed, dict) else None
            if not isinstance(entries, list):
                raise DatasetError(
                    f"{path}: the file must be an object with the lists {', '.join(_LISTS)}, "
                    f"got no list `{key}`. Export it in COCO's instances format."
                )
            self.lists[key] = entries
        self._lines: dict[str, list[int]] = {}

    def line(self, key: str, index: int) -> int:
        """Return the line on which entry `index` of the list `key` begins."""
        if not self._lines:  # only a problem asks: good files are scanned once, by json itself
            self._lines = _entry_lines(read_text(self.path))
        return self._lines[key][index]


def _entry_lines(text: str) -> dict[str, list[int]]:
    """Return, for every list in the top-level object of valid JSON, where its entries begin."""
    decode = json.JSONDecoder().raw_decode
    lines: dict[str, list[int]] = {}
    at = _skip_blank(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = decode(text, at)
        at = _skip_blank(text, at)
        if text[at] != "[":
            _, at = decode(text, at)
        else:
            lines[key] = []
            line, counted = text.count("\n", 0, at) + 1, at
            at = _skip_blank(text, at + 1)
            while text[at] != "]":
                line, counted = line + text.count("\n", counted, at), at
                lines[key].append(line)
                _, at = decode(text, at)
                at = _skip_blank(text, at)
            at += 1
        at = _skip_blank(text, at)
    return lines


def _skip_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _value(entry: Any, key: str) -> Any:  # noqa: ANN401  # whatever JSON holds
    if not isinstance(entry, dict):
        raise UnusableError(f"entry must be an object, got {_shown(entry)}")
    if key not in entry:
        raise UnusableError(f"entry must have the key `{key}`, got {', '.join(entry) or 'none'}")
    return entry[key]


def _integer(entry: Any, key: str) -> int:  # noqa: ANN401
    value = _value(entry, key)
    if type(value) is not int:
        raise UnusableError(f"`{key}` must be a whole number, got {_shown(value)}")
    return value


def _string(entry: Any, key: str) -> str:  # noqa: ANN401
    value = _value(entry, key)
    if not isinstance(value, str):
        raise UnusableError(f"`{key}` must be a string, got {_shown(value)}")
    return value


def _numbers(entry: Any, key: str) -> tuple[float, float, float, float]:  # noqa: ANN401
    value = _value(entry, key)
    if isinstance(value, list) and [type(v) in {int, float} for v in value] == [True] * 4:
        try:
            x, y, width, height = map(float, value)
        except OverflowError:  # a whole number of 309 digits
            raise UnusableError(f"`{key}` must be numbers of pixels, got a larger one") from None
        return x, y, width, height
    raise UnusableError(f"`{key}` must be four numbers, x, y, width, height, got {_shown(value)}")


def _area(entry: dict[str, Any]) -> float | None:
    value = entry.get("area")
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value <= _LARGEST:
        raise UnusableError(f"`area` must be a number of at least 0, got {_shown(value)}")
    return float(value)


def _shown(value: object) -> str:
    """Return a value as it stands in the file, shortened to fit a line."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004
