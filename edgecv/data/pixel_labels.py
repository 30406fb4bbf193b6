"""What a data set for semantic segmentation is in memory: images, and a label for each pixel."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecv.data.samples import Problem
from edgecv.images import read_label_image

VOID = 255  # the label of a pixel that is of no class and counts nowhere


@dataclass(frozen=True)
class SegmentedImage:
    """One image and the file with its labels; the pixels of both stay on disk.

    Args:
        image_path: the image file, readable with `edgecv.images.read_image`.
        label_path: its label image, readable with `edgecv.images.read_label_image`.
        size_hw: height and width of both in pixels.

    """

    image_path: Path
    label_path: Path
    size_hw: tuple[int, int]


@dataclass(frozen=True, eq=False)
class SegmentationDataset:
    """One split of a data set for semantic segmentation, every label checked.

    Args:
        name: what it is called in logs and in a model's provenance.
        split: the split as the folders name it.
        classes: the names, in the order of the class indices.
        values: (256,) uint8, for each value of a label image the index of its class, or `VOID`.
        samples: the images, never empty.
        problems: what was left out because of `on_bad="skip"`.

    """

    name: str
    split: str
    classes: tuple[str, ...]
    values: NDArray[np.uint8]
    samples: tuple[SegmentedImage, ...]
    problems: tuple[Problem, ...]

    def labels_of(self, sample: SegmentedImage) -> NDArray[np.uint8]:
        """Return the class of each pixel, (H, W) uint8: an index into `classes`, or `VOID`.

        Raises:
            InputError: if the file cannot be read any more.

        """
        return self.values[read_label_image(sample.label_path)]
