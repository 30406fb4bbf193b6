"""Reading data sets in the layout of PASCAL VOC.

Annotations/NAME.xml, JPEGImages/NAME.jpg and ImageSets/Main/SPLIT.txt with one NAME a line.

Source:
    Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010; its development
    kit fixes the layout.
"""

import math
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat  # fetches no entity, and bounds their expansion

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
from edgecv.data.samples import DetectionDataset, OnBad, Sample
from edgecv.errors import DatasetError
from edgecv.images import IMAGE_SUFFIXES

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(
    folder: Path | str,
    split: str | None = None,
    *,
    on_bad: OnBad = "error",
    name: str | None = None,
    classes: Sequence[str] | None = None,
    tolerated: Container[tuple[str, int | None]] = (),
) -> DetectionDataset:
    """Read one split of a data set in the layout of PASCAL VOC.

    xmin, ymin, xmax, ymax are taken as they stand. VOC itself counts pixels from 1 and includes
    the last one; most tools that write this format do neither, and the files do not say. Objects
    marked difficult become `is_crowd`, because VOC's evaluation ignores them. `<size>` is
    compared with the image where it is present. Images take their name from the split's list,
    not from `<filename>`, which renamed data sets leave behind.

    Args:
        folder: holds Annotations, JPEGImages and ImageSets/Main.
        split: a list in ImageSets/Main; None: test, else val, else the only one.
        on_bad: `skip` leaves out what cannot be used and records it in `problems`.
        name: of the data set; the folder's name where None.
        classes: the class names in order; where None those of `classes.txt` in `folder`, else
            the sorted names of all files in Annotations, so that the splits agree.
        tolerated: (file name, line) of problems that are recorded but never raise.

    Raises:
        DatasetError: if the layout is not that of VOC, the split is unknown or empty, or
            something is bad and `on_bad` is `error`.

    """
    folder = Path(folder)
    lists = _split_lists(folder)
    chosen = choose_split(
        split, lists, folder, "List its images, one name a line, in `ImageSets/Main/train.txt`."
    )
    names, origin = _classes(folder, classes)
    index_of = {class_name: index for index, class_name in enumerate(names)}
    images = {
        path.stem: path
        for path in sorted((folder / "JPEGImages").glob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    log = ProblemLog(tolerated)
    samples: list[Sample] = []
    for line, stem in _listed(lists[chosen], log):
        xml_path = folder / "Annotations" / f"{stem}.xml"
        if stem not in images:
            text = f"image must exist, got no `{folder / 'JPEGImages' / stem}.jpg`"
            log.add(lists[chosen], line, text)
        elif not xml_path.is_file():
            log.add(lists[chosen], line, f"annotation must exist, got no `{xml_path}`")
        else:
            sample = _read_sample(xml_path, images[stem], len(samples) + 1, index_of, origin, log)
            samples += [sample] if sample else []
    return finish(
        name=name or folder.resolve().name,
        split=chosen,
        classes=names,
        category_ids=range(1, len(names) + 1),
        samples=samples,
        log=log,
        on_bad=on_bad,
    )


def is_voc_folder(folder: Path) -> bool:
    """Tell whether `folder` has the layout of PASCAL VOC."""
    return (folder / "Annotations").is_dir() and (folder / "JPEGImages").is_dir()


def _split_lists(folder: Path) -> dict[str, Path]:
    """Return the lists of images by split, without VOC's lists per class (`cat_train.txt`)."""
    if not is_voc_folder(folder):
        raise DatasetError(
            f"`{folder}` must hold the folders Annotations and JPEGImages, got "
            f"{'neither or one of them' if folder.is_dir() else 'no such folder'}. "
            "Name the folder above them."
        )
    lists = {path.stem: path for path in (folder / "ImageSets" / "Main").glob("*.txt")}
    return {
        stem: path
        for stem, path in lists.items()
        if not any(stem.endswith(f"_{other}") for other in lists)
    }


def _listed(path: Path, log: ProblemLog) -> Iterator[tuple[int, str]]:
    """Yield line number and name for each image in a split's list."""
    first_line: dict[str, int] = {}
    for line, text in enumerate(read_text(path).splitlines(), 1):
        stem = text.strip()
        if stem in first_line:
            log.add(
                path,
                line,
                f"an image must be listed once, got `{stem}` as on line {first_line[stem]}",
            )
        elif stem:
            first_line[stem] = line
            yield line, stem


def _classes(folder: Path, classes: Sequence[str] | None) -> tuple[tuple[str, ...], str]:
    """Return the class names and where they come from."""
    if classes is not None:
        return tuple(classes), "the data set's definition"
    if (folder / "classes.txt").is_file():
        return read_class_list(folder / "classes.txt"), "classes.txt"
    found: set[str] = set()
    for path in (folder / "Annotations").glob("*.xml"):
        try:
            root = _parse(path)
        except _XMLError:
            continue  # reported when its split is read
        found.update(name.text for obj in root.all("object") for name in obj.all("name"))
    return checked_classes(sorted(found - {""}), folder / "Annotations"), "Annotations"


def _read_sample(
    xml_path: Path,
    image_path: Path,
    image_id: int,
    index_of: dict[str, int],
    origin: str,
    log: ProblemLog,
) -> Sample | None:
    """Return one annotated image, or None after logging why it cannot be used."""
    line = 1
    try:
        root = _parse(xml_path)
        size_hw, line = _stated_size(root)
        builder = SampleBuilder(image_path, image_id, size_hw)
    except _XMLError as error:
        log.add(xml_path, error.line, str(error))
        return None
    except UnusableError as error:
        log.add(xml_path, line, str(error))
        return None
    for obj in root.all("object"):
        try:
            _read_object(obj, builder, index_of, origin)
        except _XMLError as error:  # noqa: PERF203  # one bad object does not cost the others
            log.add(xml_path, error.line, str(error))
    return builder.sample()


def _read_object(
    obj: "_Element", builder: SampleBuilder, index_of: dict[str, int], origin: str
) -> None:
    """Add one object to its image, or raise with the line that is wrong."""
    class_name, box = obj.one("name"), obj.one("bndbox")
    if class_name.text not in index_of:
        text = unknown_class(class_name.text, tuple(index_of), origin)
        raise _XMLError(class_name.line, text)
    is_difficult = any(mark.number() != 0 for mark in obj.all("difficult"))
    box_xyxy = [box.one(corner).number() for corner in _CORNERS]
    try:
        builder.add(box_xyxy, index_of[class_name.text], is_crowd=is_difficult)
    except UnusableError as error:
        raise _XMLError(box.line, str(error)) from error


def _stated_size(root: "_Element") -> tuple[tuple[int, int] | None, int]:
    """Return height and width by `<size>`, if there is one, and the line to blame."""
    for size in root.all("size"):
        height, width = size.one("height").number(), size.one("width").number()
        if not (math.isfinite(height) and math.isfinite(width)):
            raise _XMLError(size.line, f"<size> must be finite, got {width}x{height}")
        return (int(height), int(width)), size.line
    return None, root.line


class _XMLError(Exception):
    """Something in an XML file that cannot be used, and its line."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass
class _Element:
    """An XML element that knows its line; xml.etree's do not."""

    tag: str
    line: int
    text: str = ""
    children: list["_Element"] = field(default_factory=list)

    def all(self, tag: str) -> Collection["_Element"]:
        """Return the direct children called `tag`: an object's parts have names and boxes too."""
        return [child for child in self.children if child.tag == tag]

    def one(self, tag: str) -> "_Element":
        for child in self.all(tag):
            return child
        raise _XMLError(self.line, f"<{self.tag}> must have a <{tag}>, got none")

    def number(self) -> float:
        try:
            return float(self.text)
        except ValueError:
            text = f"<{self.tag}> must be a number, got {self.text!r}"
            raise _XMLError(self.line, text) from None


def _parse(path: Path) -> _Element:
    """Return the root element of an XML file, its texts stripped."""
    document = _Element("document", 1)
    open_elements = [document]
    parser = expat.ParserCreate()

    def start(tag: str, _attributes: dict[str, str]) -> None:
        element = _Element(tag, parser.CurrentLineNumber)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_tag: str) -> None:
        element = open_elements.pop()
        element.text = element.text.strip()

    def text(piece: str) -> None:
        open_elements[-1].text += piece

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(path.read_bytes(), True)  # noqa: FBT003
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise _XMLError(error.lineno, f"annotation must be XML, got: {reason}") from error
    except (ValueError, LookupError) as error:  # an encoding that expat does not know
        raise _XMLError(1, f"annotation must be XML, got: {error}") from error
    except OSError as error:
        raise _XMLError(1, f"annotation must be readable, got: {error.strerror}") from error
    return document.children[0]
