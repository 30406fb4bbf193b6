"""Every implementation of nms against the reference, torchvision and its own properties."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.kernels import nms, reference
from edgecv.kernels._native import nms_cpu
from edgecv.kernels.cuda.arrays import is_on_device

from .conftest import Place

Boxes = NDArray[np.float32]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

# Around the vector width (4, 8 or 16 floats), the block of 16 boxes compared at a time, and chains
# of blocks.
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 67, 127, 128, 129, 300]

# Around the number of scores from which they are sorted in wider digits.
MANY = [4095, 4096, 4097]


def suppress(
    place: Place, boxes: Boxes, scores: Floats, class_ids: Ints | None = None, **options: Any
) -> NDArray[np.int64]:
    """The operator on arrays of NumPy, wherever it runs."""
    classes = None if class_ids is None else place.array(class_ids)
    return place.numpy(nms(place.array(boxes), place.array(scores), classes, **options))


def random_boxes(count: int, *, seed: int, span: float = 64) -> Boxes:
    """Valid boxes whose corners lie within `span` pixels, so that many overlap."""
    rng = np.random.default_rng(seed)
    top_left = rng.uniform(0, span, (count, 2))
    return np.hstack([top_left, top_left + rng.uniform(1, 64, (count, 2))]).astype(np.float32)


def random_case(count: int, *, num_classes: int, seed: int = 0) -> tuple[Boxes, Floats, Ints]:
    rng = np.random.default_rng(seed)
    scores = rng.random(count).astype(np.float32)
    class_ids = rng.integers(0, num_classes, count).astype(np.int32)
    return random_boxes(count, seed=seed + 1, span=128), scores, class_ids


# Small whole numbers make every area exact and produce ties of score and of IoU; inverted and
# empty boxes occur on purpose.
cases = st.integers(0, 24).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, (n, 4), elements=st.integers(0, 8).map(float)),
        arrays(np.float32, n, elements=st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, np.nan])),
        arrays(np.int32, n, elements=st.sampled_from([0, 1, -1, 2**31 - 1])),
    )
)
thresholds = st.sampled_from([0.0, 1 / 3, 0.5, 0.7, 1.0]) | st.floats(0, 1)


@pytest.mark.parametrize("iou_threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("count", SIZES)
def test_matches_reference(place: Place, count: int, iou_threshold: float) -> None:
    case = random_case(count, num_classes=3)
    np.testing.assert_array_equal(
        suppress(place, *case, iou_threshold=iou_threshold),
        reference.nms(*case, iou_threshold=iou_threshold),
    )


@given(case=cases, iou_threshold=thresholds, max_detections=st.none() | st.integers(1, 30))
def test_matches_reference_on_ties_and_degenerate_boxes(
    place: Place, case: tuple[Boxes, Floats, Ints], iou_threshold: float, max_detections: int | None
) -> None:
    options: dict[str, Any] = {"iou_threshold": iou_threshold, "max_detections": max_detections}
    np.testing.assert_array_equal(
        suppress(place, *case, **options), reference.nms(*case, **options)
    )


# Every float there is: denormal, huge, infinite, NaN. Sorted into corners every other time, or
# hardly any box would have an area.
wild_boxes = st.integers(0, 12).flatmap(
    lambda n: arrays(np.float32, (n, 2, 2), elements=st.floats(width=32))
)


@given(corners=wild_boxes, iou_threshold=thresholds | st.floats(0, 1e-5), are_valid=st.booleans())
def test_matches_reference_on_every_float(
    place: Place, corners: Floats, iou_threshold: float, *, are_valid: bool
) -> None:
    boxes = (np.sort(corners, axis=1) if are_valid else corners).reshape(-1, 4)
    scores = np.linspace(1, 0, len(boxes), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = reference.nms(boxes, scores, iou_threshold=iou_threshold)
    np.testing.assert_array_equal(
        suppress(place, boxes, scores, iou_threshold=iou_threshold), expected
    )


@pytest.mark.parametrize("exponent", [-148, -120, -75, -60, -51, -50, -49, 59, 60, 61, 75, 100])
@pytest.mark.parametrize("iou_threshold", [0.0, 1e-30, 2.0**-21, 2.0**-20, 1e-3, 0.5, 1.0])
def test_matches_reference_at_every_scale(
    place: Place, exponent: int, iou_threshold: float
) -> None:
    # Around the sides for which areas are compared in float32 first, and far beyond them.
    rng = np.random.default_rng(6)
    scales = np.ldexp(1.0, exponent + rng.integers(0, 3, (67, 2)))
    corners = rng.integers(0, 8, (67, 2)) * scales
    boxes = np.hstack([corners, corners + rng.integers(1, 8, (67, 2)) * scales]).astype(np.float32)
    scores = rng.random(67).astype(np.float32)
    np.testing.assert_array_equal(
        suppress(place, boxes, scores, iou_threshold=iou_threshold),
        reference.nms(boxes, scores, iou_threshold=iou_threshold),
    )


@pytest.mark.parametrize("count", [17, 64])
def test_thresholds_at_the_ious_that_occur(place: Place, count: int) -> None:
    # The strictest decisions there are: each threshold is the IoU of a pair, or its neighbour.
    boxes, scores, _ = random_case(count, num_classes=1, seed=7)
    ious = np.unique(reference.box_iou(boxes, boxes))
    for iou in ious[1:-1:41]:
        for threshold in (np.nextafter(iou, 0), iou, np.nextafter(iou, 1)):
            np.testing.assert_array_equal(
                suppress(place, boxes, scores, iou_threshold=threshold),
                reference.nms(boxes, scores, iou_threshold=threshold),
            )


@pytest.mark.parametrize("count", MANY)
def test_visits_many_boxes_in_order(place: Place, count: int) -> None:
    # Far apart, so that all are kept, with ties, negative, infinite and NaN scores.
    rng = np.random.default_rng(8)
    corners = np.stack([np.arange(count) * 2, np.zeros(count)], axis=1)
    boxes = np.hstack([corners, corners + 1]).astype(np.float32)
    scores = rng.normal(size=count).astype(np.float32).round(2)
    scores[rng.integers(0, count, 50)] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], 50)
    order = np.argsort(-scores, kind="stable")  # NaN last
    expected = order[: count - np.isnan(scores).sum()]
    np.testing.assert_array_equal(suppress(place, boxes, scores, iou_threshold=0.5), expected)


def test_any_number_of_any_classes(place: Place) -> None:
    # A pair of equal boxes in each of 3000 classes; ids that differ in few bits on purpose.
    steps = np.arange(-1500, 1500) * 2**20
    class_ids = np.repeat(np.where(steps % 3 == 0, steps, steps >> 13), 2).astype(np.int32)
    class_ids[:4] = [-(2**31), -(2**31), 2**31 - 1, 2**31 - 1]
    boxes = np.tile(np.array([0, 0, 4, 4], np.float32), (len(class_ids), 1))
    scores = np.linspace(1, 0, len(class_ids), dtype=np.float32)
    _, first_rows = np.unique(class_ids, return_index=True)
    kept = suppress(place, boxes, scores, class_ids, iou_threshold=0.5)
    np.testing.assert_array_equal(kept, np.sort(first_rows))
    np.testing.assert_array_equal(suppress(place, boxes, scores, iou_threshold=0.5), [0])


def test_a_large_call_leaves_a_small_one_alone() -> None:
    # Above 2**18 boxes the working memory is given back in between.
    boxes, scores, class_ids = random_case(300, num_classes=3)
    expected = nms(boxes, scores, class_ids, iou_threshold=0.5)
    count = 2**18 + 1
    same = np.tile(np.array([0, 0, 4, 4], np.float32), (count, 1))
    assert nms(same, np.ones(count, np.float32), iou_threshold=0.5).tolist() == [0]
    np.testing.assert_array_equal(nms(boxes, scores, class_ids, iou_threshold=0.5), expected)


@settings(max_examples=30)  # several calls each, on a GPU that is played
@given(case=cases, iou_threshold=thresholds)
def test_kept_boxes_keep_each_other(
    place: Place, case: tuple[Boxes, Floats, Ints], iou_threshold: float
) -> None:
    kept = suppress(place, *case, iou_threshold=iou_threshold)
    boxes, scores, class_ids = case
    again = suppress(place, boxes[kept], scores[kept], class_ids[kept], iou_threshold=iou_threshold)
    np.testing.assert_array_equal(again, np.arange(len(kept)))


@settings(max_examples=30)  # several calls each, on a GPU that is played
@given(case=cases, iou_threshold=thresholds, max_detections=st.integers(1, 30))
def test_max_detections_is_a_prefix(
    place: Place, case: tuple[Boxes, Floats, Ints], iou_threshold: float, max_detections: int
) -> None:
    kept = suppress(place, *case, iou_threshold=iou_threshold)
    some = suppress(place, *case, iou_threshold=iou_threshold, max_detections=max_detections)
    np.testing.assert_array_equal(some, kept[:max_detections])


@settings(max_examples=30)  # several calls each, on a GPU that is played
@given(case=cases, iou_threshold=thresholds)
def test_classes_do_not_see_each_other(
    place: Place, case: tuple[Boxes, Floats, Ints], iou_threshold: float
) -> None:
    boxes, scores, class_ids = case
    alone = [
        rows[suppress(place, boxes[rows], scores[rows], iou_threshold=iou_threshold)]
        for rows in (np.flatnonzero(class_ids == c) for c in np.unique(class_ids))
    ]
    together = suppress(place, *case, iou_threshold=iou_threshold)
    assert sorted(together) == sorted(np.concatenate([*alone, np.zeros(0, np.int64)]))


def test_worked_example(place: Place) -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32)  # IoU 9 / 11
    scores = np.array([0.5, 0.9, 0.1], np.float32)
    assert suppress(place, boxes, scores, iou_threshold=0.5).tolist() == [1, 2]
    assert suppress(place, boxes, scores, iou_threshold=0.9).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("inter", "union"), [(1, 2), (1, 3), (7, 10), (1, 49), (9, 10), (31, 97), (45, 100)]
)
def test_iou_equal_to_the_threshold_does_not_suppress(place: Place, inter: int, union: int) -> None:
    boxes = np.array([[0, 0, union, 1], [0, 0, inter, 1]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    at = inter / union
    assert suppress(place, boxes, scores, iou_threshold=at).tolist() == [0, 1]
    assert suppress(place, boxes, scores, iou_threshold=at + 1e-5).tolist() == [0, 1]
    assert suppress(place, boxes, scores, iou_threshold=at - 1e-5).tolist() == [0]


def test_identical_boxes_survive_a_threshold_of_one(place: Place) -> None:
    boxes = np.repeat(random_boxes(1, seed=3), 70, axis=0)
    scores = np.ones(70, np.float32)
    assert suppress(place, boxes, scores, iou_threshold=1.0).tolist() == list(range(70))
    assert suppress(place, boxes, scores, iou_threshold=0.999).tolist() == [0]


def test_equal_scores_keep_the_lower_row(place: Place) -> None:
    boxes = np.repeat(random_boxes(4, seed=4, span=5000) * 100, 3, axis=0)
    scores = np.full(12, 0.5, np.float32)
    assert suppress(place, boxes, scores, iou_threshold=0.5).tolist() == [0, 3, 6, 9]


def test_negative_zero_is_zero(place: Place) -> None:
    boxes = random_boxes(2, seed=5) * 0
    assert suppress(
        place, boxes, np.array([-0.0, 0.0], np.float32), iou_threshold=0.5
    ).tolist() == [0, 1]


def test_a_score_that_is_not_a_number_is_never_kept(place: Place) -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4], [50, 50, 60, 60]], np.float32)
    scores = np.array([np.nan, -np.inf, np.inf], np.float32)
    assert suppress(place, boxes, scores, iou_threshold=0.5).tolist() == [2, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(4))
def test_a_coordinate_that_is_not_finite_overlaps_nothing(
    place: Place, column: int, value: float
) -> None:
    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (4, 1))
    boxes[::2, column] = value
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert suppress(place, boxes, scores, iou_threshold=0.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("box", [[4, 4, 0, 0], [4, 0, 0, 4], [2, 2, 2, 2], [0, 2, 4, 2]])
def test_empty_and_inverted_boxes_overlap_nothing(place: Place, box: list[float]) -> None:
    boxes = np.array([box, [0, 0, 4, 4], box, [0, 0, 4, 4]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert suppress(place, boxes, scores, iou_threshold=0.0).tolist() == [0, 1, 2]


def test_large_coordinates_and_many_classes_keep_their_precision(place: Place) -> None:
    # Shifting boxes by class * max(coordinates), as others do, rounds these to one pixel or more.
    offset = 2.0**20
    small = np.array([[0, 0, 1, 1], [0.25, 0, 1.25, 1]], np.float32)  # IoU 0.6
    boxes = np.vstack([small + offset] * 2).astype(np.float32)
    class_ids = np.array([5000, 5000, 90000, 5000], np.int32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert suppress(place, boxes, scores, class_ids, iou_threshold=0.55).tolist() == [0, 2]
    assert suppress(place, boxes, scores, class_ids, iou_threshold=0.65).tolist() == [0, 1, 2]


def test_huge_and_tiny_boxes_do_not_overflow(place: Place) -> None:
    boxes = np.array([[-3e38] * 2 + [3e38] * 2] * 2 + [[0, 0, 1e-30, 1e-30]] * 2, np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert suppress(place, boxes, scores, iou_threshold=0.5).tolist() == [0, 2]


def test_reads_views() -> None:
    boxes, scores, class_ids = random_case(40, num_classes=2)
    np.testing.assert_array_equal(
        nms(boxes[::-2], scores[::-2], class_ids[::-2], iou_threshold=0.4),
        nms(boxes[::-2].copy(), scores[::-2].copy(), class_ids[::-2].copy(), iou_threshold=0.4),
    )


def test_kernel_writes_the_kept_rows_only() -> None:
    boxes, scores, class_ids = random_case(200, num_classes=2)
    kept = np.full(200, -7, np.int64)
    count = nms_cpu(boxes, scores, class_ids, iou_threshold=0.3, max_detections=200, kept=kept)
    assert 0 < count < 200
    assert (kept[:count] >= 0).all()
    assert (kept[count:] == -7).all()


@pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_torchvision(place: Place, iou_threshold: float, seed: int) -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    boxes, scores, class_ids = random_case(1000, num_classes=5, seed=seed)
    expected = ops.batched_nms(
        torch.from_numpy(boxes),
        torch.from_numpy(scores),
        torch.from_numpy(class_ids.astype(np.int64)),
        iou_threshold,
    )
    actual = suppress(place, boxes, scores, class_ids, iou_threshold=iou_threshold)
    np.testing.assert_array_equal(actual, expected.numpy())


GOOD: dict[str, Any] = {
    "boxes_xyxy": np.zeros((2, 4), np.float32),
    "scores": np.zeros(2, np.float32),
    "class_ids": np.zeros(2, np.int32),
    "iou_threshold": 0.5,
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes_xyxy": np.zeros((2, 5), np.float32)}, r"`boxes_xyxy` must have shape \(N, 4\)"),
        ({"boxes_xyxy": np.zeros(4, np.float32)}, r"`boxes_xyxy` must have shape \(N, 4\)"),
        ({"scores": np.zeros(3, np.float32)}, r"`scores` must have shape \(2,\), got \(3,\)"),
        ({"scores": np.zeros((2, 1), np.float32)}, r"`scores` must have shape \(2,\)"),
        ({"class_ids": np.zeros(1, np.int32)}, r"`class_ids` must have shape \(2,\)"),
        ({"iou_threshold": 1.5}, r"`iou_threshold` must be in \[0, 1\], got 1.5"),
        ({"iou_threshold": -0.1}, r"`iou_threshold` must be in \[0, 1\]"),
        ({"iou_threshold": float("nan")}, r"`iou_threshold` must be in \[0, 1\], got nan"),
        ({"max_detections": 0}, "`max_detections` must be at least 1, got 0"),
    ],
)
def test_refuses_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^nms: {message}"):
        nms(**GOOD | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes_xyxy": np.zeros((2, 4))}, "`boxes_xyxy` must be float32, got float64"),
        ({"boxes_xyxy": [[0, 0, 1, 1]]}, "`boxes_xyxy` must be a NumPy array, got list"),
        ({"scores": np.zeros(2, np.float16)}, "`scores` must be float32, got float16"),
        ({"class_ids": np.zeros(2, np.int64)}, r"`class_ids` must be int32, got int64. .*astype"),
    ],
)
def test_refuses_types(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^nms: {message}"):
        nms(**GOOD | options)


def test_what_a_gpu_keeps_stays_there(gpu: Place) -> None:
    boxes, scores, class_ids = (gpu.array(array) for array in random_case(70, num_classes=2))
    for most in (1, 70):
        kept = nms(boxes, scores, class_ids, iou_threshold=0.3, max_detections=most)
        assert is_on_device(kept)
        assert gpu.numpy(kept).dtype == np.int64


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"boxes_xyxy": np.zeros((2, 5), np.float32)}, ValueError, r"`boxes_xyxy` .* \(N, 4\)"),
        ({"scores": np.zeros(3, np.float32)}, ValueError, r"`scores` must have shape \(2,\)"),
        ({"class_ids": np.zeros(1, np.int32)}, ValueError, r"`class_ids` must have shape \(2,\)"),
        ({"iou_threshold": 1.5}, ValueError, r"`iou_threshold` must be in \[0, 1\], got 1.5"),
        ({"max_detections": 0}, ValueError, "`max_detections` must be at least 1, got 0"),
        ({"scores": np.zeros(2, np.float16)}, TypeError, "`scores` must be float32, got float16"),
        ({"class_ids": np.zeros(2, np.int64)}, TypeError, "`class_ids` must be int32, got int64"),
    ],
)
def test_refuses_on_a_gpu(
    gpu: Place, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {
        name: gpu.array(value) if isinstance(value, np.ndarray) else value
        for name, value in (GOOD | options).items()
    }
    with pytest.raises(error, match=f"^nms: {message}"):
        nms(**arguments)


def test_refuses_arrays_on_a_gpu_and_on_the_processor(gpu: Place) -> None:
    with pytest.raises(TypeError, match=r"^nms: `scores` must be on the GPU, got a NumPy array"):
        nms(gpu.array(GOOD["boxes_xyxy"]), GOOD["scores"], iou_threshold=0.5)
