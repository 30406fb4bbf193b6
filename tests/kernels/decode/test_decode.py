"""What all decoders share: thresholds, order, suppression, the way back to the frame."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.kernels import decode_nanodet, decode_ssd, decode_yolo, decode_yolox
from edgecv.placement import FITS, Fit, Placement
from edgecv.results import Detections

Options = dict[str, Any]
Decode = Callable[..., Detections]

COMMON: Options = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 100}


@given(
    score_threshold=st.floats(0, 1),
    iou_threshold=st.floats(0, 1),
    max_detections=st.integers(1, 300),
)
def test_detections_are_sorted_bounded_and_above_the_threshold(
    decode: Decode, score_threshold: float, iou_threshold: float, max_detections: int
) -> None:
    found = decode(
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
    )
    assert len(found) <= max_detections
    assert (found.scores > np.float32(score_threshold)).all()
    assert (np.diff(found.scores) <= 0).all()
    assert np.isin(found.class_ids, [0, 1, 2]).all()


@given(max_detections=st.integers(1, 300), iou_threshold=st.floats(0, 1))
def test_fewer_detections_are_the_best_of_more(
    decode: Decode, max_detections: int, iou_threshold: float
) -> None:
    options: Options = {"score_threshold": 0.1, "iou_threshold": iou_threshold}
    every = decode(**options, max_detections=10_000)
    some = decode(**options, max_detections=max_detections)
    assert len(some) == min(len(every), max_detections)
    np.testing.assert_array_equal(some.boxes_xyxy, every.boxes_xyxy[:max_detections])
    np.testing.assert_array_equal(some.scores, every.scores[:max_detections])
    np.testing.assert_array_equal(some.class_ids, every.class_ids[:max_detections])


def test_a_score_equal_to_the_threshold_is_no_candidate(decode: Decode) -> None:
    every = decode(score_threshold=0.0, iou_threshold=1.0, max_detections=10_000)
    for rank, score in enumerate(every.scores[:100]):
        found = decode(score_threshold=float(score), iou_threshold=1.0, max_detections=10_000)
        assert len(found) == np.count_nonzero(every.scores > score)
        below = float(np.nextafter(score, np.float32(0)))
        assert len(decode(score_threshold=below, iou_threshold=1.0, max_detections=10_000)) > rank


@pytest.mark.parametrize("fit", FITS)
def test_placement_maps_boxes_to_the_frame(
    decode: Decode, fit: Fit, size_hw: tuple[int, int]
) -> None:
    placement = Placement.of((480, 641), size_hw, fit)
    inside, found = decode(**COMMON), decode(**COMMON, placement=placement)
    np.testing.assert_array_equal(found.boxes_xyxy, placement.to_frame(inside.boxes_xyxy))
    np.testing.assert_array_equal(found.scores, inside.scores)
    assert found.boxes_xyxy.dtype == np.float32


def test_nothing_above_the_threshold_gives_no_detections(decode: Decode) -> None:
    found = decode(score_threshold=1.0, iou_threshold=0.5, max_detections=10)
    assert (found.boxes_xyxy.shape, found.scores.shape) == ((0, 4), (0,))


def test_a_result_holds_no_more_memory_than_its_rows(decode: Decode) -> None:
    found = decode(**COMMON | {"max_detections": 1_000_000})
    parts = (found.boxes_xyxy, found.scores, found.class_ids)
    assert all(part.base is None for part in parts)


def test_threads_do_not_disturb_each_other(decode: Decode) -> None:
    thresholds = [k / 40 for k in range(1, 21)] * 3

    def scores(threshold: float) -> list[float]:
        found = decode(score_threshold=threshold, iou_threshold=0.5, max_detections=50)
        return [float(score) for score in found.scores]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(scores, thresholds)) == list(map(scores, thresholds))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.1}, r"`score_threshold` must be in \[0, 1\], got 1.1"),
        ({"score_threshold": float("nan")}, "`score_threshold` must be in"),
        ({"iou_threshold": -1}, r"`iou_threshold` must be in \[0, 1\], got -1"),
        ({"max_detections": 0}, "`max_detections` must be at least 1, got 0"),
        ({"layout": "chw"}, "`layout` must be one of cn, nc, got 'chw'"),
    ],
)
def test_refuses_options(decode: Decode, options: Options, message: str) -> None:
    with pytest.raises(ValueError, match=f"^decode_(ssd|yolo|yolox|nanodet): {message}"):
        decode(**COMMON | options)


@pytest.mark.parametrize("decode_head", [decode_yolo, decode_yolox, decode_nanodet])
def test_heads_must_be_float32(decode_head: Decode, size_hw: tuple[int, int]) -> None:
    with pytest.raises(TypeError, match="`head` must be float32, got float16"):
        decode_head(np.zeros((9, 50), np.float16), size_hw=size_hw, **COMMON)


def test_no_anchors() -> None:
    empty = np.zeros((0, 4), np.float32)
    assert len(decode_ssd(empty, np.zeros((0, 3), np.float32), empty, **COMMON)) == 0
    assert len(decode_yolo(np.zeros((6, 0), np.float32), **COMMON)) == 0
    assert len(decode_yolo(np.zeros((0, 6), np.float32), layout="nc", **COMMON)) == 0


def test_more_pairs_than_can_be_numbered_are_refused() -> None:
    side = 2**16
    head = np.broadcast_to(np.float32(0), (4 + side, side))
    with pytest.raises(
        ValueError, match=r"^decode_yolo: `head` must have fewer than 2\*\*32 pairs"
    ):
        decode_yolo(head, **COMMON)
