"""A frame with its objects on the way to the input: what transforms take and give back."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import tv_tensors

from edgecv.data.masks import draw_polygons, resample_masks
from edgecv.data.samples import Sample
from edgecv.data.segments import RunLengths
from edgecv.data.targets import Target
from edgecv.placement import Placement

Item = dict[str, Tensor]
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom

# Of its box that must be left of an object after a cut. A larger part that counted as background
# would teach the network not to see it; a smaller one shows too little to learn from.
LEAST_SHARE = 0.25

_NUM_CORNERS = 2  # of the visible rectangle, in front of all other points


class PolygonsAt(NamedTuple):
    """An outline whose corners are points of the scene.

    Args:
        begin: the first of them.
        sizes: (R,) corners of each polygon.

    """

    begin: int
    sizes: NDArray[np.int32]

    def of(self, points_xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the corners, and how many each polygon has."""
        return points_xy[self.begin : self.begin + self.sizes.sum()], self.sizes


class BitmapAt(NamedTuple):
    """An outline that is a bitmap of the scene, at this row."""

    row: int


@dataclass(frozen=True, eq=False)
class Shapes:
    """What the points and bitmaps of a scene belong to; fixed while transforms move them.

    Points are, one after another: two opposite corners of what is left of the frame, the corners
    of all polygons, the four corners of each proposal, all keypoints. They are never dropped, so
    that the numbers here stay true.

    Args:
        outlines: of each object; None where no masks are wanted.
        visibility: (N, J) of the keypoints, None where none are wanted.
        mirrored: (J,) which keypoint each becomes in a mirror.
        proposals: where the corners of proposals are among the points, None where none are wanted.

    """

    outlines: tuple[PolygonsAt | BitmapAt, ...] | None = None
    visibility: Tensor | None = None
    mirrored: Tensor | None = None
    proposals: slice | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame and its objects.

    Args:
        item: what torchvision's transforms take: `image` (uint8 [3, H, W]), `boxes` (BoundingBoxes
            xyxy, float32) and `labels` (int64); and where shapes are wanted `rows` (int64, which
            object each box is), `points` (float64 [P, 2], continuous pixels) and `bitmaps`
            (Mask uint8 [M, H, W]).
        shapes: what points and bitmaps are, None where none are wanted.

    """

    item: Item
    shapes: Shapes | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the frame."""
        height, width = self.item["image"].shape[-2:]
        return height, width

    def pixels(self) -> NDArray[np.uint8]:
        """Return the frame, (H, W, 3), a view where its rows are packed."""
        image: Tensor = self.item["image"].as_subclass(torch.Tensor).permute(1, 2, 0)
        is_packed = image.stride()[1:] == (3, 1)
        pixels: NDArray[np.uint8] = (image if is_packed else image.contiguous()).numpy()
        return pixels

    def with_item(self, item: Item) -> "Scene":
        """Return the scene that a transform made of this one's item."""
        return replace(self, item=item)


