"""What a detection data set is in memory, whichever format it came from."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.data.segments import Segment, segment_to_coco
from edgecv.proposals import Proposals

OnBad = Literal["error", "skip"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and the objects in it; the pixels stay on disk.

    Args:
        image_path: the image file, readable with `edgecv.images.read_image`.
        image_id: unique in the data set; COCO's own, else counted from 1.
        size_hw: height and width of the image in pixels, upright by its EXIF orientation.
        boxes_xyxy: (N, 4) float32 pixels in continuous coordinates (the first pixel covers
            [0, 1)), inside the image, x2 > x1 and y2 > y1: checked on reading.
        class_ids: (N,) int32, indices into `DetectionDataset.classes`.
        areas: (N,) float32 pixels², the segment's area where the annotation file has one, else
            the box's.
        is_crowd: (N,) bool, regions in which a detection counts neither as hit nor as miss:
            COCO's crowds, VOC's difficult objects. Training leaves them out.
        segments: the outline of each object, None for one that has none; None where no object of
            the image has one.
        keypoints: (N, J, 3) float32, x and y in pixels and visibility as COCO counts it (0 not
            labelled, 1 hidden, 2 visible); None where the data set has none.
        proposals_xyxy: (P, 4) float32 pixels, regions that were proposed outside of a network, best
            first; None where there are none, see `DetectionDataset.with_proposals`.

    """

    image_path: Path
    image_id: int
    size_hw: tuple[int, int]
    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    areas: NDArray[np.float32]
    is_crowd: NDArray[np.bool_]
    segments: tuple[Segment | None, ...] | None = None
    keypoints: NDArray[np.float32] | None = None
    proposals_xyxy: NDArray[np.float32] | None = None

    @property
    def outlines(self) -> tuple[Segment | None, ...]:
        """`segments`, with a None for each object where no object of the image has one."""
        return self.segments or (None,) * len(self.class_ids)

    @property
    def num_without_outline(self) -> int:
        """How many objects that are learnt have no outline."""
        pairs = zip(self.outlines, self.is_crowd, strict=True)
        return sum(segment is None and not is_crowd for segment, is_crowd in pairs)


@dataclass(frozen=True)
class Problem:
    """Something wrong in a data set: the file, the line (from 1) if it has one, and what."""

    path: Path
    line: int | None
    text: str

    def __str__(self) -> str:
        """Return `file.xml:34: what is wrong`, which editors and terminals make clickable."""
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.text}"


@dataclass(frozen=True, eq=False)
class DetectionDataset:
    """One split of a detection data set, every annotation checked.

    Args:
        name: what it is called in logs and in a model's provenance.
        split: the split as the files name it, `val2017` rather than `val`.
        classes: the names, in the order of the class indices.
        category_ids: for each class its id in the annotation file; 1..C for VOC and YOLO.
        samples: the images, never empty.
        problems: what was left out because of `on_bad="skip"`, or is known and tolerated.
        keypoint_names: of the J keypoints of each object, empty where the data set has none.
        skeleton: pairs of keypoints, rows of `keypoint_names`, that a limb joins.

    """

    name: str
    split: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]
    keypoint_names: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()

    @property
    def has_keypoints(self) -> bool:
        """Whether a keypoint of any object that is learnt is labelled."""
        return any(
            sample.keypoints is not None
            and bool((sample.keypoints[~sample.is_crowd, :, 2] > 0).any())
            for sample in self.samples
        )

    @property
    def has_outlines(self) -> bool:
        """Whether every object that is learnt has an outline, from which masks can be made."""
        return any(sample.segments for sample in self.samples) and not any(
            sample.num_without_outline for sample in self.samples
        )

    def with_proposals(self, proposals: Proposals) -> "DetectionDataset":
        """Return the same images, each with its proposals.

        Raises:
            InputError: if an image has none, or its size is another.

        """
        samples = tuple(
            replace(sample, proposals_xyxy=proposals.of(sample.image_path, sample.size_hw))
            for sample in self.samples
        )
        return replace(self, samples=samples)

    def to_coco(self) -> dict[str, Any]:
        """Return the ground truth as COCO's JSON structure, for pycocotools and its kin.

        Annotation ids count from 1: pycocotools takes an id of 0 for "no match". An object that
        has an outline has a `segmentation`, see `edgecv.data.segments.segment_to_coco`; where the
        data set has keypoints, every object has its own, whether labelled or not.
        """
        annotations: list[dict[str, Any]] = []
        for sample in self.samples:
            rows = zip(
                sample.boxes_xyxy.astype(np.float64).tolist(),
                sample.class_ids.tolist(),
                sample.areas.tolist(),
                sample.is_crowd.tolist(),
                sample.outlines,
                [None] * len(sample.areas) if sample.keypoints is None else sample.keypoints,
                strict=True,
            )
            for (x1, y1, x2, y2), class_id, area, is_crowd, segment, points in rows:
                annotation: dict[str, Any] = {
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": self.category_ids[class_id],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": area,
                    "iscrowd": int(is_crowd),
                }
                if segment is not None:
                    annotation["segmentation"] = segment_to_coco(segment)
                if points is not None:
                    annotation["keypoints"] = points.astype(np.float64).ravel().tolist()
                    annotation["num_keypoints"] = int((points[:, 2] > 0).sum())
                annotations.append(annotation)
        named: dict[str, Any] = {}
        if self.keypoint_names:
            limbs = [[start + 1, end + 1] for start, end in self.skeleton]
            named = {"keypoints": list(self.keypoint_names), "skeleton": limbs}
        return {
            "info": {"description": f"{self.name} {self.split}"},
            "images": [
                {
                    "id": sample.image_id,
                    "file_name": sample.image_path.name,
                    "height": sample.size_hw[0],
                    "width": sample.size_hw[1],
                }
                for sample in self.samples
            ],
            "annotations": annotations,
            "categories": [
                {"id": category_id, "name": name, **named}
                for category_id, name in zip(self.category_ids, self.classes, strict=True)
            ],
        }
