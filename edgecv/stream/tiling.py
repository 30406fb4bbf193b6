"""Small objects in large frames: the frame in overlapping tiles, each with all of the network.

Akyon et al., "Slicing Aided Hyper Inference and Fine-tuning for Small Object Detection", ICIP 2022.
"""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.kernels import nms
from edgecv.results import Detections
from edgecv.stream.regions import Region, region_around
from edgecv.stream.runner import (
    OF_OBJECTS,
    Look,
    Seen,
    Step,
    refuse_proposals,
    results_of_parts,
    run_once,
)
from edgecv.stream.sources import Frame

if TYPE_CHECKING:
    from edgecv.runtime.model import Model

Merge = Literal["seams", "iou"]

_AT_SEAM = 0.01  # of a tile's side: a box that ends so near to a seam is taken to be cut by it
_ROWS = 32  # of boxes that are compared with all others at once


class Tiled:
    """A detector that looks at each frame in tiles, and finds what is small in the whole.

    The tiles lie evenly, with at least the overlap that is asked for; they are views, fitted in
    place, and go through the network in batches where it takes them.

    What was found more than once is merged, class by class unless the model suppresses across
    classes. With `iou`, by suppression alone. With `seams`, boxes that no seam cuts suppress one
    another so; of those that end at a seam, one stays only if less than `seam_overlap` of it lies
    in any box that stayed: what a tile cuts is whole in its neighbour or in the frame.

    Args:
        model: of a task that finds objects.
        tile_hw: height and width of a tile in pixels; if None, those of the network's input, so
            that a pixel stays a pixel.
        overlap: of neighbours, as a share of a tile's side, in [0, 1): at least as large as the
            objects to be found in tiles.
        with_whole: whether the whole frame is looked at too, for what is larger than a tile.
        merge: see above.
        seam_overlap: in (0, 1].

    Raises:
        InputError: if the model finds no objects or looks at regions that are proposed outside of
            it, or an option is not as described.

    Example:
        >>> tiled = Tiled(model, overlap=0.25)
        >>> found = tiled(frame)
        >>> for result in edgecv.stream("drone.mp4", tiled):
        ...     print(len(result.detections))

    """

    steps: Sequence[Step] = ()

    def __init__(
        self,
        model: "Model",
        *,
        tile_hw: tuple[int, int] | None = None,
        overlap: float = 0.2,
        with_whole: bool = True,
        merge: Merge = "seams",
        seam_overlap: float = 0.6,
    ) -> None:
        """Wrap an open model."""
        if model.spec.task not in OF_OBJECTS:
            raise InputError(
                f"tiling: the model must find objects, got one of task {model.spec.task}. "
                "Run it on whole frames."
            )
        refuse_proposals("tiling", model)
        self.tile_hw = model.spec.input.size_hw if tile_hw is None else tile_hw
        if min(self.tile_hw) < 2:  # noqa: PLR2004  # pixels that share their colour
            raise InputError(f"tiling: `tile_hw` must be at least 2 x 2, got {self.tile_hw}.")
        if not 0 <= overlap < 1:
            raise InputError(f"tiling: `overlap` must be in [0, 1), got {overlap}.")
        if merge not in ("seams", "iou"):
            raise InputError(f"tiling: `merge` must be one of seams, iou, got {merge!r}.")
        if not 0 < seam_overlap <= 1:
            raise InputError(f"tiling: `seam_overlap` must be in (0, 1], got {seam_overlap}.")
        self.model, self.overlap, self.with_whole = model, overlap, with_whole
        self.merge, self.seam_overlap = merge, seam_overlap
        self.spec, self.looks = model.spec, (Look(model, self._regions),)

    def finish(self, seen: Sequence[Seen]) -> Detections:
        """Return what was found in all tiles, each object once, best score first."""
        (one,) = seen
        regions, results = one.regions or (), results_of_parts(self.model, one)
        parts = [part for part in results if isinstance(part, Detections)]
        is_cut = np.concatenate(
            [
                _ends_at_seam(part.boxes_xyxy, region, one.frame_hw)
                for part, region in zip(parts, regions, strict=True)
            ]
        )
        found = joined(parts)
        wanted = self.model.spec.postprocess
        rows = merged_rows(
            found,
            is_cut if self.merge == "seams" else np.zeros(len(found), bool),
            iou_threshold=wanted.iou_threshold,
            seam_overlap=self.seam_overlap,
            class_agnostic=wanted.class_agnostic,
        )
        return found[rows[: wanted.max_detections]]

    def with_thresholds(self, **thresholds: Any) -> "Tiled":  # noqa: ANN401  # see `Runner`
        """Return the same with other thresholds, see `edgecv.runtime.model.Model`."""
        return Tiled(
            self.model.with_thresholds(**thresholds),
            tile_hw=self.tile_hw,
            overlap=self.overlap,
            with_whole=self.with_whole,
            merge=self.merge,
            seam_overlap=self.seam_overlap,
        )

    def __call__(self, frame: Frame) -> Detections:
        """Return the objects of a frame, in its pixels."""
        return cast("Detections", run_once(self, frame))

    def _regions(self, frame: Frame) -> list[Region]:
        tiles = tiles_of(frame, self.tile_hw, self.overlap)
        height, width = frame.size_hw
        if self.with_whole and len(tiles) > 1:
            tiles.append(Region(0, 0, width, height))
        return tiles