def scene_of(
    sample: Sample,
    pixels: NDArray[np.uint8],
    *,
    with_masks: bool = False,
    with_keypoints: bool = False,
    with_proposals: bool = False,
    mirrored: Tensor | None = None,
) -> Scene:
    """Return the scene of a sample as it is on disk, without its crowds.

    Args:
        sample: each of its objects has an outline if masks are wanted, and keypoints if they are.
        pixels: (H, W, 3) uint8.
        with_masks: carry outlines along.
        with_keypoints: carry keypoints along.
        with_proposals: carry proposals along.
        mirrored: (J,) which keypoint each becomes in a mirror.

    """
    chosen = np.flatnonzero(~sample.is_crowd)
    height, width = sample.size_hw
    item = annotated(
        torch.from_numpy(pixels).permute(2, 0, 1),
        torch.from_numpy(sample.boxes_xyxy[chosen]),
        torch.from_numpy(sample.class_ids[chosen].astype(np.int64)),
    )
    if not (with_masks or with_keypoints or with_proposals):
        return Scene(item)
    points = [np.array([[0, 0], [width, height]], np.float64)]
    shapes = Shapes()
    item["rows"] = torch.arange(len(chosen))
    if with_masks:
        begin = _NUM_CORNERS
        outlines: list[PolygonsAt | BitmapAt] = []
        bitmaps: list[NDArray[np.bool_]] = []
        for row in chosen:
            segment = sample.segments[row] if sample.segments is not None else None
            if isinstance(segment, RunLengths):
                outlines.append(BitmapAt(len(bitmaps)))
                bitmaps.append(segment.mask())
            elif segment is not None:
                outlines.append(PolygonsAt(begin, segment.sizes))
                points.append(segment.corners_xy)
                begin += len(segment.corners_xy)
            else:
                raise ValueError(f"scene_of: object {row} must have an outline, got none.")
        shapes = replace(shapes, outlines=tuple(outlines))
        if bitmaps:
            item["bitmaps"] = tv_tensors.Mask(torch.from_numpy(np.stack(bitmaps).view(np.uint8)))
    if with_proposals:
        corners = _corners(sample)
        begin = sum(map(len, points))
        shapes = replace(shapes, proposals=slice(begin, begin + len(corners)))
        points.append(corners)
    if with_keypoints:
        keypoints = _labelled_keypoints(sample)[chosen]
        points.append(keypoints[..., :2].reshape(-1, 2).astype(np.float64))
        visibility = torch.from_numpy(keypoints[..., 2])
        shapes = replace(shapes, visibility=visibility, mirrored=mirrored)
    item["points"] = torch.from_numpy(np.concatenate(points))
    return Scene(item, shapes)


def annotated(image: Tensor, boxes_xyxy: Tensor, class_ids: Tensor) -> Item:
    """Wrap an image [3, H, W] with its boxes (K, 4) and classes (K,) for the transforms."""
    height, width = image.shape[-2:]
    boxes = tv_tensors.BoundingBoxes(boxes_xyxy, format="XYXY", canvas_size=(height, width))
    return {"image": tv_tensors.Image(image), "boxes": boxes, "labels": class_ids}


def place(scene: Scene, placement: Placement, corner_xy: tuple[int, int] = (0, 0)) -> Target:
    """Return the objects of a scene in pixels of the input, less what is cut off.

    Args:
        scene: its frame, or the part of it that begins at `corner_xy`, is what was placed.
        placement: of the frame or the part.
        corner_xy: where the part begins, in pixels of the frame.

    """
    boxes = scene.item["boxes"].numpy().astype(np.float32)
    if corner_xy != (0, 0):
        boxes = boxes - np.array(corner_xy * 2, np.float32)
    boxes = placement.to_input(boxes)
    class_ids = scene.item["labels"]
    window = _window(placement)
    is_whole = placement.frame_hw == scene.size_hw and window == _content(placement)
    kept = np.arange(len(boxes)) if is_whole else _kept(boxes, window)
    if not is_whole:
        boxes, class_ids = _clipped(boxes[kept], window), class_ids[kept]
    masks = keypoints = proposals = None
    if scene.shapes is not None:
        rows = scene.item["rows"].numpy()[kept]
        scale_xy = np.array(placement.scale_xy)
        offset_xy = np.array(placement.offset_xy) - np.array(corner_xy) * scale_xy
        points = scene.item["points"].numpy() * scale_xy + offset_xy
        seen = _intersection(points[:_NUM_CORNERS], window)
        shapes = scene.shapes
        if shapes.outlines is not None:
            wanted = [shapes.outlines[row] for row in rows]
            masks = np.zeros((len(rows), *placement.size_hw), np.bool_)
            drawn = [at.of(points) for at in wanted if isinstance(at, PolygonsAt)]
            is_drawn = np.array([isinstance(at, PolygonsAt) for at in wanted], np.bool_)
            masks[is_drawn] = draw_polygons(drawn, placement.size_hw)
            if not is_drawn.all():
                bitmaps = scene.item["bitmaps"].numpy().view(np.bool_)
                bitmaps = bitmaps[[at.row for at in wanted if isinstance(at, BitmapAt)]]
                masks[~is_drawn] = resample_masks(bitmaps, placement.size_hw, scale_xy, offset_xy)
            _cut_to(masks, seen)
        if shapes.visibility is not None:
            keypoints = _keypoints(shapes, shapes.visibility, points, seen)[torch.from_numpy(rows)]
        if shapes.proposals is not None:
            proposals = torch.from_numpy(_enclosing(points[shapes.proposals], seen))
    return Target(
        torch.from_numpy(boxes),
        class_ids,
        None if masks is None else torch.from_numpy(masks),
        keypoints,
        proposals,
    )


