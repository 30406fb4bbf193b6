"""Test patterns: their colours, their truth and their pace."""

from typing import Any

import numpy as np
import pytest

from edgecv.stream.sources import Health, Source, open_source
from edgecv.stream.sources.patterns import box_xyxy


def test_bars_have_the_colours_of_bt_801() -> None:
    with open_source("test://bars?size=640x48&frames=1&live=no") as source:
        (frame,) = source
    assert (frame.format, frame.size_hw, frame.pts_s) == ("yuv420p", (48, 640), 0.0)
    pixels = frame.to_array("rgb24")
    # 75 % of 255; quantising Y, Cb and Cr costs up to 2.
    white, yellow, cyan, green, magenta, red, blue, black = (
        (191, 191, 191),
        (191, 191, 0),
        (0, 191, 191),
        (0, 191, 0),
        (191, 0, 191),
        (191, 0, 0),
        (0, 0, 191),
        (0, 0, 0),
    )
    for bar, colour in enumerate((white, yellow, cyan, green, magenta, red, blue, black)):
        seen = pixels[:, bar * 80 + 4 : bar * 80 + 76].reshape(-1, 3).astype(int)
        assert np.abs(seen - colour).max() <= 2


@pytest.mark.parametrize("size_hw", [(48, 64), (31, 51), (2, 2), (1, 1), (720, 1280)])
@pytest.mark.parametrize("pattern", ["bars", "box", "noise"])
def test_any_size(pattern: str, size_hw: tuple[int, int]) -> None:
    uri = f"test://{pattern}?size={size_hw[1]}x{size_hw[0]}&frames=2&live=no"
    with open_source(uri) as source:
        assert isinstance(source, Source)
        for frame in source:
            assert frame.size_hw == size_hw
            assert frame.to_array().shape == (*size_hw, 3)
        assert source.health == Health(2)


def test_the_box_is_where_it_is_said_to_be() -> None:
    size_hw = (60, 100)
    with open_source("test://box?size=100x60&frames=120&live=no") as source:
        corners = []
        for frame in source:
            luma = frame.pixels[0]
            rows, columns = np.nonzero(luma == luma.max())
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert box == box_xyxy(frame.index, size_hw)
            assert len(rows) == (box[2] - box[0]) * (box[3] - box[1])
            corners.append(box[:2])
    # To and fro, and never by more than its speed.
    assert np.abs(np.diff(np.array(corners), axis=0)).max() <= 10
    assert {corner[0] for corner in corners} >= {0, 72}


def test_noise_is_new_in_every_frame_and_the_same_in_every_run() -> None:
    uri = "test://noise?size=64x48&frames=2&live=no"
    (first, second), (again, _) = open_source(uri), open_source(uri)
    assert (first.pixels[0] == again.pixels[0]).all()
    assert (first.pixels[0] != second.pixels[0]).mean() > 0.9


def test_a_live_pattern_comes_at_its_rate() -> None:
    with open_source("test://bars?size=64x48&fps=200&frames=20") as source:
        assert (source.is_live, source.fps, source.num_frames) == (True, 200.0, 20)
        frames = list(source)
    assert [frame.pts_s for frame in frames] == pytest.approx([k / 200 for k in range(20)])
    begin_s = frames[0].captured_s
    # When each was due, however late this machine was.
    due_s = [frame.captured_s - begin_s for frame in frames]
    assert due_s == pytest.approx([k / 200 for k in range(20)])


def test_a_pattern_that_is_not_live_needs_no_clock() -> None:
    with open_source("test://bars?size=64x48&fps=0.001&frames=20&live=no") as source:
        assert not source.is_live
        assert [frame.pts_s for frame in source][-1] == pytest.approx(19_000)


def test_closing_ends_the_wait_for_the_next_frame(close_while_it_waits: Any) -> None:
    source = open_source("test://bars?size=64x48&fps=0.001")
    close_while_it_waits(source)
