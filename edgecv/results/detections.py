"""Objects in a frame, with their masks or keypoints where a model finds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecv.results.attributes import Attributes
from edgecv.results.result import Result, supervision_module

if TYPE_CHECKING:
    import supervision
    from typing_extensions import Self

# Which rows of detections: as NumPy selects them along one axis, never a single number.
Rows: TypeAlias = "slice | Sequence[int] | NDArray[np.bool_] | NDArray[np.integer[Any]]"


@dataclass(frozen=True, eq=False)
class Detections(Result):
    """The objects found in one frame, best score first.

    Args:
        boxes_xyxy: (N, 4) float32, x1, y1, x2, y2 in pixels of the original frame. An object
            that the frame cuts may reach past its edge, as far as the network saw it: see `clip`.
        scores: (N,) float32 in [0, 1], descending.
        class_ids: (N,) int32, indices into the model's `classes`.
        track_ids: (N,) int64, which object it is, the same from frame to frame; -1 where that is
            not known yet. None if nobody tracks, see `edgecv.stream.tracking`.
        attributes: what second models tell of each object, by name, see
            `edgecv.stream.crops.Cascade`.

    """

    KEY: ClassVar[str] = "detections"
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    track_ids: NDArray[np.int64] | None = field(default=None, kw_only=True)
    attributes: Mapping[str, Attributes] = field(default_factory=dict, kw_only=True)

    @staticmethod
    def empty() -> "Detections":
        """Return the detections of a frame in which nothing was found."""
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        )

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.scores)

    def __getitem__(self, rows: Rows) -> "Self":
        """Return some of the objects, with all that is known of them.

        Args:
            rows: a slice, (N,) bool or row numbers, as NumPy takes them.

        Example:
            >>> sure = detections[detections.scores > 0.5]

        """
        if isinstance(rows, int | np.integer):
            raise TypeError(
                f"Detections: `rows` must select along the axis, got {rows}. "
                f"Take `detections[{rows}:{rows + 1}]`, or `boxes_xyxy[{rows}]`."
            )
        chosen = rows if isinstance(rows, slice) else np.asarray(rows)
        if isinstance(chosen, np.ndarray) and chosen.size == 0 and chosen.dtype.kind != "b":
            chosen = chosen.astype(np.intp)  # of an empty list NumPy makes floats
        parts = {name: getattr(self, name)[chosen] for name in self._names_of_columns()}
        attributes = {name: told[chosen] for name, told in self.attributes.items()}
        return replace(self, attributes=attributes, **parts)

    @property
    def tracked(self) -> "Self":
        """The objects that have a track id; none of them if nobody tracks."""
        if self.track_ids is None:
            return self[:0]
        return self[self.track_ids >= 0]

    def _names_of_columns(self) -> list[str]:
        """Return the fields that have a row for every object."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return [name for name, value in values.items() if isinstance(value, np.ndarray)]

    def clip(self, size_hw: tuple[int, int]) -> "Detections":
        """Return the same objects with boxes cut at the edges of a frame, ready for slicing it.

        Args:
            size_hw: height and width of the frame in pixels.

        """
        height, width = size_hw
        limit = np.array([width, height, width, height], np.float32)
        inside = np.clip(self.boxes_xyxy, np.float32(0), limit)
        return Detections(
            inside,
            self.scores,
            self.class_ids,
            track_ids=self.track_ids,
            attributes=self.attributes,
        )

    def to_records(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Return one JSON-ready dictionary per object: class, class_id, score, box_xyxy.

        Of tracked objects also track_id, None where it is not known yet; after second models
        attributes, by name the records of what each told, None where it left the object out.
        """
        records = [
            {
                "class": classes[class_id],
                "class_id": class_id,
                "score": round(score, 5),
                "box_xyxy": [round(value, 2) for value in box],
            }
            for box, score, class_id in zip(
                self.boxes_xyxy.tolist(), self.scores.tolist(), self.class_ids.tolist(), strict=True
            )
        ]
        if self.attributes:
            told = {name: each.to_records() for name, each in self.attributes.items()}
            for row, record in enumerate(records):
                record["attributes"] = {name: values[row] for name, values in told.items()}
        return self._with_track_ids(records)

    def _with_track_ids(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.track_ids is not None:
            for record, track_id in zip(records, self.track_ids.tolist(), strict=True):
                record["track_id"] = track_id if track_id >= 0 else None
        return records

    def counted(self) -> list[int]:
        """Return the class id of each object."""
        ids: list[int] = self.class_ids.tolist()
        return ids

    def headline(self, classes: Sequence[str]) -> str:
        """Return how many objects there are, and of which classes."""
        names = [classes[class_id] for class_id in self.counted()]
        found = [f"{names.count(name)} {name}" for name in dict.fromkeys(names)]
        return ", ".join(found) or "no object"

    def to_coco(self, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return COCO result records (`bbox` is x, y, width, height in pixels).

        Those of tracked objects have a `track_id` as in TAO, None where it is not known yet.

        Args:
            image_id: the image's id in the annotation file.
            category_ids: the category id of each class, in the order of the model's `classes`.

        """
        boxes_xywh = self.boxes_xyxy.astype(np.float64)
        boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
        records: list[dict[str, Any]] = [
            {
                "image_id": image_id,
                "category_id": category_ids[class_id],
                "bbox": box,
                "score": score,
            }
            for box, score, class_id in zip(
                boxes_xywh.tolist(), self.scores.tolist(), self.class_ids.tolist(), strict=True
            )
        ]
        return self._with_track_ids(records)

    def to_supervision(self) -> "supervision.Detections":
        """Return the same objects as `supervision.Detections`, track ids as its `tracker_id`.

        What second models told is in `data`, by name, as words.

        Raises:
            MissingDependencyError: if the package `supervision` is not installed.

        """
        ids = None if self.track_ids is None else self.track_ids.astype(int)
        found = supervision_module().Detections(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.class_ids.astype(int),
            tracker_id=ids,
        )
        for name, told in self.attributes.items():
            found.data[name] = np.array(told.labels())
        return found


@dataclass(frozen=True, eq=False)
class Instances(Detections):
    """Detections whose outlines are known, as instance segmentation finds them.

    The masks are as small as the network made them; `frame_masks` paints them into the frame.
    `clip` returns `Detections`: a mask belongs to its whole box.

    Args:
        boxes_xyxy: see `Detections`.
        scores: see `Detections`.
        class_ids: see `Detections`.
        masks: (N, M, M) float32, for each cell of a grid over the box the probability that it is
            of the object.
        frame_hw: height and width of the frame in pixels.

    """

    masks: NDArray[np.float32]
    frame_hw: tuple[int, int]

    def frame_masks(self, *, threshold: float = 0.5) -> NDArray[np.bool_]:
        """Return which pixels of the frame each object covers, (N, H, W) bool.

        Args:
            threshold: a pixel is covered if its probability is greater, in [0, 1].

        """
        from edgecv.kernels import paste_masks  # noqa: PLC0415  # kernels return results

        return paste_masks(self.masks, self.boxes_xyxy, self.frame_hw, threshold=threshold)

    def to_coco(self, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return COCO result records with their `segmentation`, see `Detections.to_coco`."""
        from edgecv.kernels import paste_masks_rle  # noqa: PLC0415

        runs = paste_masks_rle(self.masks, self.boxes_xyxy, self.frame_hw)
        records = super().to_coco(image_id, category_ids)
        for record, rle in zip(records, runs, strict=True):
            record["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
        return records

    def to_supervision(self) -> "supervision.Detections":
        """Return the same objects as `supervision.Detections`, with masks over the frame.

        Raises:
            MissingDependencyError: if the package `supervision` is not installed.

        """
        found = super().to_supervision()
        found.mask = self.frame_masks()
        return found


@dataclass(frozen=True, eq=False)
class Poses(Detections):
    """Detections of which J points are known, as keypoint detection finds them.

    Every detection has all of them, also those that are hidden or out of the frame, and where its
    class has no such points: their scores are low then.

    Args:
        boxes_xyxy: see `Detections`.
        scores: see `Detections`.
        class_ids: see `Detections`.
        keypoints: (N, J, 3) float32, x and y in pixels of the original frame and a score in
            [0, 1], see `edgecv.models.keypoint_head.decode_heatmaps`.
        names: of the J points.
        skeleton: pairs of rows of `names` that a limb joins.

    """

    keypoints: NDArray[np.float32]
    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...] = ()

    def clip(self, size_hw: tuple[int, int]) -> "Poses":
        """Return the same objects with boxes cut at the edges of a frame; no point moves.

        Args:
            size_hw: height and width of the frame in pixels.

        """
        return replace(self, boxes_xyxy=super().clip(size_hw).boxes_xyxy)

    def to_records(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Return what `Detections` does, with `keypoints`: x, y and score by name."""
        records = super().to_records(classes)
        for record, points in zip(records, self.keypoints.tolist(), strict=True):
            record["keypoints"] = {
                name: [round(x, 2), round(y, 2), round(score, 5)]
                for name, (x, y, score) in zip(self.names, points, strict=True)
            }
        return records

    def to_coco(self, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return COCO result records with their `keypoints`, see `Detections.to_coco`."""
        records = super().to_coco(image_id, category_ids)
        for record, points in zip(records, self.keypoints.astype(np.float64), strict=True):
            record["keypoints"] = points.ravel().tolist()
        return records

    def to_supervision(self) -> "supervision.Detections":
        """Return the same objects as `supervision.Detections`, their points in `data`.

        `data["keypoints"]` is (N, J, 2) and `data["keypoint_scores"]` (N, J); `supervision` has a
        `KeyPoints` of its own, without boxes.

        Raises:
            MissingDependencyError: if the package `supervision` is not installed.

        """
        found = super().to_supervision()
        found.data["keypoints"] = self.keypoints[..., :2]
        found.data["keypoint_scores"] = self.keypoints[..., 2]
        return found
