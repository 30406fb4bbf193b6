"""Every decoder against the reference, and against the properties that all of them share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecv.kernels import decode_nanodet, decode_ssd, decode_yolo, decode_yolox, reference
from edgecv.kernels._native import (
    decode_nanodet_cpu,
    decode_ssd_cpu,
    decode_yolo_cpu,
    decode_yolo_dfl_cpu,
    decode_yolox_cpu,
)
from edgecv.kernels.candidates import MAX_CANDIDATES, Candidates
from edgecv.kernels.decode import Layout
from edgecv.kernels.points import anchor_points
from edgecv.kernels.reference.decoding import Decoded
from edgecv.placement import FITS, Fit, Placement
from edgecv.results import Detections

Floats = NDArray[np.float32]
Options = dict[str, Any]

EPS = float(np.finfo(np.float32).eps)

# An exponential is good to 2 units in the last place, of an argument that is rounded itself and at
# most 8 here; a softmax sums up to 22 of them. Boxes are such values times at most 640 pixels.
SCORE_TOLERANCE = 64 * EPS
BOX_TOLERANCE = 64 * EPS * 640

SIZE_HW = (96, 72)  # 72 is no multiple of 16, 32 and 64: the last column of cells sticks out
COMMON: Options = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 100}


def num_points(strides: tuple[int, ...]) -> int:
    return sum(-(-SIZE_HW[0] // s) * -(-SIZE_HW[1] // s) for s in strides)


def ssd_head(count: int, *, num_classes: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    anchors = np.hstack([rng.uniform(0, 96, (count, 2)), rng.uniform(8, 64, (count, 2))])
    offsets, logits = rng.normal(0, 1, (count, 4)), rng.normal(0, 2, (count, 1 + num_classes))
    return offsets.astype(np.float32), logits.astype(np.float32), anchors.astype(np.float32)


def yolo_head(count: int, *, num_classes: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    boxes = np.vstack([rng.uniform(0, 96, (2, count)), rng.uniform(4, 48, (2, count))])
    return np.vstack([boxes, rng.random((num_classes, count)) ** 3]).astype(np.float32)


def yolo_dfl_head(*, num_classes: int, reg_max: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    shape = (4 * reg_max + num_classes, num_points((8, 16, 32)))
    return rng.normal(-2, 2, shape).astype(np.float32)


def yolox_head(*, num_classes: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    count = num_points((8, 16, 32))
    parts = [rng.normal(0, 1, (count, 4)), rng.random((count, 1 + num_classes)) ** 2]
    return np.hstack(parts).astype(np.float32)


def nanodet_head(*, num_classes: int, reg_max: int = 7, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    count = num_points((8, 16, 32, 64))
    parts = [rng.random((count, num_classes)) ** 2, rng.normal(0, 2, (count, 4 * (reg_max + 1)))]
    return np.hstack(parts).astype(np.float32)


def assert_same(actual: Detections, expected: Decoded, *, least: int = 1) -> None:
    boxes, scores, class_ids = expected
    assert len(actual) >= least
    np.testing.assert_array_equal(actual.class_ids, class_ids)
    np.testing.assert_allclose(actual.scores, scores, rtol=SCORE_TOLERANCE)
    np.testing.assert_allclose(actual.boxes_xyxy, boxes, rtol=0, atol=BOX_TOLERANCE)
    dtypes = [part.dtype for part in (actual.boxes_xyxy, actual.scores, actual.class_ids)]
    assert dtypes == [np.float32, np.float32, np.int32]


# Sizes around the block of 256 anchors that is searched at a time, and the vector width.
COUNTS = [1, 2, 7, 8, 9, 15, 17, 255, 256, 257, 300]
CLASSES = [1, 2, 20]
SIZES = [(count, 3) for count in COUNTS] + [(40, num_classes) for num_classes in CLASSES]
CHOICES = [
    {"multi_label": multi, "class_agnostic": agnostic}
    for multi in (False, True)
    for agnostic in (False, True)
]


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize(("count", "num_classes"), SIZES)
def test_ssd_matches_reference(count: int, num_classes: int, *, class_agnostic: bool) -> None:
    head = ssd_head(count, num_classes=num_classes)
    options = COMMON | {"class_agnostic": class_agnostic, "score_threshold": 0.1}
    assert_same(decode_ssd(*head, **options), reference.decode_ssd(*head, **options), least=0)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("layout", ["cn", "nc"])
@pytest.mark.parametrize(("count", "num_classes"), SIZES)
def test_yolo_matches_reference(count: int, num_classes: int, layout: str, choice: Options) -> None:
    head = yolo_head(count, num_classes=num_classes)
    options = COMMON | choice | {"layout": layout, "score_threshold": 0.05}
    head = head if layout == "cn" else head.T
    assert_same(decode_yolo(head, **options), reference.decode_yolo(head, **options), least=0)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("layout", ["cn", "nc"])
@pytest.mark.parametrize("reg_max", [1, 4, 16])
@pytest.mark.parametrize("num_classes", CLASSES)
def test_raw_yolo_matches_reference(
    num_classes: int, reg_max: int, layout: str, choice: Options
) -> None:
    head = yolo_dfl_head(num_classes=num_classes, reg_max=reg_max)
    options = COMMON | choice | {"layout": layout, "reg_max": reg_max, "size_hw": SIZE_HW}
    head = head if layout == "cn" else np.ascontiguousarray(head.T)
    assert_same(decode_yolo(head, **options), reference.decode_yolo(head, **options))


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("num_classes", CLASSES)
def test_yolox_matches_reference(num_classes: int, choice: Options) -> None:
    head = yolox_head(num_classes=num_classes)
    options = COMMON | choice | {"size_hw": SIZE_HW}
    assert_same(decode_yolox(head, **options), reference.decode_yolox(head, **options))


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("reg_max", [1, 7])
@pytest.mark.parametrize("num_classes", CLASSES)
def test_nanodet_matches_reference(num_classes: int, reg_max: int, choice: Options) -> None:
    head = nanodet_head(num_classes=num_classes, reg_max=reg_max)
    options = COMMON | choice | {"size_hw": SIZE_HW, "reg_max": reg_max}
    assert_same(decode_nanodet(head, **options), reference.decode_nanodet(head, **options))


# What all decoders share, each on a head of its own with 3 classes.
DECODERS: dict[str, Callable[..., Detections]] = {
    "ssd": partial(decode_ssd, *ssd_head(200, num_classes=3)),
    "yolo": partial(decode_yolo, yolo_head(200, num_classes=3)),
    "yolo raw": partial(
        decode_yolo, yolo_dfl_head(num_classes=3, reg_max=8), reg_max=8, size_hw=SIZE_HW
    ),
    "yolo raw multi": partial(
        decode_yolo,
        yolo_dfl_head(num_classes=3, reg_max=8),
        reg_max=8,
        size_hw=SIZE_HW,
        multi_label=True,
    ),
    "yolox": partial(decode_yolox, yolox_head(num_classes=3), size_hw=SIZE_HW),
    "yolox multi": partial(
        decode_yolox, yolox_head(num_classes=3), size_hw=SIZE_HW, multi_label=True
    ),
    "nanodet": partial(decode_nanodet, nanodet_head(num_classes=3), size_hw=SIZE_HW),
}
decoders = pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)


@decoders
@given(
    score_threshold=st.floats(0, 1),
    iou_threshold=st.floats(0, 1),
    max_detections=st.integers(1, 300),
)
def test_detections_are_sorted_bounded_and_above_the_threshold(
    decode: Callable[..., Detections],
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
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


@decoders
def test_a_score_equal_to_the_threshold_is_no_candidate(
    decode: Callable[..., Detections],
) -> None:
    every = decode(score_threshold=0.0, iou_threshold=1.0, max_detections=10_000)
    for rank, score in enumerate(every.scores[:100]):
        found = decode(score_threshold=float(score), iou_threshold=1.0, max_detections=10_000)
        assert len(found) == np.count_nonzero(every.scores > score)
        below = float(np.nextafter(score, np.float32(0)))
        assert len(decode(score_threshold=below, iou_threshold=1.0, max_detections=10_000)) > rank


@decoders
@pytest.mark.parametrize("fit", FITS)
def test_placement_maps_boxes_to_the_frame(decode: Callable[..., Detections], fit: Fit) -> None:
    placement = Placement.of((480, 640), SIZE_HW, fit)
    inside, found = decode(**COMMON), decode(**COMMON, placement=placement)
    np.testing.assert_array_equal(found.boxes_xyxy, placement.to_frame(inside.boxes_xyxy))
    np.testing.assert_array_equal(found.scores, inside.scores)
    assert found.boxes_xyxy.dtype == np.float32


@decoders
def test_nothing_above_the_threshold_gives_no_detections(
    decode: Callable[..., Detections],
) -> None:
    found = decode(score_threshold=1.0, iou_threshold=0.5, max_detections=10)
    assert (found.boxes_xyxy.shape, found.scores.shape) == ((0, 4), (0,))


@decoders
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.1}, r"`score_threshold` must be in \[0, 1\], got 1.1"),
        ({"score_threshold": float("nan")}, "`score_threshold` must be in"),
        ({"iou_threshold": -1}, r"`iou_threshold` must be in \[0, 1\], got -1"),
        ({"max_detections": 0}, "`max_detections` must be at least 1, got 0"),
    ],
)
def test_refuses_thresholds(
    decode: Callable[..., Detections], options: Options, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^decode_(ssd|yolo|yolox|nanodet): {message}"):
        decode(**COMMON | options)


def test_no_anchors() -> None:
    empty = np.zeros((0, 4), np.float32)
    assert len(decode_ssd(empty, np.zeros((0, 3), np.float32), empty, **COMMON)) == 0
    assert len(decode_yolo(np.zeros((6, 0), np.float32), **COMMON)) == 0
    assert len(decode_yolo(np.zeros((0, 6), np.float32), layout="nc", **COMMON)) == 0


def test_ssd_worked_example() -> None:
    # One anchor at (50, 40) of 20 x 10, moved by a tenth of its width and doubled in height.
    offsets = np.array([[1.0, 0.0, 0.0, np.log(2) / 0.2]], np.float32)
    logits = np.log(np.array([[0.2, 0.1, 0.7]], np.float32))
    anchors = np.array([[50, 40, 20, 10]], np.float32)
    found = decode_ssd(offsets, logits, anchors, **COMMON)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_allclose(found.scores, [0.7], rtol=SCORE_TOLERANCE)
    np.testing.assert_allclose(found.boxes_xyxy, [[42, 30, 62, 50]], rtol=SCORE_TOLERANCE)


def test_ssd_takes_every_class_of_an_anchor() -> None:
    offsets, anchors = np.zeros((1, 4), np.float32), np.full((1, 4), 8, np.float32)
    logits = np.log(np.array([[0.1, 0.4, 0.4, 0.1]], np.float32))
    assert decode_ssd(offsets, logits, anchors, **COMMON).class_ids.tolist() == [0, 1]


@pytest.mark.parametrize("layout", ["cn", "nc"])
def test_yolo_worked_example(layout: Layout) -> None:
    head = np.array([[50, 40, 20, 10, 0.1, 0.6, 0.6]], np.float32)  # the lower of equal classes
    head = head if layout == "nc" else head.T
    found = decode_yolo(head, layout=layout, **COMMON)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_array_equal(found.boxes_xyxy, [[40, 35, 60, 45]])
    np.testing.assert_array_equal(found.scores, np.array([0.6], np.float32))
    both = decode_yolo(head, layout=layout, multi_label=True, **COMMON)
    assert both.class_ids.tolist() == [1, 2]


def test_raw_yolo_worked_example() -> None:
    # Two levels of 2 x 2 and 1 x 1 cells; bins 0..3, all mass on one: left 1, top 0, right 2,
    # bottom 3 strides, in the cell at column 1, row 0 of the first level, centre (12, 4).
    head = np.full((4 * 4 + 1, 5), -1000, np.float32)
    for side, distance in enumerate([1, 0, 2, 3]):
        head[4 * side + distance, :] = 0
    head[16, 1] = np.log(3)
    found = decode_yolo(head, reg_max=4, strides=(8, 16), size_hw=(16, 16), **COMMON)
    np.testing.assert_array_equal(found.boxes_xyxy, [[12 - 8, 4, 12 + 16, 4 + 24]])
    np.testing.assert_allclose(found.scores, [0.75], rtol=SCORE_TOLERANCE)


def test_yolox_worked_example() -> None:
    head = np.zeros((5, 6), np.float32)
    head[4] = [0.5, 0.25, np.log(2), 0, 0.5, 0.8]  # the only cell of the second level
    found = decode_yolox(head, strides=(8, 16), size_hw=(16, 16), **COMMON)
    np.testing.assert_allclose(found.boxes_xyxy, [[8 - 16, 4 - 8, 8 + 16, 4 + 8]], atol=1e-5)
    np.testing.assert_allclose(found.scores, [0.4], rtol=SCORE_TOLERANCE)


def test_nanodet_worked_example() -> None:
    # Bins 0..1 with equal logits: half a stride on every side of the corner (8, 0) of column 1.
    head = np.zeros((5, 2 + 8), np.float32)
    head[1, 1] = 0.5
    found = decode_nanodet(head, strides=(8, 16), size_hw=(16, 16), reg_max=1, **COMMON)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_array_equal(found.boxes_xyxy, [[4, -4, 12, 4]])


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_that_are_not_numbers_are_no_candidates(*, multi_label: bool) -> None:
    nan = np.nan
    options = COMMON | {"multi_label": multi_label}
    classes = np.array([[nan, 0.5, nan], [0.4, nan, 0.3], [nan, nan, nan]], np.float32)
    boxes = np.array([[8, 8, 4, 4], [40, 8, 4, 4], [8, 40, 4, 4]], np.float32)
    head = np.hstack([boxes, classes])
    for found in (
        decode_yolo(head, layout="nc", **options),
        decode_yolo(np.ascontiguousarray(head.T), **options),
    ):
        assert found.class_ids.tolist() == [1, 0]

    logits = np.array([[0, nan, 9], [nan, 9, 9], [0, 9, nan], [0, np.inf, 0], [0, 0, 9]])
    anchors = np.array([[50 * i, 8, 8, 8] for i in range(5)], np.float32)
    found = decode_ssd(np.zeros_like(anchors), logits.astype(np.float32), anchors, **COMMON)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_array_equal(found.boxes_xyxy, [[196, 4, 204, 12]])


def test_objectness_that_is_not_a_number_is_no_candidate() -> None:
    head = yolox_head(num_classes=2)
    head[:, 4] = np.nan
    assert len(decode_yolox(head, size_hw=SIZE_HW, **COMMON)) == 0


def test_equal_scores_keep_the_order_of_anchors_then_classes() -> None:
    boxes = np.array([[50 * i, 8, 8, 8] for i in range(4)], np.float32)
    head = np.hstack([boxes, np.full((4, 3), 0.5, np.float32)])
    found = decode_yolo(head, layout="nc", multi_label=True, **COMMON)
    assert found.class_ids.tolist() == [0, 1, 2] * 4
    assert (np.diff(found.boxes_xyxy[:, 0]) >= 0).all()


def test_suppression_is_class_aware_unless_asked() -> None:
    head = np.array([[8, 8, 4, 4, 0.9, 0.8]], np.float32)
    options = COMMON | {"layout": "nc", "multi_label": True}
    assert decode_yolo(head, **options).class_ids.tolist() == [0, 1]
    assert decode_yolo(head, **options, class_agnostic=True).class_ids.tolist() == [0]


def test_the_best_candidates_are_kept_when_there_are_too_many() -> None:
    rng = np.random.default_rng(0)
    count = MAX_CANDIDATES + 5000
    scores = (rng.integers(1, 8, count) / 8).astype(np.float32)  # ties at the cut
    rows = np.arange(count, dtype=np.int32)
    few = Candidates(np.zeros((count, 4), np.float32), scores, rows).first(count)
    expected = np.sort(np.lexsort((rows, -scores))[:MAX_CANDIDATES])
    np.testing.assert_array_equal(few.class_ids, expected)
    np.testing.assert_array_equal(few.scores, scores[expected])


def test_views_are_read_as_they_are() -> None:
    head = yolo_head(64, num_classes=3)
    view, copy = head[:, ::2], np.ascontiguousarray(head[:, ::2])
    actual, expected = decode_yolo(view, **COMMON), decode_yolo(copy, **COMMON)
    np.testing.assert_array_equal(actual.boxes_xyxy, expected.boxes_xyxy)


POINTS = anchor_points(SIZE_HW, (8, 16, 32), 0.5)
NANODET_POINTS = anchor_points(SIZE_HW, (8, 16, 32, 64), 0.0)
LABELS: Options = {"score_threshold": 0.3, "multi_label": True}

# Per kernel: the call without its buffers, and the rows that these must have.
KERNELS: dict[str, tuple[Callable[..., int], int]] = {
    "ssd": (
        partial(
            decode_ssd_cpu,
            *ssd_head(40, num_classes=3),
            centre_variance=0.1,
            size_variance=0.2,
            score_threshold=0.3,
        ),
        40 * 3,
    ),
    "yolo": (
        partial(decode_yolo_cpu, yolo_head(40, num_classes=3), channels_first=True, **LABELS),
        40 * 3,
    ),
    "yolo raw": (
        partial(
            decode_yolo_dfl_cpu,
            yolo_dfl_head(num_classes=3, reg_max=8),
            channels_first=True,
            points=POINTS,
            num_bins=8,
            **LABELS,
        ),
        len(POINTS) * 3,
    ),
    "yolox": (
        partial(decode_yolox_cpu, yolox_head(num_classes=3), points=POINTS, **LABELS),
        len(POINTS) * 3,
    ),
    "nanodet": (
        partial(
            decode_nanodet_cpu,
            nanodet_head(num_classes=3),
            points=NANODET_POINTS,
            num_bins=8,
            **LABELS,
        ),
        len(NANODET_POINTS) * 3,
    ),
}


def poisoned(rows: int) -> Options:
    return {
        "boxes": np.full((rows, 4), np.nan, np.float32),
        "scores": np.full(rows, np.nan, np.float32),
        "class_ids": np.full(rows, -7, np.int32),
    }


@pytest.mark.parametrize(("kernel", "rows"), KERNELS.values(), ids=KERNELS)
def test_kernel_writes_the_rows_that_it_counts(kernel: Callable[..., int], rows: int) -> None:
    out = poisoned(rows)
    count = kernel(**out)
    assert 0 < count < rows
    for part in ("boxes", "scores"):
        assert np.isfinite(out[part][:count]).all()
        assert np.isnan(out[part][count:]).all()
    assert (out["class_ids"][:count] >= 0).all()
    assert (out["class_ids"][count:] == -7).all()


@pytest.mark.parametrize(("kernel", "rows"), KERNELS.values(), ids=KERNELS)
def test_kernel_refuses_buffers_that_are_too_small(kernel: Callable[..., int], rows: int) -> None:
    with pytest.raises(ValueError, match="a row per possible candidate"):
        kernel(**poisoned(rows - 1))


GOOD_SSD: Options = {
    "offsets": np.zeros((2, 4), np.float32),
    "logits": np.zeros((2, 3), np.float32),
    "anchors_cxcywh": np.ones((2, 4), np.float32),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offsets": np.zeros((2, 5), np.float32)}, r"`offsets` must have shape \(N, 4\)"),
        ({"logits": np.zeros((3, 3), np.float32)}, r"`logits` must have shape \(2, 1 \+ C\)"),
        ({"logits": np.zeros((2, 1), np.float32)}, "`logits` must have channels for at least 1"),
        ({"anchors_cxcywh": np.ones((1, 4), np.float32)}, r"`anchors_cxcywh` must have shape \(2"),
        ({"variances": (0.1, 0.0)}, "`variances` must be positive"),
    ],
)
def test_ssd_refuses_values(options: Options, message: str) -> None:
    with pytest.raises(ValueError, match=f"^decode_ssd: {message}"):
        decode_ssd(**GOOD_SSD | COMMON | options)


@pytest.mark.parametrize("name", GOOD_SSD)
def test_ssd_refuses_types(name: str) -> None:
    wrong = {name: GOOD_SSD[name].astype(np.float64)}
    with pytest.raises(TypeError, match=f"^decode_ssd: `{name}` must be float32, got float64"):
        decode_ssd(**GOOD_SSD | COMMON | wrong)


RAW: Options = {"reg_max": 2, "size_hw": (16, 16), "strides": (8,)}


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 6, 9), {}, r"`head` must have shape \(4 \+ C, N\), got \(1, 6, 9\)"),
        ((1, 6, 9), {"layout": "nc"}, r"`head` must have shape \(N, 4 \+ C\)"),
        ((4, 9), {}, r"`head` must have channels for at least 1 class, got shape \(4, 9\)"),
        ((8, 4), RAW, r"`head` must have channels for at least 1 class"),
        ((6, 9), {"layout": "chw"}, "`layout` must be one of cn, nc, got 'chw'"),
        ((6, 9), {"reg_max": -1}, "`reg_max` must be at least 0, got -1"),
        ((9, 4), RAW | {"size_hw": None}, "`size_hw` must be given for a raw head"),
        ((9, 4), RAW | {"size_hw": (0, 16)}, "`size_hw` must be at least 1, got 0"),
        ((9, 4), RAW | {"strides": ()}, r"`strides` must be at least 1 each, got \(\)"),
        ((9, 4), RAW | {"strides": (8, 0)}, "`strides` must be at least 1 each"),
        ((9, 5), RAW, "`head` must have 4 anchors for an input of 16 x 16 .* got 5"),
    ],
)
def test_yolo_refuses_values(shape: tuple[int, ...], options: Options, message: str) -> None:
    with pytest.raises(ValueError, match=f"^decode_yolo: {message}"):
        decode_yolo(np.zeros(shape, np.float32), **COMMON | options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 4, 1), r"`head` must have shape \(N, 5 \+ C\)"),
        ((4, 5), "`head` must have channels for at least 1 class"),
        ((3, 6), "`head` must have 4 anchors .* got 3"),
    ],
)
def test_yolox_refuses_values(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^decode_yolox: {message}"):
        decode_yolox(np.zeros(shape, np.float32), size_hw=(16, 16), strides=(8,), **COMMON)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4,), {}, r"`head` must have shape \(N, C \+ 32\)"),
        ((4, 32), {}, "`head` must have channels for at least 1 class"),
        ((3, 33), {}, "`head` must have 4 anchors .* got 3"),
        ((4, 33), {"reg_max": 0}, "`reg_max` must be at least 1, got 0"),
    ],
)
def test_nanodet_refuses_values(shape: tuple[int, ...], options: Options, message: str) -> None:
    head = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=f"^decode_nanodet: {message}"):
        decode_nanodet(head, size_hw=(16, 16), strides=(8,), **COMMON | options)


@pytest.mark.parametrize("decode", [decode_yolo, decode_yolox, decode_nanodet])
def test_heads_must_be_float32(decode: Callable[..., Detections]) -> None:
    sizes = {} if decode is decode_yolo else {"size_hw": SIZE_HW}
    with pytest.raises(TypeError, match="`head` must be float32, got float16"):
        decode(np.zeros((9, 50), np.float16), **sizes, **COMMON)
