"""What lines and zones have in common: where they lie in the frame, and where objects are."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.results import Detections

Anchor = Literal["centre", "bottom", "top", "left", "right"]
ANCHORS: tuple[Anchor, ...] = get_args(Anchor)

Units = Literal["pixels", "relative"]
UNITS: tuple[Units, ...] = get_args(Units)

PointXY: TypeAlias = tuple[float, float]
Points: TypeAlias = NDArray[np.float64]  # (N, 2)

# Of x1, y1, x2, y2 in the point's x and y.
_WEIGHTS: dict[Anchor, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "centre": ((0.5, 0, 0.5, 0), (0, 0.5, 0, 0.5)),
    "bottom": ((0.5, 0, 0.5, 0), (0, 0, 0, 1)),
    "top": ((0.5, 0, 0.5, 0), (0, 1, 0, 0)),
    "left": ((1, 0, 0, 0), (0, 0.5, 0, 0.5)),
    "right": ((0, 0, 1, 0), (0, 0.5, 0, 0.5)),
}


@dataclass(frozen=True)
class Sighting:
    """A tracked object in one frame.

    Args:
        track_id: its id.
        class_id: its class.
        point_xy: its anchor in pixels.
        size: the mean side of its box in pixels.

    """

    track_id: int
    class_id: int
    point_xy: PointXY
    size: float


def anchor_points(boxes_xyxy: NDArray[np.float32], anchor: Anchor) -> Points:
    """Return where each object is taken to be: (N, 2) float64, in pixels.

    Args:
        boxes_xyxy: (N, 4).
        anchor: the box's centre, or the middle of one of its sides: `bottom` is where things
            stand on the ground.

    """
    points: Points = boxes_xyxy.astype(np.float64) @ np.array(_WEIGHTS[anchor]).T
    return points


def sightings(
    function: str, detections: Detections, anchor: Anchor, class_ids: tuple[int, ...] | None
) -> Iterator[Sighting]:
    """Yield the tracked objects of some classes.

    Raises:
        InputError: in the name of `function`, if the detections are not tracked.

    """
    if detections.track_ids is None:
        raise InputError(
            f"{function}: the detections have no track ids. Give those that `Tracker.update` "
            "returned."
        )
    found = detections.tracked
    if found.track_ids is None or len(found) == 0:
        return
    sides = np.maximum(found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2], 0).astype(np.float64)
    for track_id, class_id, (x, y), size in zip(
        found.track_ids.tolist(),
        found.class_ids.tolist(),
        anchor_points(found.boxes_xyxy, anchor).tolist(),
        np.sqrt(sides.prod(axis=1)).tolist(),
        strict=True,
    ):
        if class_ids is None or class_id in class_ids:
            yield Sighting(track_id, class_id, (x, y), size)


def check_place(
    kind: str,
    name: str,
    points_xy: Sequence[PointXY],
    units: Units,
    anchor: Anchor,
    margin: float,
    lost_s: float,
) -> None:
    """Refuse what no line or zone can have.

    Raises:
        InputError: in the name of the `kind`.

    """
    if not name:
        raise InputError(f"{kind}: `name` must not be empty.")
    where = f"{kind} `{name}`"
    for field, value, choices in (("units", units, UNITS), ("anchor", anchor, ANCHORS)):
        if value not in choices:
            raise InputError(
                f"{where}: `{field}` must be one of {', '.join(choices)}, got {value!r}."
            )
    for point in points_xy:
        if not all(map(math.isfinite, point)):
            raise InputError(f"{where}: a point must be finite, got {point}.")
        if units == "relative" and not all(0 <= value <= 1 for value in point):
            raise InputError(
                f"{where}: a relative point must be in [0, 1], got {point}. "
                'For pixels, set `units = "pixels"`.'
            )
    for field, number in (("margin", margin), ("lost_s", lost_s)):
        if not (number >= 0 and math.isfinite(number)):
            raise InputError(f"{where}: `{field}` must be finite and at least 0, got {number}.")


def in_pixels(points_xy: Sequence[PointXY], units: Units, frame_hw: tuple[int, int]) -> Points:
    """Return points of a configuration in the pixels of a frame, (N, 2) float64."""
    points = np.array(points_xy, np.float64)
    return points if units == "pixels" else points * np.array(frame_hw[::-1], np.float64)


def check_time(function: str, at_s: float) -> None:
    """Refuse a time that is none."""
    if not math.isfinite(at_s):
        raise ValueError(f"{function}: `at_s` must be finite, got {at_s}.")
