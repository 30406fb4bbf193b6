"""What a network will see of a data set: a contact sheet of augmented samples."""

from collections.abc import Iterator
from itertools import count as count_from
from itertools import islice

import numpy as np
from PIL import Image
from torch import Tensor

from edgecv.colour import class_colours
from edgecv.contact_sheet import contact_sheet
from edgecv.data.augment.recipe import Recipe
from edgecv.data.batches import Batches, LabelledBatches, TrainingBatches
from edgecv.data.labelled import ClassificationDataset
from edgecv.data.samples import DetectionDataset
from edgecv.data.sheet import draw_target, enlargement, shown_pixels
from edgecv.data.targets import Target
from edgecv.spec import InputSpec


def preview_sheet(
    dataset: DetectionDataset | ClassificationDataset,
    wanted: InputSpec,
    recipe: Recipe,
    *,
    count: int,
    seed: int,
) -> Image.Image:
    """Return a contact sheet of the first samples that a training with this seed draws.

    Masks and keypoints are shown where the data set has them.

    Args:
        dataset: a split.
        wanted: the network's input.
        recipe: of the augmentation.
        count: samples, at least 1; after the last sample the next epoch begins.
        seed: of order and augmentation.

    """
    enlarged = enlargement(wanted.size_hw)
    tiles, captions = [], []
    seen: set[int] = set()
    for image, target in islice(_samples(dataset, wanted, recipe, count, seed), count):
        pixels = shown_pixels(image, wanted)
        if isinstance(target, Target):
            tiles.append(draw_target(pixels, target, dataset.classes, enlarged=enlarged))
            captions.append(_caption(target, dataset.classes))
            seen.update(target.class_ids.tolist())
        else:
            tiles.append(pixels.repeat(enlarged, axis=0).repeat(enlarged, axis=1))
            captions.append(dataset.classes[int(target)])
            seen.add(int(target))
    height, width = wanted.size_hw
    done = ", ".join(transform.FORMAT for transform in recipe.transforms) or "no transform"
    class_ids = np.array(sorted(seen), np.int32)
    return contact_sheet(
        tiles,
        captions,
        title=f"{dataset.name} {dataset.split}, recipe {recipe.name}",
        subtitle=f"{height}x{width}, {wanted.fit}, seed {seed}: {done}",
        legend=[
            (dataset.classes[class_id], tuple(colour))
            for class_id, colour in zip(class_ids, class_colours(class_ids).tolist(), strict=True)
        ],
    )


def _samples(
    dataset: DetectionDataset | ClassificationDataset,
    wanted: InputSpec,
    recipe: Recipe,
    count: int,
    seed: int,
) -> Iterator[tuple[Tensor, Target | Tensor]]:
    """Yield images with their objects, or with their class."""
    batch_size = min(count, len(dataset.samples))
    batches: Batches
    if isinstance(dataset, ClassificationDataset):
        batches = LabelledBatches(
            dataset, wanted, batch_size=batch_size, seed=seed, workers=0, recipe=recipe
        )
    else:
        batches = TrainingBatches(
            dataset,
            wanted,
            batch_size=batch_size,
            seed=seed,
            workers=0,
            recipe=recipe,
            with_masks=dataset.has_outlines,
            with_keypoints=bool(dataset.keypoint_names),
        )
    for epoch in count_from():
        for batch in batches.epoch(epoch):
            yield from zip(batch.images, batch.targets, strict=True)


def _caption(target: Target, classes: tuple[str, ...]) -> str:
    """Return how many objects of each class there are."""
    counts: dict[str, int] = {}
    for class_id in target.class_ids.tolist():
        counts[classes[class_id]] = counts.get(classes[class_id], 0) + 1
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{number} {name}" for name, number in ordered) or "no object"
