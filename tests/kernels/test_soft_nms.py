"""Soft suppression against the reference, hard suppression and its own properties.

Rows and scores are compared exactly: the factors, their order and the `exp` of the C library, which
is that of `math.exp`, are part of the contract.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.kernels import nms, reference, soft_nms
from edgecv.kernels._native import soft_nms_cpu

Boxes = NDArray[np.float32]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Case = tuple[Boxes, Floats, Ints]

METHODS = ["gaussian", "linear"]

# Around the vector width (4, 8 or 16 floats) and chains of blocks of 16 boxes.
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 67, 150]


def random_case(count: int, *, num_classes: int, seed: int = 0, span: float = 100) -> Case:
    """Boxes of up to 64 pixels crowded into `span` pixels."""
    rng = np.random.default_rng(seed)
    top_left = rng.uniform(0, span, (count, 2))
    boxes = np.hstack([top_left, top_left + rng.uniform(1, 64, (count, 2))]).astype(np.float32)
    scores = rng.random(count).astype(np.float32)
    return boxes, scores, rng.integers(0, num_classes, count).astype(np.int32)


def assert_matches_reference(case: tuple[Any, ...], **options: Any) -> None:
    rows, scores = soft_nms(*case, **options)
    expected_rows, expected_scores = reference.soft_nms(*case, **options)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)


# Small whole numbers produce ties of score and of IoU; inverted and empty boxes occur on purpose.
cases = st.integers(0, 24).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, (n, 4), elements=st.integers(0, 8).map(float)),
        arrays(np.float32, n, elements=st.sampled_from([0, -0.0, 0.25, 0.5, 1, np.nan, np.inf])),
        arrays(np.int32, n, elements=st.sampled_from([0, 1, -1, 2**31 - 1])),
    )
)
options = st.fixed_dictionaries(
    {
        "method": st.sampled_from(METHODS),
        "sigma": st.sampled_from([1e-300, 0.01, 0.5, 100.0]),
        "iou_threshold": st.sampled_from([0.0, 1 / 3, 0.5, 1.0]),
        "score_threshold": st.sampled_from([0.0, 0.001, 0.25, 1.0]),
        "max_detections": st.none() | st.integers(1, 30),
    }
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_classes", [1, 3])
@pytest.mark.parametrize("count", SIZES)
def test_matches_reference(count: int, num_classes: int, method: str) -> None:
    assert_matches_reference(random_case(count, num_classes=num_classes), method=method)


@given(case=cases, options=options)
def test_matches_reference_on_ties_and_degenerate_boxes(
    case: Case, options: dict[str, Any]
) -> None:
    assert_matches_reference(case, **options)


@given(
    corners=st.integers(0, 10).flatmap(
        lambda n: arrays(np.float32, (n, 2, 2), elements=st.floats(width=32))
    ),
    method=st.sampled_from(METHODS),
    iou_threshold=st.floats(0, 1) | st.floats(0, 1e-5),
)
def test_matches_reference_on_every_float(
    corners: Floats, method: str, iou_threshold: float
) -> None:
    boxes = np.sort(corners, axis=1).reshape(-1, 4)
    scores = np.linspace(1, 0.5, len(boxes), dtype=np.float32)
    assert_matches_reference((boxes, scores), method=method, iou_threshold=iou_threshold)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("score_threshold", [0.0, 0.001, 0.3])
def test_matches_reference_in_a_dense_crowd(sigma: float, score_threshold: float) -> None:
    # Every box overlaps most of the others: scores fall, wait, and fall again many times.
    case = random_case(120, num_classes=1, seed=1, span=30)
    for method in METHODS:
        assert_matches_reference(
            case, method=method, sigma=sigma, score_threshold=score_threshold, iou_threshold=0.2
        )


def test_worked_example() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10]], np.float32)  # IoU 1 / 2
    scores = np.array([0.9, 0.8, 0.5], np.float32)
    rows, lowered = soft_nms(boxes, scores, method="linear")
    assert rows.tolist() == [0, 2, 1]
    np.testing.assert_array_equal(lowered, np.array([0.9, 0.5, 0.4], np.float32))
    rows, lowered = soft_nms(boxes, scores, sigma=0.5)
    assert rows.tolist() == [0, 2, 1]
    np.testing.assert_allclose(lowered, [0.9, 0.5, 0.8 * np.exp(-0.5)], rtol=1e-6)


def test_an_iou_equal_to_the_threshold_lowers_nothing() -> None:
    boxes = np.array([[0, 0, 4, 1], [0, 0, 1, 1]], np.float32)  # IoU 1 / 4
    scores = np.array([1.0, 0.5], np.float32)
    _, lowered = soft_nms(boxes, scores, method="linear", iou_threshold=0.25)
    assert lowered.tolist() == [1.0, 0.5]
    _, lowered = soft_nms(boxes, scores, method="linear", iou_threshold=np.nextafter(0.25, 0))
    assert lowered.tolist() == [1.0, 0.375]


def test_a_score_equal_to_the_threshold_is_not_kept() -> None:
    boxes = np.array([[0, 0, 4, 1], [0, 0, 2, 1]], np.float32)  # IoU 1 / 2
    scores = np.array([1.0, 0.5], np.float32)
    for threshold, num_kept in [(0.25, 1), (np.nextafter(0.25, 0), 2), (0.5, 1), (1.0, 0)]:
        rows, _ = soft_nms(boxes, scores, method="linear", score_threshold=threshold)
        assert len(rows) == num_kept


def test_equal_scores_keep_the_lower_row() -> None:
    # Rows 1 to 3 are lowered alike by row 4; row 0 has their score from the start.
    boxes = np.array([[50, 0, 54, 1]] + [[0, 0, 2, 1]] * 3 + [[0, 0, 4, 1]], np.float32)
    scores = np.array([0.25, 0.5, 0.5, 0.5, 1.0], np.float32)
    class_ids = np.array([0, 0, 1, 2, 0], np.int32)
    rows, _ = soft_nms(boxes, scores, class_ids, method="linear")
    assert rows.tolist() == [4, 2, 3, 0, 1]


@given(case=cases)
def test_a_sharp_gaussian_is_hard_suppression_of_all_overlap(case: Case) -> None:
    # IoU of whole numbers up to 8 is at least 1 / 128, so that sigma = 1e-9 leaves exp(-61035) = 0.
    boxes, scores, class_ids = case
    scores = np.where(np.isinf(scores), np.float32(2), scores)
    rows, lowered = soft_nms(boxes, scores, class_ids, sigma=1e-9, score_threshold=0.0)
    hard = nms(boxes, scores, class_ids, iou_threshold=0.0)
    np.testing.assert_array_equal(rows, hard[scores[hard] > 0])
    np.testing.assert_array_equal(lowered, scores[rows])


@given(case=cases, options=options)
def test_scores_fall_and_only_fall(case: Case, options: dict[str, Any]) -> None:
    rows, lowered = soft_nms(*case, **options)
    assert (lowered[1:] <= lowered[:-1]).all()
    assert (lowered <= case[1][rows]).all()
    assert len(np.unique(rows)) == len(rows)


@given(case=cases, options=options)
def test_max_detections_is_a_prefix(case: Case, options: dict[str, Any]) -> None:
    limit = options.pop("max_detections")
    rows, lowered = soft_nms(*case, **options)
    some_rows, some_lowered = soft_nms(*case, **options, max_detections=limit)
    np.testing.assert_array_equal(some_rows, rows[:limit])
    np.testing.assert_array_equal(some_lowered, lowered[:limit])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(4))
def test_a_coordinate_that_is_not_finite_overlaps_nothing(column: int, value: float) -> None:
    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (3, 1))
    boxes[0, column] = value
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    rows, lowered = soft_nms(boxes, scores, method="linear", score_threshold=0.0)
    assert rows.tolist() == [0, 1]  # IoU 1 leaves a score of 0
    np.testing.assert_array_equal(lowered, scores[:2])


def test_infinite_scores() -> None:
    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (3, 1))
    scores = np.array([np.inf, np.inf, -np.inf], np.float32)
    rows, lowered = soft_nms(boxes, scores)
    assert (rows.tolist(), lowered.tolist()) == ([0, 1], [np.inf, np.inf])
    assert soft_nms(boxes, scores, method="linear")[0].tolist() == [0]  # infinity * 0 is no number


def test_reads_views() -> None:
    boxes, scores, class_ids = random_case(40, num_classes=2)
    rows, lowered = soft_nms(boxes[::-2], scores[::-2], class_ids[::-2])
    again = soft_nms(boxes[::-2].copy(), scores[::-2].copy(), class_ids[::-2].copy())
    np.testing.assert_array_equal(rows, again[0])
    np.testing.assert_array_equal(lowered, again[1])


def test_kernel_writes_the_kept_rows_only() -> None:
    boxes, scores, class_ids = random_case(100, num_classes=2)
    kept, kept_scores = np.full(100, -7, np.int64), np.full(100, np.nan, np.float32)
    count = soft_nms_cpu(
        boxes,
        scores,
        class_ids,
        gaussian=True,
        sigma=0.5,
        iou_threshold=0.3,
        score_threshold=0.2,
        max_detections=100,
        kept=kept,
        kept_scores=kept_scores,
    )
    assert 0 < count < 100
    assert (kept[:count] >= 0).all()
    assert (kept[count:] == -7).all()
    assert (kept_scores[:count] > 0.2).all()
    assert np.isnan(kept_scores[count:]).all()


GOOD: dict[str, Any] = {
    "boxes_xyxy": np.zeros((2, 4), np.float32),
    "scores": np.zeros(2, np.float32),
    "class_ids": np.zeros(2, np.int32),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes_xyxy": np.zeros((2, 5), np.float32)}, r"`boxes_xyxy` must have shape \(N, 4\)"),
        ({"scores": np.zeros(3, np.float32)}, r"`scores` must have shape \(2,\), got \(3,\)"),
        ({"class_ids": np.zeros(1, np.int32)}, r"`class_ids` must have shape \(2,\)"),
        ({"method": "hard"}, "`method` must be one of gaussian, linear, got 'hard'"),
        ({"sigma": 0.0}, "`sigma` must be positive and finite, got 0.0"),
        ({"sigma": float("inf")}, "`sigma` must be positive and finite, got inf"),
        ({"sigma": float("nan")}, "`sigma` must be positive and finite, got nan"),
        ({"iou_threshold": 1.5}, r"`iou_threshold` must be in \[0, 1\], got 1.5"),
        ({"score_threshold": -0.1}, r"`score_threshold` must be in \[0, 1\], got -0.1"),
        ({"max_detections": 0}, "`max_detections` must be at least 1, got 0"),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^soft_nms: {message}"):
        soft_nms(**GOOD | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes_xyxy": np.zeros((2, 4))}, "`boxes_xyxy` must be float32, got float64"),
        ({"scores": [0.5, 0.5]}, "`scores` must be a NumPy array, got list"),
        ({"class_ids": np.zeros(2, np.int64)}, r"`class_ids` must be int32, got int64. .*astype"),
    ],
)
def test_refuses_types(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^soft_nms: {message}"):
        soft_nms(**GOOD | options)
