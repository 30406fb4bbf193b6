"""A few images of a data set as a data set of their own, in COCO's format."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecv.data.samples import DetectionDataset, Sample
from edgecv.errors import InputError
from edgecv.files import make_folder, replacing, write_text

SPLITS = ("train", "val")


def write_subset(
    dataset: DetectionDataset, folder: Path, *, count: int, drop_unused: bool = False
) -> DetectionDataset:
    """Copy the first images that show an object into a folder, as training and validation alike.

    What learns a few images by heart, and finds everything in them afterwards, is put together
    right: this is the quickest check of a model, its data and its settings. The images are the
    first by id of those with an object that is no crowd; all objects come with them, with their
    outlines and keypoints.

    Args:
        dataset: one split.
        folder: a new one; `images`, `instances_train.json` and `instances_val.json` are written.
        count: of images.
        drop_unused: leave out the classes that no object of the images has.

    Returns:
        The images, of the data set that they come from.

    Raises:
        InputError: if there are fewer images with objects, or `folder` has annotations already.
        OutputError: if the folder cannot be written.

    """
    if any(folder.glob("instances_*.json")):
        raise InputError(f"`{folder}` already holds a data set. Choose another folder.")
    shown = [sample for sample in dataset.samples if not sample.is_crowd.all()]
    if len(shown) < count:
        raise InputError(
            f"{dataset.name}: the split {dataset.split} has {len(shown)} images with objects, "
            f"got a count of {count}. Ask for fewer."
        )
    chosen = sorted(shown, key=lambda sample: sample.image_id)[:count]
    subset = replace(dataset, name=folder.name, samples=tuple(chosen), problems=())
    if drop_unused:
        subset = _without_unused_classes(subset)
    content = subset.to_coco()
    make_folder(folder / "images")
    for sample, image in zip(chosen, content["images"], strict=True):
        # Names may repeat: images of one data set can lie in several folders.
        image["file_name"] = f"{sample.image_id:012d}{sample.image_path.suffix}"
        with replacing(folder / "images" / image["file_name"]) as partial:
            shutil.copyfile(sample.image_path, partial)
    for split in SPLITS:
        write_text(folder / f"instances_{split}.json", json.dumps(content))
    return subset


def _without_unused_classes(dataset: DetectionDataset) -> DetectionDataset:
    used = np.unique(np.concatenate([sample.class_ids for sample in dataset.samples]))

    def renumbered(sample: Sample) -> Sample:
        return replace(sample, class_ids=np.searchsorted(used, sample.class_ids).astype(np.int32))

    return replace(
        dataset,
        classes=tuple(dataset.classes[index] for index in used),
        category_ids=tuple(dataset.category_ids[index] for index in used),
        samples=tuple(map(renumbered, dataset.samples)),
    )