def tiles_of(frame: Frame, tile_hw: tuple[int, int], overlap: float) -> list[Region]:
    """Return tiles that cover a frame, row by row.

    Args:
        frame: of any format; a tile may be a pixel or two larger where the format shares pixels.
        tile_hw: height and width of a tile in pixels; smaller where the frame is.
        overlap: least share of a side that neighbours have in common, in [0, 1).

    """
    (height, width), (tile_h, tile_w) = frame.size_hw, tile_hw
    tiles = [
        region_around((x, y, x + tile_w, y + tile_h), frame)
        for y in _starts(height, tile_h, overlap)
        for x in _starts(width, tile_w, overlap)
    ]
    # Rounded to whole pixels of the format, the last but one may begin where the last does.
    distinct = {(tile.y1, tile.x1): tile for tile in tiles if tile is not None}
    return list(distinct.values())


def joined(parts: Sequence[Detections]) -> Detections:
    """Return the detections of several parts, one after the other; all of one class."""
    first = parts[0]
    columns: dict[str, Any] = {}
    for field in fields(first):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], np.ndarray):
            columns[field.name] = np.concatenate(values)
    return replace(first, **columns)


def merged_rows(
    found: Detections,
    is_cut: NDArray[np.bool_],
    *,
    iou_threshold: float,
    seam_overlap: float,
    class_agnostic: bool = False,
) -> NDArray[np.int64]:
    """Return the rows of detections that stay, best score first, see `Tiled`.

    Args:
        found: of all tiles.
        is_cut: (N,) bool, which boxes end at a seam.
        iou_threshold: of suppression among those that do not, in [0, 1].
        seam_overlap: share of one that does, within a box that stayed, from which on it goes.
        class_agnostic: whether classes suppress one another.

    """
    boxes, scores = found.boxes_xyxy, found.scores
    kinds = np.zeros_like(found.class_ids) if class_agnostic else found.class_ids
    whole, cut = np.flatnonzero(~is_cut), np.flatnonzero(is_cut)
    kept = whole[nms(boxes[whole], scores[whole], kinds[whole], iou_threshold=iou_threshold)]
    cut = cut[np.argsort(-scores[cut], kind="stable")]
    for kind in np.unique(kinds[cut]):
        rivals, pieces = kept[kinds[kept] == kind], cut[kinds[cut] == kind]
        pieces = pieces[~_overlaps(boxes[pieces], boxes[rivals], seam_overlap).any(axis=1)]
        overlaps = _overlaps(boxes[pieces], boxes[pieces], seam_overlap)
        stays = np.ones(len(pieces), bool)
        for i in range(len(pieces)):
            if stays[i]:  # a piece that goes takes no other with it
                stays[i + 1 :] &= ~overlaps[i, i + 1 :]
        kept = np.append(kept, pieces[stays])
    order = np.argsort(-scores[kept], kind="stable")
    return kept[order].astype(np.int64)


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    """Return where tiles begin along one side, evenly, the last at the end of the frame."""
    if tile >= length:
        return [0]
    stride = max(1.0, tile * (1 - overlap))
    count = math.ceil((length - tile) / stride) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _ends_at_seam(
    boxes_xyxy: NDArray[np.float32], region: Region, frame_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return which boxes end where a tile does and the frame does not, (N,) bool."""
    height, width = region.size_hw
    near_x, near_y = max(2.0, _AT_SEAM * width), max(2.0, _AT_SEAM * height)
    x1, y1, x2, y2 = boxes_xyxy.T
    cut: NDArray[np.bool_] = np.zeros(len(boxes_xyxy), bool)
    if region.x1 > 0:
        cut |= x1 <= region.x1 + near_x
    if region.y1 > 0:
        cut |= y1 <= region.y1 + near_y
    if region.x2 < frame_hw[1]:
        cut |= x2 >= region.x2 - near_x
    if region.y2 < frame_hw[0]:
        cut |= y2 >= region.y2 - near_y
    return cut


def _areas(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    areas: NDArray[np.float32] = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0).prod(axis=1)
    return areas


def _overlaps(
    boxes_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float32], share: float
) -> NDArray[np.bool_]:
    """Return which boxes have more than a share of the smaller of both in common, (N, M) bool.

    Of the smaller one: a piece may also be the larger one, of a box that is a piece too.
    """
    found: NDArray[np.bool_] = np.empty((len(boxes_xyxy), len(others_xyxy)), bool)
    areas = _areas(others_xyxy)
    x1, y1, x2, y2 = np.ascontiguousarray(others_xyxy.T)
    for first in range(0, len(found), _ROWS):  # what lies between stays in the caches
        some = boxes_xyxy[first : first + _ROWS]
        left, top, right, bottom = some.T[..., None]
        shared = np.maximum(np.minimum(right, x2) - np.maximum(left, x1), 0)
        shared *= np.maximum(np.minimum(bottom, y2) - np.maximum(top, y1), 0)
        found[first : first + _ROWS] = shared > share * np.minimum(_areas(some)[:, None], areas)
    return found
