"""The outline of an object as annotation files state it: polygons or run lengths, kept compact.

A mask of every object of a data set does not fit into memory; what is here is about as small as
the file it came from, and becomes a mask only where one is needed.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Polygons:
    """The union of polygons.

    Args:
        corners_xy: (P, 2) float64 pixels in continuous coordinates, of one polygon after another.
            Not float32: what lies halfway between two pixels must stay there.
        sizes: (R,) int32, corners of each polygon, at least 3; they add up to P.

    """

    corners_xy: NDArray[np.float64]
    sizes: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class RunLengths:
    """A mask as the lengths of its runs, column by column, the first of them outside.

    Args:
        counts: (R,) int64, pixels; they add up to the image's.
        size_hw: the image's height and width.

    """

    counts: NDArray[np.int64]
    size_hw: tuple[int, int]

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask, (H, W)."""
        is_inside = np.arange(len(self.counts)) % 2 == 1
        height, width = self.size_hw
        columns = np.repeat(is_inside, self.counts).reshape(width, height)
        return np.ascontiguousarray(columns.T)


Segment: TypeAlias = Polygons | RunLengths


def segment_to_coco(segment: Segment) -> list[list[float]] | dict[str, Any]:
    """Return an outline as COCO's `segmentation`: polygons, or run lengths uncompressed."""
    if isinstance(segment, RunLengths):
        return {"size": list(segment.size_hw), "counts": segment.counts.tolist()}
    rings = np.split(segment.corners_xy, np.cumsum(segment.sizes)[:-1])
    return [ring.ravel().tolist() for ring in rings]