def _labelled_keypoints(sample: Sample) -> NDArray[np.float32]:
    if sample.keypoints is None:
        raise ValueError("scene_of: the objects must have keypoints, got none.")
    return sample.keypoints


def _corners(sample: Sample) -> NDArray[np.float64]:
    """Return the four corners of each proposal, (4 P, 2): a box may be turned."""
    if sample.proposals_xyxy is None:
        raise ValueError("scene_of: the image must have proposals, got none.")
    return sample.proposals_xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2).astype(np.float64)


def _enclosing(corners_xy: NDArray[np.float64], seen: Rectangle) -> NDArray[np.float32]:
    """Return the boxes (Q, 4) around four corners each, cut to what is seen, if a pixel is left."""
    corners = corners_xy.reshape(-1, 4, 2)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes = _clipped(boxes.astype(np.float32), seen)
    is_seen = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= 1
    return np.ascontiguousarray(boxes[is_seen], dtype=np.float32)


def _cut_to(masks: NDArray[np.bool_], seen: Rectangle) -> None:
    """Clear the masks' pixels whose centre lies outside of what is seen of the frame."""
    left, top, right, bottom = (max(math.ceil(edge - 0.5), 0) for edge in seen)
    masks[:, :top] = False
    masks[:, bottom:] = False
    masks[:, :, :left] = False
    masks[:, :, right:] = False


def _keypoints(
    shapes: Shapes, visibility: Tensor, points_xy: NDArray[np.float64], seen: Rectangle
) -> Tensor:
    """Return (N, J, 3): keypoints out of sight are zero, as those that were never labelled."""
    points = torch.from_numpy(points_xy[len(points_xy) - visibility.numel() :])
    xy = points.float().reshape(*visibility.shape, 2)
    keypoints = torch.cat([xy, visibility[..., None]], dim=2)
    turned = points_xy[1] - points_xy[0]
    if shapes.mirrored is not None and turned[0] * turned[1] < 0:  # one flip, not two
        keypoints = keypoints[:, shapes.mirrored]
    left, top, right, bottom = seen
    x, y = keypoints[..., 0], keypoints[..., 1]
    is_seen = (left <= x) & (x <= right) & (top <= y) & (y <= bottom) & (keypoints[..., 2] > 0)
    return keypoints * is_seen[..., None]


def _content(placement: Placement) -> Rectangle:
    """Return where the whole frame lies in the input, which may be past its edges."""
    (left, top), (height, width) = placement.offset_xy, placement.resized_hw
    return left, top, left + width, top + height


def _window(placement: Placement) -> Rectangle:
    """Return the part of the input that the frame covers."""
    height, width = placement.size_hw
    return _intersection(np.reshape(_content(placement), (2, 2)), (0, 0, width, height))


def _intersection(corners_xy: NDArray[np.float64], window: Rectangle) -> Rectangle:
    """Return the part of a rectangle, given by opposite corners, that lies in a window."""
    (x1, y1), (x2, y2) = corners_xy.min(axis=0).tolist(), corners_xy.max(axis=0).tolist()
    left, top, right, bottom = window
    return max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)


def _kept(boxes: NDArray[np.float32], window: Rectangle) -> NDArray[np.intp]:
    """Return the rows of boxes of which enough lies in a window, see `LEAST_SHARE`."""
    clipped = _clipped(boxes, window)
    left = (clipped[:, 2:] - clipped[:, :2]).clip(0)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.flatnonzero((left.prod(axis=1) >= LEAST_SHARE * area) & (left.min(axis=1) >= 1))


def _clipped(boxes: NDArray[np.float32], window: Rectangle) -> NDArray[np.float32]:
    left, top, right, bottom = window
    limits = np.array([left, top, left, top]), np.array([right, bottom, right, bottom])
    return boxes.clip(*limits).astype(np.float32)
