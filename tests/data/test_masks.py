"""Masks are drawn as COCO's mask API draws them, and resampled by the nearest pixel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("faster_coco_eval")
mask_api = pytest.importorskip("pycocotools.mask")

from edgecv.data.coco import read_coco  # noqa: E402
from edgecv.data.masks import draw_polygons, resample_masks  # noqa: E402
from edgecv.data.segments import Polygons  # noqa: E402

# pycocotools itself is older than NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

coordinates = st.integers(-40, 400).map(lambda tenths: tenths / 10)  # ties between pixels too
rings = st.lists(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8), min_size=1)


def drawn_by_pycocotools(polygons: list[Any], size_hw: tuple[int, int]) -> Any:
    flat = [[number for corner in ring for number in corner] for ring in polygons]
    return mask_api.decode(mask_api.merge(mask_api.frPyObjects(flat, *size_hw)))


@given(polygons=rings, size_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_polygons_are_drawn_as_by_pycocotools(polygons: Any, size_hw: tuple[int, int]) -> None:
    corners_xy = np.array([corner for ring in polygons for corner in ring], np.float64)
    sizes = np.array([len(ring) for ring in polygons], np.int32)
    (mask,) = draw_polygons([(corners_xy, sizes)], size_hw)
    np.testing.assert_array_equal(mask, drawn_by_pycocotools(polygons, size_hw))


def test_official_outlines_are_drawn_as_by_pycocotools(shared_data: Path) -> None:
    for sample in read_coco(shared_data / "coco", "train").samples[:60]:
        outlines = [s for s in sample.segments or () if isinstance(s, Polygons)]
        masks = draw_polygons([(s.corners_xy, s.sizes) for s in outlines], sample.size_hw)
        for mask, outline in zip(masks, outlines, strict=True):
            polygons = np.split(outline.corners_xy, np.cumsum(outline.sizes)[:-1])
            np.testing.assert_array_equal(mask, drawn_by_pycocotools(polygons, sample.size_hw))


def test_no_object_is_no_mask() -> None:
    assert draw_polygons([], (3, 4)).shape == (0, 3, 4)


@given(
    scale=st.tuples(st.sampled_from([-1.5, -1, 0.5, 1, 2.25]), st.sampled_from([-2, 0.75, 1])),
    offset=st.tuples(st.floats(-6, 12), st.floats(-6, 12)),
)
def test_resampling_takes_the_nearest_pixel(scale: Any, offset: Any) -> None:
    masks = np.random.default_rng(0).random((2, 7, 9)) < 0.5
    found = resample_masks(masks, (8, 10), np.array(scale), np.array(offset))
    expected = np.zeros((2, 8, 10), np.bool_)
    for row in range(8):
        for column in range(10):
            x = int(np.floor((column + 0.5 - offset[0]) / scale[0]))
            y = int(np.floor((row + 0.5 - offset[1]) / scale[1]))
            if 0 <= x < 9 and 0 <= y < 7:
                expected[:, row, column] = masks[:, y, x]
    np.testing.assert_array_equal(found, expected)
