"""Pictures to look at: images, their true labels, and what a segmentation model found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgecv.colour import class_colours
from edgecv.data.pixel_labels import VOID
from edgecv.kernels import blend_labels
from edgecv.report.charts import figure_of_pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TINT = 0.7  # weight of a class's colour over the picture
_MOST_NAMED = 24  # classes in the legend
_SMALLEST_SHARE = 0.005  # of a picture, that a class must have to be named


@dataclass(frozen=True, eq=False)
class Example:
    """One image of an evaluation.

    Args:
        name: of its file.
        accuracy: share of its pixels that are right.
        image: (H, W, 3) uint8, RGB.
        truth: (H, W) uint8, indices into the model's classes, or `VOID`.
        found: (H, W) uint8, likewise, of the result.

    """

    name: str
    accuracy: float
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    found: NDArray[np.uint8]


def examples_chart(examples: Sequence[Example], classes: Sequence[str]) -> "Figure":
    """Draw a row for each example: the image, its true labels and the found ones over it.

    Void pixels stay as they are.

    Raises:
        MissingDependencyError: if matplotlib is not installed.

    """
    colours = class_colours(np.arange(len(classes), dtype=np.int32))
    rows, texts = [], []
    seen = np.zeros(len(classes), np.bool_)
    for example in examples:
        tinted = [
            _tinted(example.image, labels, colours) for labels in (example.truth, example.found)
        ]
        rows.append([example.image, *tinted])
        texts.append([example.name, "truth", f"found: {example.accuracy:.1%} of the pixels right"])
        for labels in (example.truth, example.found):
            counts = np.bincount(labels.ravel(), minlength=256)[: len(classes)]
            seen |= counts >= _SMALLEST_SHARE * labels.size
    named = np.flatnonzero(seen)[:_MOST_NAMED].tolist()
    return figure_of_pictures(rows, texts, {classes[i]: colours[i] for i in named})


def _tinted(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], colours: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    picture = image.copy()
    blend_labels(picture, labels, colours, alpha=_TINT, format="rgb24", ignore=VOID)
    return picture
