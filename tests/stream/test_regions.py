"""Parts of frames: views of every format show what the frame does, and results come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.frame_formats import FRAME_FORMATS, FrameFormat
from edgecv.results import Detections, Instances, Poses
from edgecv.stream.regions import Region, moved, region_around, region_view
from edgecv.stream.sources import Frame

HEIGHT, WIDTH = 38, 54


def frame_of(format_: FrameFormat, size_hw: tuple[int, int] = (HEIGHT, WIDTH)) -> Frame:
    """A frame of noise, in planes as a decoder hands them over."""
    rng = np.random.default_rng(0)
    height, width = size_hw
    half = (height + 1) // 2, (width + 1) // 2
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "yuv420p": ((height, width), half, half),
        "nv12": ((height, width), (*half, 2)),
        "yuyv422": ((height, width, 2),),
        "bgr24": ((height, width, 3),),
        "rgb24": ((height, width, 3),),
    }
    planes = tuple(
        rng.integers(0, 256, shape).astype(np.uint8)
        for shape in shapes.get(format_, ((height, width),))
    )
    return Frame(3, planes if len(planes) > 1 else planes[0], format_, pts_s=0.5, matrix="bt709")


boxes = st.tuples(
    st.floats(-10, WIDTH + 10), st.floats(-10, HEIGHT + 10), st.floats(0.1, 60), st.floats(0.1, 60)
)


@given(format_=st.sampled_from(FRAME_FORMATS), box=boxes, margin=st.sampled_from([0.0, 0.25]))
def test_a_view_shows_what_the_frame_does(
    format_: FrameFormat, box: tuple[float, float, float, float], margin: float
) -> None:
    frame = frame_of(format_)
    x, y, width, height = box
    region = region_around((x, y, x + width, y + height), frame, margin=margin)
    is_outside = x - margin * width >= WIDTH or y - margin * height >= HEIGHT
    is_outside |= x + (1 + margin) * width <= 0 or y + (1 + margin) * height <= 0
    assert (region is None) == is_outside
    if region is None:
        return
    # All of the box that is in the frame, and no more than shared pixels ask for.
    low = np.maximum([x - margin * width, y - margin * height], 0)
    high = np.minimum([x + (1 + margin) * width, y + (1 + margin) * height], [WIDTH, HEIGHT])
    assert (np.array([region.x1, region.y1]) <= low).all()
    assert (np.array([region.x2, region.y2]) >= high).all()
    assert (np.array(region.size_hw[::-1]) <= high - low + 6).all()

    view = region_view(frame, region)
    assert view.size_hw == region.size_hw
    assert (view.index, view.pts_s, view.matrix) == (3, 0.5, "bt709")
    whole = frame.to_array()[region.y1 : region.y2, region.x1 : region.x2]
    part = view.to_array()
    if format_.startswith("bayer"):  # of the outermost pixels a neighbour is missing
        whole, part = whole[1:-1, 1:-1], part[1:-1, 1:-1]
    np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize("format_", FRAME_FORMATS)
def test_no_pixel_is_copied(format_: FrameFormat) -> None:
    frame = frame_of(format_)
    view = region_view(frame, Region(10, 6, 30, 21))
    parts = view.pixels if isinstance(view.pixels, tuple) else (view.pixels,)
    planes = frame.pixels if isinstance(frame.pixels, tuple) else (frame.pixels,)
    assert all(np.shares_memory(part, plane) for part, plane in zip(parts, planes, strict=True))


@pytest.mark.parametrize("format_", ["yuv420p", "nv12"])
def test_frames_in_one_array_and_of_odd_sides(format_: FrameFormat) -> None:
    size_hw = (30, 42)
    planes = frame_of(format_, size_hw).pixels
    together = np.concatenate([plane.ravel() for plane in planes]).reshape(-1, 42)
    frame = Frame(0, together, format_)
    whole = frame.to_array()
    region = Region(4, 8, 40, 30)
    np.testing.assert_array_equal(region_view(frame, region).to_array(), whole[8:, 4:40])
    odd = frame_of(format_, (31, 43))
    part = region_view(odd, Region(4, 8, 43, 31)).to_array()
    np.testing.assert_array_equal(part, odd.to_array()[8:, 4:])


@pytest.mark.parametrize(
    ("format_", "region"),
    [
        ("bgr24", Region(0, 0, WIDTH + 1, 5)),
        ("bgr24", Region(-1, 0, 5, 5)),
        ("bgr24", Region(5, 5, 5, 9)),
        ("nv12", Region(1, 0, 9, 9)),
        ("yuv420p", Region(0, 1, 9, 9)),
        ("yuyv422", Region(0, 0, 9, 9)),
        ("bayer_rggb8", Region(0, 1, 9, 9)),
    ],
)
def test_refuses_a_region_that_cannot_be_cut(format_: FrameFormat, region: Region) -> None:
    with pytest.raises(ValueError, match=r"^region_view: `region` must lie.*region_around"):
        region_view(frame_of(format_), region)


def test_a_box_that_is_none_has_no_region() -> None:
    frame = frame_of("bgr24")
    for box in [(5, 5, 5, 9), (9, 5, 5, 9), (np.nan, 0, 9, 9), (0, 0, np.inf, 9)]:
        assert region_around(box, frame) is None


ONE = (np.array([[1, 2, 3, 4]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))


def test_results_are_moved_with_all_that_is_in_pixels() -> None:
    plain = moved(Detections(*ONE, track_ids=np.array([4])), (10, 20), (100, 200))
    assert plain.boxes_xyxy.tolist() == [[11, 22, 13, 24]]
    assert plain.track_ids is not None
    masks = moved(Instances(*ONE, np.ones((1, 8, 8), np.float32), (50, 50)), (10, 20), (100, 200))
    assert (masks.frame_hw, masks.boxes_xyxy.tolist()) == ((100, 200), [[11, 22, 13, 24]])
    points = np.array([[[1.5, 2.5, 0.5]]], np.float32)
    pose = moved(Poses(*ONE, points, ("nose",)), (10, 20), (100, 200))
    assert pose.keypoints.tolist() == [[[11.5, 22.5, 0.5]]]
    assert points[0, 0].tolist() == [1.5, 2.5, 0.5]
