"""What every reader checks alike: splits, class lists, image headers and boxes.

A reader walks through its files and reports to one `ProblemLog`; whether a problem ends the
reading or leaves something out is decided in one place, when the whole split has been seen.
"""

import math
import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecv.data.samples import DetectionDataset, OnBad, Problem, Sample
from edgecv.data.segments import Segment
from edgecv.errors import DatasetError, InputError
from edgecv.images import image_size_hw

TOLERANCE_PX = 1.0  # annotation tools count from 0 or from 1: boxes stick out by up to a pixel

_PREFERRED = ("test", "val")  # what is opened when no split is named
_ALIASES = {"val": ("valid", "validation")}  # Roboflow's exports, TFDS


class ProblemLog:
    """The problems met while reading one split, in the order of the files.

    Args:
        tolerated: (file name, line) of problems that are known and never raise.

    """

    def __init__(self, tolerated: Container[tuple[str, int | None]] = ()) -> None:
        """Start empty."""
        self.problems: list[Problem] = []
        self._tolerated = tolerated

    def add(self, path: Path, line: int | None, text: str) -> None:
        """Note that what stands at `line` of `path` cannot be used."""
        self.problems.append(Problem(path, line, text))

    def raise_first(self) -> None:
        """Raise for the first problem that is not tolerated, if there is one.

        Raises:
            DatasetError: names file and line, the number of further problems, and the remedy.

        """
        found = [p for p in self.problems if (p.path.name, p.line) not in self._tolerated]
        if not found:
            return
        further = f" ({len(found) - 1} more like this follow)" if len(found) > 1 else ""
        raise DatasetError(
            f"{found[0]}{further}. Mend the file or pass `--on-bad skip` to leave it out."
        )


class UnusableError(Exception):
    """An annotation or an image that cannot be used; a reader logs it with its line."""


class SampleBuilder:
    """Collects the checked objects of one image.

    Args:
        image_path: the image file; its header is read.
        image_id: unique in the data set.
        stated_size_hw: what the annotation says the size is; None where it says nothing.

    Raises:
        UnusableError: if the image cannot be opened or has another size.

    """

    def __init__(
        self, image_path: Path, image_id: int, stated_size_hw: tuple[int, int] | None = None
    ) -> None:
        """Check the image; there are no objects yet."""
        self.size_hw = _checked_size(image_path, stated_size_hw)
        self.image_path = image_path
        self.image_id = image_id
        self._boxes: list[list[float]] = []
        self._class_ids: list[int] = []
        self._areas: list[float] = []
        self._is_crowd: list[bool] = []
        self._segments: list[Segment | None] = []
        self._keypoints: list[NDArray[np.float32]] = []

    def add(
        self,
        box_xyxy: Sequence[float],
        class_id: int,
        *,
        area: float | None = None,
        is_crowd: bool = False,
        segment: Segment | None = None,
        keypoints: NDArray[np.float32] | None = None,
    ) -> None:
        """Take one object.

        Args:
            box_xyxy: pixels, as the annotation states them; clipped to the image if it sticks
                out by at most `TOLERANCE_PX`.
            class_id: index of its class.
            area: of the segment, pixels²; the box's where it is None.
            is_crowd: whether evaluation ignores what is detected there.
            segment: its outline, None where the file has none.
            keypoints: (J, 3) float32 as in `Sample`, for every object of a data set or for none.

        Raises:
            UnusableError: if the box is broken or outside the image.

        """
        complaint = _box_complaint(box_xyxy, self.size_hw)
        if complaint is not None:
            raise UnusableError(complaint)
        height, width = self.size_hw
        x1, y1 = max(box_xyxy[0], 0.0), max(box_xyxy[1], 0.0)
        x2, y2 = min(box_xyxy[2], float(width)), min(box_xyxy[3], float(height))
        self._boxes.append([x1, y1, x2, y2])
        self._class_ids.append(class_id)
        self._areas.append((x2 - x1) * (y2 - y1) if area is None else area)
        self._is_crowd.append(is_crowd)
        self._segments.append(segment)
        if keypoints is not None:
            self._keypoints.append(keypoints)

    def sample(self, num_keypoints: int = 0) -> Sample:
        """Return the image with the objects taken so far, which have so many keypoints each."""
        has_segments = any(segment is not None for segment in self._segments)
        keypoints = np.array(self._keypoints, np.float32).reshape(-1, max(num_keypoints, 1), 3)
        return Sample(
            self.image_path,
            self.image_id,
            self.size_hw,
            np.array(self._boxes, np.float32).reshape(-1, 4),
            np.array(self._class_ids, np.int32),
            np.array(self._areas, np.float32),
            np.array(self._is_crowd, np.bool_),
            tuple(self._segments) if has_segments else None,
            keypoints if num_keypoints else None,
        )


