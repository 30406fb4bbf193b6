"""Proposing regions in a data set, and how many of its objects they cover."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecv.data.samples import DetectionDataset
from edgecv.errors import DatasetError
from edgecv.images import read_image
from edgecv.kernels import box_iou
from edgecv.proposals import ImageProposals, Proposals, name_in_folder, proposer
from edgecv.spec import ProposalMethod

_IOUS = (0.5, 0.7)


@dataclass(frozen=True)
class Recall:
    """How much of a split the proposals cover.

    Args:
        split: the split.
        num_images: in it.
        num_regions: proposals in it.
        num_objects: in it, crowds not counted.
        covered: how many objects some proposal overlaps by an IoU of 0.5, and of 0.7, or more.

    """

    split: str
    num_images: int
    num_regions: int
    num_objects: int
    covered: tuple[int, ...]

    def to_row(self) -> tuple[float, ...]:
        """Return regions an image, and the share of objects covered at either overlap."""
        shares = (count / max(1, self.num_objects) for count in self.covered)
        return (self.num_regions / self.num_images, *shares)

    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries and numbers."""
        regions, *shares = self.to_row()
        recalls = {f"recall{iou:g}": share for iou, share in zip(_IOUS, shares, strict=True)}
        return {"images": self.num_images, "regions_per_image": regions, **recalls}


@dataclass(frozen=True)
class Proposed:
    """The proposals of several splits, and the recall of each."""

    proposals: Proposals
    recalls: tuple[Recall, ...]


def propose_regions(
    datasets: Sequence[DetectionDataset],
    method: ProposalMethod,
    *,
    count: int,
    on_image: Callable[[], object] = lambda: None,
) -> Proposed:
    """Propose regions in every image of some splits.

    Args:
        datasets: the splits.
        method: how; see `edgecv.proposals`.
        count: regions an image at the most.
        on_image: called after each image.

    Raises:
        DatasetError: if two images have the same file name in folders of the same name: the file
            of proposals could not tell them apart.
        MissingDependencyError: if the method needs a package that is not installed.

    """
    propose = proposer(method)
    name_of = _names(datasets)
    images: dict[str, ImageProposals] = {}
    recalls = []
    for dataset in datasets:
        covered = np.zeros(len(_IOUS), np.int64)
        num_objects = num_regions = 0
        for sample in dataset.samples:
            boxes = propose(read_image(sample.image_path), count)
            images[name_of[sample.image_path]] = ImageProposals(sample.size_hw, boxes)
            objects = np.ascontiguousarray(sample.boxes_xyxy[~sample.is_crowd])
            best = box_iou(objects, np.ascontiguousarray(boxes)).max(axis=1, initial=0.0)
            covered += [int((best >= iou).sum()) for iou in _IOUS]
            num_objects += len(objects)
            num_regions += len(boxes)
            on_image()
        recalls.append(
            Recall(
                dataset.split,
                len(dataset.samples),
                num_regions,
                num_objects,
                tuple(covered.tolist()),
            )
        )
    return Proposed(Proposals(method, images), tuple(recalls))


def _names(datasets: Sequence[DetectionDataset]) -> dict[Path, str]:
    """Return what each image is called in a file of proposals."""
    paths = {sample.image_path for dataset in datasets for sample in dataset.samples}
    counts = Counter(path.name for path in paths)
    names = {path: path.name if counts[path.name] == 1 else name_in_folder(path) for path in paths}
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise DatasetError(
            f"propose: images must differ in their names or their folders', got `{min(twice)}` "
            "twice. Rename one, or propose each `--split` into a file of its own."
        )
    return names
