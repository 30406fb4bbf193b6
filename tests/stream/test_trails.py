"""Trails: behind their objects, in their colours, no longer than they may be."""

import numpy as np
import pytest

from edgecv.colour import PALETTE_RGB
from edgecv.results import Detections
from edgecv.stream.draw import draw_detections
from edgecv.stream.trails import Trails

from .test_lines import tracked


def test_a_trail_lies_where_its_object_was() -> None:
    trails = Trails()
    for step in range(10):
        found = tracked((3, 50 + 10 * step, 100))
        trails.add(found, step / 10)
    pixels = np.zeros((720, 1280, 3), np.uint8)
    trails.draw(pixels, found, format="rgb24")
    for x in (60, 100, 135):
        assert pixels[100, x].tolist() == PALETTE_RGB[3].tolist()
    assert not pixels[:95].any()
    assert not pixels[106:].any()
    assert not pixels[:, :45].any()
    width = (pixels.any(axis=2)).sum(axis=0)
    assert width[60] < width[135]  # thinner with time


def test_a_trail_ends_after_its_time_and_with_its_object() -> None:
    trails = Trails(length_s=0.25)
    for step in range(100):
        trails.add(tracked((step // 50, 3 * step, 100)), step / 10)
        assert sum(len(trail.points) for trail in trails._trails.values()) <= 3
    trails.add(tracked((9, 5, 5)), 0.0)  # time begins anew
    assert list(trails._trails) == [9]


@pytest.mark.parametrize("format_", ["bgr24", "gray8", "nv12", "yuv420p"])
def test_every_canvas_takes_trails(format_: str) -> None:
    from edgecv.kernels.drawing import _new_frame

    pixels = _new_frame((120, 160), format_)  # type: ignore[arg-type]
    planes = pixels if isinstance(pixels, tuple) else (pixels,)
    for plane in planes:
        plane[:] = 0
    trails = Trails()
    for step in range(5):
        found = tracked((1, 20.0 + 20 * step, 60))
        trails.add(found, step / 10)
    trails.draw(pixels, found, format=format_)  # type: ignore[arg-type]
    assert all(plane.any() for plane in planes)


def test_without_tracks_there_is_nothing_to_draw() -> None:
    trails, pixels = Trails(), np.zeros((50, 50, 3), np.uint8)
    trails.add(Detections.empty(), 0.0)
    trails.draw(pixels, Detections.empty())
    assert not pixels.any()
    with pytest.raises(ValueError, match=r"^Trails: `length_s` must be above 0 and finite, got 0"):
        Trails(length_s=0)


def test_tracks_are_told_apart_by_colour_and_number() -> None:
    first, second = np.zeros((2, 200, 300, 3), np.uint8)
    draw_detections(first, tracked((1, 100, 150), side=60), ["cat"], format="rgb24")
    draw_detections(second, tracked((2, 100, 150), side=60), ["cat"], format="rgb24")
    assert first[149, 100].tolist() == PALETTE_RGB[1].tolist()
    assert second[149, 100].tolist() == PALETTE_RGB[2].tolist()
    unknown = np.zeros((200, 300, 3), np.uint8)
    draw_detections(unknown, tracked((-1, 100, 150), side=60), ["cat"], format="rgb24")
    assert unknown[149, 100].tolist() == PALETTE_RGB[0].tolist()  # its class's