def finish(
    *,
    name: str,
    split: str,
    classes: Sequence[str],
    category_ids: Sequence[int],
    samples: Sequence[Sample],
    log: ProblemLog,
    on_bad: OnBad,
    keypoint_names: Sequence[str] = (),
    skeleton: Sequence[tuple[int, int]] = (),
) -> DetectionDataset:
    """Return the data set, after deciding about the problems in `log`.

    Raises:
        DatasetError: if there are problems and `on_bad` is `error`, or no image is left.

    """
    if on_bad == "error" or not samples:
        log.raise_first()
    if not samples:
        raise DatasetError(
            f"{name}: split `{split}` must hold at least one image, got none. "
            "Choose another split or add images."
        )
    return DetectionDataset(
        name=name,
        split=split,
        classes=tuple(classes),
        category_ids=tuple(category_ids),
        samples=tuple(samples),
        problems=tuple(log.problems),
        keypoint_names=tuple(keypoint_names),
        skeleton=tuple(skeleton),
    )


def choose_split(asked: str | None, found: Iterable[str], folder: Path, remedy: str) -> str:
    """Return the one of `found` that `asked` means, as the files spell it.

    Args:
        asked: `val` also means `val2017`, `valid` and `validation`; None means the test split,
            else the validation split, else the only one.
        found: the splits that the folder has.
        folder: the data set, for the message.
        remedy: what to do where `found` is empty.

    Raises:
        DatasetError: if there is no such split, or more than one.

    """
    names = sorted(set(found))
    if not names:
        raise DatasetError(f"`{folder}` must hold at least one split, got none. {remedy}")
    if asked is not None and asked in names:
        return asked
    for wanted in _PREFERRED if asked is None else (asked,):
        matches = [name for name in names if is_split_name(name, wanted)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = matches
            break
    if asked is None and len(names) == 1:
        return names[0]
    got = "none given" if asked is None else f"`{asked}`"
    raise DatasetError(
        f"`{folder}`: the split must be one of {', '.join(names)}, got {got}. Name one of these."
    )


def is_split_name(name: str, asked: str) -> bool:
    """Tell whether a split called `name` is what `asked` stands for: val2017 is val."""
    plain = re.sub(r"[-_]?(19|20)\d\d$", "", name)
    return plain == asked or plain in _ALIASES.get(asked, ())


def read_class_list(path: Path) -> tuple[str, ...]:
    """Return the class names of a text file with one name a line, in its order.

    Raises:
        DatasetError: if the file cannot be read or decoded, is empty or repeats a name.

    """
    names = [line.strip() for line in read_text(path).splitlines()]
    while names and not names[-1]:
        names.pop()
    return checked_classes(names, path)


def checked_classes(names: Sequence[str], path: Path) -> tuple[str, ...]:
    """Return `names`, refused if there are none, or one is empty or stands there twice."""
    if not names:
        raise DatasetError(f"{path}: there must be at least one class, got none. Name the classes.")
    for index, name in enumerate(names):
        if not name or name in names[:index]:
            raise DatasetError(
                f"{path}: class names must be unique and not empty, got {name!r} as name "
                f"{index + 1}. Mend the list."
            )
    return tuple(names)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file (a byte order mark is dropped).

    Raises:
        DatasetError: if it cannot be read or is not UTF-8; the line is named.

    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{path}: the file must be readable, got: {error.strerror or error}. "
            "Check the path and the permissions."
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{path}:{line}: the text must be UTF-8, got byte {raw[error.start]:#04x}. "
            "Save the file as UTF-8."
        ) from error


def unknown_class(name: object, classes: Sequence[object], origin: str) -> str:
    """Return the text of the problem that `name` is not among `classes`, listed if few."""
    shown = ", ".join(map(str, classes[:10])) + (", …" if len(classes) > 10 else "")  # noqa: PLR2004
    return f"class must be one of {shown} (from {origin}), got {name!r}"


def _checked_size(path: Path, stated_size_hw: tuple[int, int] | None) -> tuple[int, int]:
    """Return the size of the image at `path`, which must be the stated one."""
    try:
        size_hw = image_size_hw(path)
    except InputError as error:
        rule_and_value = str(error).removeprefix("read_image: ").rpartition(". ")[0]
        raise UnusableError(rule_and_value) from error
    if stated_size_hw not in {None, size_hw}:
        turned = " (its EXIF orientation applied)" if stated_size_hw == size_hw[::-1] else ""
        raise UnusableError(
            f"stated size must be that of `{path}`, {size_hw[1]}x{size_hw[0]}{turned}, "
            f"got {stated_size_hw[1]}x{stated_size_hw[0]}"
        )
    return size_hw


def _box_complaint(box_xyxy: Sequence[float], size_hw: tuple[int, int]) -> str | None:
    """Return what is wrong with a box in an image of `size_hw`, or None."""
    x1, y1, x2, y2 = box_xyxy
    height, width = size_hw
    got = ", ".join(f"{value:g}" for value in box_xyxy)
    if not all(map(math.isfinite, box_xyxy)):
        return f"box must have four finite numbers, got ({got})"
    if x2 <= x1 or y2 <= y1:
        return f"box must have x2 > x1 and y2 > y1, got ({got})"
    sticks_out = max(-x1, -y1, x2 - width, y2 - height)
    # The second condition: a sliver that lies in the tolerated pixel is empty once clipped.
    if sticks_out > TOLERANCE_PX or min(width - x1, height - y1, x2, y2) <= 0:
        return f"box must lie inside the image of {width}x{height}, got ({got})"
    return None
