"""Pictures whose objects are found again by their colour, whatever moved them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecv.data.masks import draw_polygons
from edgecv.data.samples import Sample
from edgecv.data.segments import Polygons, RunLengths, Segment

SIZE_HW = (240, 320)
BACKGROUND = 90
BOXES = np.array(
    [
        *([20, 30, 90, 80], [110, 20, 180, 110], [210, 40, 300, 100]),
        *([40, 130, 120, 210], [150, 140, 190, 200], [220, 130, 310, 220]),
    ],
    np.float32,
)
# Corners and edge centres of the colour cube, far from each other and from the background.
COLOURS = np.array(
    [
        *([235, 20, 20], [20, 235, 20], [20, 20, 235]),
        *([235, 235, 20], [20, 235, 235], [235, 20, 235]),
        *([235, 128, 20], [128, 235, 20], [20, 128, 235]),
        *([128, 20, 235], [235, 20, 128], [20, 235, 128]),
        *([250, 250, 250], [5, 5, 5], [250, 170, 170]),
        *([170, 250, 170], [170, 170, 250], [170, 170, 20]),
        *([130, 10, 10], [10, 130, 10], [10, 10, 130]),
        *([130, 130, 10], [10, 130, 130], [130, 10, 130]),
    ],
    np.uint8,
).reshape(4, 6, 3)
KEYPOINT_NAMES = ("left_end", "right_end", "middle")


def corners_of(box: Any, shape: str) -> Any:
    """The outline of an object: its box, or an L in it that no flip leaves as it is."""
    x1, y1, x2, y2 = box
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    if shape == "box":
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64)
    return np.array([[x1, y1], [x2, y1], [x2, y], [x, y], [x, y2], [x1, y2]], np.float64)


def picture(which: int = 0, *, shape: str = "box", outline: str = "polygons") -> tuple[Sample, Any]:
    """A sample with six objects in colours of its own, and its pixels.

    Class ids count on from sample to sample: the class tells the colour.
    """
    pixels = np.full((*SIZE_HW, 3), BACKGROUND, np.uint8)
    segments: list[Segment] = []
    keypoints = []
    for box, colour in zip(BOXES, COLOURS[which], strict=True):
        polygon = Polygons(
            corners_of(box, shape), np.array([len(corners_of(box, shape))], np.int32)
        )
        (mask,) = draw_polygons([(polygon.corners_xy, polygon.sizes)], SIZE_HW)
        pixels[mask] = colour
        segments.append(polygon if outline == "polygons" else run_lengths(mask))
        x1, y1, x2, y2 = box
        height = y1 + (y2 - y1) / 4
        keypoints.append([[x1 + 8, height, 2], [x2 - 8, height, 2], [(x1 + x2) / 2, height - 4, 1]])
    sample = Sample(
        image_path=Path("made"),
        image_id=1 + which,
        size_hw=SIZE_HW,
        boxes_xyxy=BOXES,
        class_ids=np.arange(6, dtype=np.int32) + 6 * which,
        areas=np.ones(6, np.float32),
        is_crowd=np.zeros(6, np.bool_),
        segments=tuple(segments),
        keypoints=np.array(keypoints, np.float32),
    )
    return sample, pixels


def run_lengths(mask: Any) -> RunLengths:
    changes = np.flatnonzero(np.diff(mask.T.ravel(), prepend=False))
    return RunLengths(np.diff([0, *changes, mask.size]), mask.shape)


def without_objects(sample: Sample) -> Sample:
    return replace(
        sample,
        boxes_xyxy=sample.boxes_xyxy[:0],
        class_ids=sample.class_ids[:0],
        areas=sample.areas[:0],
        is_crowd=sample.is_crowd[:0],
        segments=None,
        keypoints=None,
    )


def region(image: Any, class_id: int) -> Any:
    """Where an image, float [3, H, W] in 0..1, has the colour of a class: (H, W) bool."""
    colour = COLOURS.reshape(-1, 3)[class_id].astype(np.float32) / 255
    return (np.abs(np.asarray(image) - colour[:, None, None]) < 0.04).all(axis=0)


def bounds(found: Any) -> Any:
    """The box around the pixels of a region."""
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def grown(mask: Any, radius: int, *, beyond: bool = False) -> Any:
    """A mask grown by a square of so many pixels to each side; `beyond` is what lies around it."""
    height, width = mask.shape
    padded = np.pad(mask, radius, constant_values=beyond)
    shifts = range(2 * radius + 1)
    rows = np.logical_or.reduce([padded[shift : shift + height] for shift in shifts])
    return np.logical_or.reduce([rows[:, shift : shift + width] for shift in shifts])
