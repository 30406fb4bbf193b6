"""Bringing the classes of a model and of a data set together, by name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgecv.data.samples import DetectionDataset
from edgecv.errors import InputError


def class_order(dataset: DetectionDataset, classes: Sequence[str]) -> list[int]:
    """Return the data set's category id of each of the model's classes.

    Raises:
        InputError: if the two do not know the same classes; the message names the difference.

    """
    ids = dict(zip(dataset.classes, dataset.category_ids, strict=True))
    missing = [name for name in classes if name not in ids]
    unknown = [name for name in dataset.classes if name not in classes]
    if missing or unknown:
        raise InputError(
            f"the classes of the model and of `{dataset.name}` differ: only the model has "
            f"{missing or 'none'}, only the data set has {unknown or 'none'}. "
            "Measure on data with the model's classes."
        )
    return [ids[name] for name in classes]


def class_ids_of_model(
    dataset: DetectionDataset, classes: Sequence[str]
) -> list[NDArray[np.int32]]:
    """Return the objects' classes of each sample as indices into the model's `classes`.

    Raises:
        InputError: as `class_order`.

    """
    class_order(dataset, classes)
    index_of = {name: index for index, name in enumerate(classes)}
    table = np.array([index_of[name] for name in dataset.classes], np.int32)
    return [table[sample.class_ids] for sample in dataset.samples]


def known_class_ids(
    name: str, dataset_classes: Sequence[str], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Return for each class of a data set its index in the model's `classes`.

    The data set may lack some of them: a part of ImageNet measures a model of all of it.

    Args:
        name: of the data set.
        dataset_classes: its class names.
        classes: the model's class names.

    Raises:
        InputError: if the data set has a class that the model does not know.

    """
    unknown = [known for known in dataset_classes if known not in classes]
    if unknown:
        raise InputError(
            f"`{name}` has classes that the model does not know: {', '.join(unknown)}. "
            f"It knows {', '.join(classes[:10])}{', …' if len(classes) > 10 else ''}. "  # noqa: PLR2004
            "Measure on data with the model's classes."
        )
    index_of = {known: index for index, known in enumerate(classes)}
    return np.array([index_of[known] for known in dataset_classes], np.int64)
