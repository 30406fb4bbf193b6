"""Parts of a frame: views of its planes, and results moved back.

A frame stays in its decoder's format and nothing is copied: a view of a `yuv420p` frame are views
of its planes, which the fit kernel reads as they lie. So a region begins at even pixels, and only
what the network needs of it is converted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from edgecv.errors import InputError
from edgecv.frame_formats import frame_size_hw, planes_of
from edgecv.results import Detections, Instances, Poses
from edgecv.stream.sources import Frame

AnyDetections = TypeVar("AnyDetections", bound=Detections)

_SUBSAMPLED = ("yuv420p", "nv12")
_MIN_BAYER_SIDE = 3  # a pixel needs neighbours on both sides


@dataclass(frozen=True)
class Region:
    """Whole pixels of a frame, x1 and y1 included, x2 and y2 not."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y2 - self.y1, self.x2 - self.x1


@dataclass(frozen=True)
class RegionBox:
    """A part of each frame of a source, whatever the frame's size.

    Args:
        box_xyxy: x1, y1, x2, y2.
        is_relative: whether it is in parts of the frame's sides, in [0, 1], or in pixels.

    Raises:
        InputError: if it is empty, or outside of any frame.

    """

    box_xyxy: tuple[float, float, float, float]
    is_relative: bool = False

    def __post_init__(self) -> None:
        """Refuse a box without area."""
        x1, y1, x2, y2 = self.box_xyxy
        if not (0 <= x1 < x2 < float("inf") and 0 <= y1 < y2 < float("inf")):
            raise InputError(
                f"region of interest: the box must be x1 < x2, y1 < y2 and not negative, "
                f"got {self.box_xyxy}."
            )
        if self.is_relative and max(x2, y2) > 1:
            raise InputError(
                f"region of interest: a relative box must be in [0, 1], got {self.box_xyxy}. "
                "Give it in pixels, or divide by the frame's sides."
            )

    def in_frame(self, frame: Frame) -> Region:
        """Return the pixels that it covers, see `region_around`.

        Raises:
            InputError: if a box in pixels lies outside of the frame.

        """
        height, width = frame.size_hw
        scale = (width, height, width, height) if self.is_relative else (1, 1, 1, 1)
        box = [value * side for value, side in zip(self.box_xyxy, scale, strict=True)]
        region = region_around(box, frame)
        if region is None:
            raise InputError(
                f"region of interest: the box {self.box_xyxy} lies outside of the frame of "
                f"{height} x {width} pixels. Give a relative one where sizes vary."
            )
        return region


def region_around(box_xyxy: Sequence[float], frame: Frame, *, margin: float = 0.0) -> Region | None:
    """Return the smallest region of a frame around a box that its format can be cut at.

    Args:
        box_xyxy: x1, y1, x2, y2 in pixels; what sticks out of the frame is cut.
        frame: of any format.
        margin: added on every side, as a share of the box's width and height, at least 0.

    Returns:
        The region, or None if the box has nothing in the frame or is not finite.

    """
    box = np.array(box_xyxy, np.float64)
    height, width = frame.size_hw
    if not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
        return None
    more_xy = margin * (box[2:] - box[:2])
    low = np.clip(np.floor(box[:2] - more_xy), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(box[2:] + more_xy), 0, (width, height)).astype(int)
    if (high <= low).any():
        return None
    is_mosaic = frame.format.startswith("bayer")
    if frame.format in _SUBSAMPLED or is_mosaic:
        low -= low % 2
    elif frame.format == "yuyv422":
        low[0] -= low[0] % 2
        high[0] += high[0] % 2  # the width is even
    if is_mosaic:
        high = np.maximum(high, np.minimum(low + _MIN_BAYER_SIDE, (width, height)))
        low = np.minimum(low, np.maximum(high - _MIN_BAYER_SIDE - 1, 0) // 2 * 2)
    return Region(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def region_view(frame: Frame, region: Region) -> Frame:
    """Return a part of a frame as a frame of its own, with views of the same pixels.

    Args:
        frame: of any format.
        region: as `region_around` makes it: in the frame, its corner where the format can be cut.

    Raises:
        ValueError: if the region is not.

    """
    planes = planes_of("region_view", frame.pixels, frame.format)
    height, width = frame_size_hw(planes)
    fits = 0 <= region.x1 < region.x2 <= width and 0 <= region.y1 < region.y2 <= height
    is_paired = frame.format in _SUBSAMPLED or frame.format.startswith("bayer")
    is_odd = (is_paired and (region.x1 % 2 or region.y1 % 2)) or (
        frame.format == "yuyv422" and (region.x1 % 2 or region.x2 % 2)
    )
    if not fits or is_odd:
        raise ValueError(
            f"region_view: `region` must lie in the frame of {(height, width)} and begin at even "
            f"pixels where {frame.format} shares them, got {region}. Make it with `region_around`."
        )
    views = [planes[0][region.y1 : region.y2, region.x1 : region.x2]]
    for plane in planes[1:]:
        rows = slice(region.y1 // 2, (region.y2 + 1) // 2)
        views.append(plane[rows, region.x1 // 2 : (region.x2 + 1) // 2])
    return replace(frame, pixels=tuple(views) if len(views) > 1 else views[0])


def moved(
    found: AnyDetections, offset_xy: tuple[float, float], frame_hw: tuple[int, int]
) -> AnyDetections:
    """Return detections of a part of a frame in the pixels of the frame.

    Args:
        found: in pixels of the part.
        offset_xy: of the part's corner in the frame.
        frame_hw: height and width of the frame in pixels.

    """
    shift = np.array(offset_xy * 2, np.float32)
    more: dict[str, Any] = {}
    if isinstance(found, Instances):
        more["frame_hw"] = frame_hw
    elif isinstance(found, Poses):
        keypoints = found.keypoints.copy()
        keypoints[..., :2] += shift[:2]
        more["keypoints"] = keypoints
    return replace(found, boxes_xyxy=found.boxes_xyxy + shift, **more)
