"""What a data set for classification is in memory: images, and the class of each."""

from dataclasses import dataclass
from pathlib import Path

from edgecv.data.samples import Problem


@dataclass(frozen=True)
class LabelledImage:
    """One image and what it shows; the pixels stay on disk.

    Args:
        image_path: the image file, readable with `edgecv.images.read_image`.
        class_id: index into `ClassificationDataset.classes`.

    """

    image_path: Path
    class_id: int


@dataclass(frozen=True, eq=False)
class ClassificationDataset:
    """One split of a data set for classification, every file checked.

    Args:
        name: what it is called in logs and in a model's provenance.
        split: the split as the folders name it.
        classes: the names, in the order of the class indices.
        samples: the images, at least one of each class.
        problems: what was left out because of `on_bad="skip"`.
        note: how the split was made where the folders do not say; empty where they do.

    """

    name: str
    split: str
    classes: tuple[str, ...]
    samples: tuple[LabelledImage, ...]
    problems: tuple[Problem, ...]
    note: str = ""
