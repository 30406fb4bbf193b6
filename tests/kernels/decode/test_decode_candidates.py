"""How candidates are found, counted and ranked, on heads of the simplest decoder."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import decode_ssd, decode_yolo, reference
from edgecv.kernels._native import decode_nanodet_cpu, decode_yolo_dfl_cpu, decode_yolox_cpu
from edgecv.kernels.decode import Layout
from edgecv.kernels.reference.decoding import MAX_CANDIDATES
from edgecv.results import Detections

from .conftest import Decoders

Floats = NDArray[np.float32]
Options = dict[str, Any]

COMMON: Options = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 100}

# Boxes without area overlap nothing: every candidate becomes a detection.
ALL: Options = {"score_threshold": 0.0, "iou_threshold": 0.5, "max_detections": 10**9}

layouts = pytest.mark.parametrize("layout", ["cn", "nc"])
labels = pytest.mark.parametrize("multi_label", [False, True])


def in_layout(rows: Floats, layout: str) -> Floats:
    return np.ascontiguousarray(rows.T) if layout == "cn" else rows


def head_of(scores: Floats) -> Floats:
    """A row per anchor with boxes without area, at x = the anchor's number."""
    boxes = np.zeros((len(scores), 4), np.float32)
    boxes[:, 0] = np.arange(len(scores))
    return np.hstack([boxes, scores])


def pairs_of(found: Detections, num_classes: int) -> list[int]:
    return (found.boxes_xyxy[:, 0].astype(int) * num_classes + found.class_ids).tolist()


def expected_pairs(scores: Floats, threshold: float, *, multi_label: bool) -> list[int]:
    """Pairs above the threshold by falling score, then by rising pair, the best 30000."""
    num_classes = scores.shape[1]
    pairs = np.arange(scores.size)
    if not multi_label:
        best = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
        pairs = np.arange(len(scores)) * num_classes + best
    pairs = pairs[scores.ravel()[pairs] > np.float32(threshold)]
    order = np.lexsort((pairs, -scores.ravel()[pairs]))
    return pairs[order][:MAX_CANDIDATES].tolist()


# Around the vector of 16 values and the block of 1024 anchors; the last ones have so many classes
# that a block is of 16 anchors.
SHAPES = [(n, 3) for n in (1, 2, 15, 16, 17, 31, 33, 64, 1023, 1024, 1025, 2100)]
SHAPES += [(n, c) for n in (5, 37) for c in (1, 2, 4, 5, 15, 16, 17, 31, 32, 33, 80)]
SHAPES += [(16, 5000), (17, 4097), (40, 4200)]


@labels
@layouts
@pytest.mark.parametrize(("count", "num_classes"), SHAPES)
def test_every_pair_above_the_threshold_is_found(
    decoders: Decoders, count: int, num_classes: int, layout: Layout, *, multi_label: bool
) -> None:
    if decoders.place.name == "emulated" and count * num_classes > 4000:
        pytest.skip("the emulated GPU takes seconds for so many candidates")
    rng = np.random.default_rng(count * num_classes)
    scores = rng.integers(0, 40, (count, num_classes)).astype(np.float32) / 40  # many are equal
    scores[rng.random(scores.shape) < 0.05] = np.nan
    for threshold in (0.0, 0.5, 0.975) if decoders.place.name != "emulated" else (0.5,):
        options = ALL | {"score_threshold": threshold, "multi_label": multi_label}
        found = decoders.yolo(in_layout(head_of(scores), layout), layout=layout, **options)
        expected = expected_pairs(scores, threshold, multi_label=multi_label)
        assert pairs_of(found, num_classes) == expected


@labels
@layouts
@pytest.mark.parametrize("position", [0, 1, 14, 15, 16, 17, 31, 32, 78, 79])
def test_one_value_is_found_wherever_it_lies(
    decoders: Decoders, position: int, layout: Layout, *, multi_label: bool
) -> None:
    for count, num_classes, anchor, class_id in ((3, 80, 1, position), (80, 3, position, 2)):
        scores = np.full((count, num_classes), 0.25, np.float32)
        scores[anchor, class_id] = 0.5
        head = in_layout(head_of(scores), layout)
        found = decoders.yolo(head, layout=layout, multi_label=multi_label, **COMMON)
        assert pairs_of(found, num_classes) == [anchor * num_classes + class_id]


@labels
@layouts
def test_infinite_scores_are_the_best(
    decoders: Decoders, layout: Layout, *, multi_label: bool
) -> None:
    scores = np.array([[0.5, -np.inf], [np.inf, np.nan], [0.9, 3e38]], np.float32)
    head = in_layout(head_of(scores), layout)
    found = decoders.yolo(head, layout=layout, multi_label=multi_label, **ALL)
    assert pairs_of(found, 2) == ([2, 5, 4, 0] if multi_label else [2, 5, 0])


# Fewer than the best 30000; more; and so many that the search raises its threshold on the way.
@layouts
@pytest.mark.parametrize(
    ("count", "num_classes", "multi_label"),
    [
        (29_999, 1, False),
        (30_000, 1, False),
        (30_001, 1, False),
        (75_000, 2, False),
        (200_000, 1, False),
        (15_000, 2, True),
        (12_000, 3, True),
        (40_000, 3, True),
        (300, 400, True),
    ],
)
@pytest.mark.parametrize("num_levels", [1, 7, 10**6])  # of score: with ties at the cut, and without
def test_the_best_candidates_are_kept_when_there_are_too_many(
    count: int, num_classes: int, num_levels: int, layout: Layout, *, multi_label: bool
) -> None:
    rng = np.random.default_rng(count)
    scores = rng.integers(1, num_levels + 1, (count, num_classes)) / (num_levels + 1)
    scores = scores.astype(np.float32)
    found = decode_yolo(
        in_layout(head_of(scores), layout), layout=layout, multi_label=multi_label, **ALL
    )
    assert pairs_of(found, num_classes) == expected_pairs(scores, 0.0, multi_label=multi_label)


def poisoned(rows: int) -> Options:
    return {
        "boxes": np.full((rows, 4), np.nan, np.float32),
        "scores": np.full(rows, np.nan, np.float32),
        "class_ids": np.full(rows, -7, np.int32),
    }


NATIVE: Options = {
    "channels_first": False,
    "score_threshold": 0.0,
    "multi_label": True,
    "iou_threshold": 0.5,
    "class_agnostic": False,
    "scale_xy": (1.0, 1.0),
    "offset_xy": (0.0, 0.0),
}


@pytest.mark.parametrize("name", ["raw yolo", "yolox", "nanodet"])
def test_a_head_in_parts_has_the_same_best_candidates(name: str) -> None:
    """A part has few enough candidates to need no cut while it is searched; the whole has not."""
    rng = np.random.default_rng(0)
    count, num_classes = 42_000, 2
    # A stride of 0 makes boxes without area, at x = the anchor's number.
    points = np.zeros((count, 3), np.float32)
    points[:, 0] = np.arange(count)
    kernel: Callable[..., int]
    if name == "raw yolo":
        head = rng.normal(-3, 2, (count, 4 + num_classes)).astype(np.float32)
        kernel, options = decode_yolo_dfl_cpu, NATIVE | {"num_bins": 1}
    elif name == "nanodet":
        head = rng.random((count, 8 + num_classes), np.float32)
        kernel, options = decode_nanodet_cpu, NATIVE | {"num_bins": 2}
    else:
        head = rng.random((count, 5 + num_classes), np.float32)
        kernel, options = decode_yolox_cpu, NATIVE

    def candidates(begin: int, end: int) -> list[tuple[float, float, int]]:
        out = poisoned(MAX_CANDIDATES)
        found = kernel(head=head[begin:end], points=points[begin:end], **options, **out)
        columns = (-out["scores"], out["boxes"][:, 0], out["class_ids"])
        return list(zip(*(column[:found].tolist() for column in columns), strict=True))

    parts = [pair for k in range(3) for pair in candidates(14_000 * k, 14_000 * (k + 1))]
    assert len(parts) == 3 * 28_000
    assert candidates(0, count) == sorted(parts)[:MAX_CANDIDATES]


def test_ssd_keeps_the_best_candidates_when_there_are_too_many() -> None:
    rng = np.random.default_rng(0)
    count, num_classes = 45_000, 2
    anchors = np.zeros((count, 4), np.float32)
    anchors[:, 0] = np.arange(count)
    logits = rng.normal(0, 2, (count, 1 + num_classes)).astype(np.float32)
    offsets = np.zeros_like(anchors)
    found = decode_ssd(offsets, logits, anchors, **ALL)
    parts = [
        decode_ssd(offsets[part], logits[part], anchors[part], **ALL)
        for part in (slice(k, k + 15_000) for k in range(0, count, 15_000))
    ]
    every = [pair for part in parts for pair in zip(-part.scores, pairs_of(part, 2), strict=True)]
    assert len(every) == 2 * count
    actual = list(zip(-found.scores, pairs_of(found, 2), strict=True))
    assert actual == sorted(every)[:MAX_CANDIDATES]


@pytest.mark.parametrize("num_rivals", [500, 1023, 1024, 1025, 4095, 4097, 9000])
def test_suppression_goes_on_while_detections_are_missing(
    decoders: Decoders, num_rivals: int
) -> None:
    # The best candidates are all of one place: the others are found however far behind they rank.
    rng = np.random.default_rng(0)
    crowd = np.tile(np.array([[50, 50, 20, 20]], np.float32), (num_rivals, 1))
    others = np.array([[200 + 50 * k, 50, 20, 20] for k in range(7)], np.float32)
    scores = np.concatenate([rng.uniform(0.6, 0.9, num_rivals), rng.uniform(0.4, 0.5, 7)])
    head = np.hstack([np.vstack([crowd, others]), scores[:, None]]).astype(np.float32)
    head = head[rng.permutation(len(head))]
    for limit, expected in ((100, 8), (8, 8), (5, 5)):
        found = decoders.yolo(head, layout="nc", **COMMON | {"max_detections": limit})
        assert len(found) == expected
        assert (np.diff(found.scores) < 0).all()
        boxes = {tuple(box) for box in found.boxes_xyxy.tolist()}
        assert len(boxes) == expected


@pytest.mark.parametrize("max_detections", [20, 300, 3000])
@layouts
def test_crowds_match_the_reference(
    decoders: Decoders, layout: Layout, max_detections: int, assert_same: Callable[..., None]
) -> None:
    rng = np.random.default_rng(1)
    centres = rng.uniform(20, 300, (30, 2))[rng.integers(0, 30, 800)] + rng.normal(0, 3, (800, 2))
    head = np.hstack([centres, rng.uniform(20, 40, (800, 2)), rng.random((800, 6)) ** 4])
    head = in_layout(head.astype(np.float32), layout)
    options: Options = {"layout": layout, "score_threshold": 0.01, "iou_threshold": 0.4}
    options |= {"max_detections": max_detections, "multi_label": True}
    assert_same(decoders.yolo(head, **options), reference.decode_yolo(head, **options), least=20)


def test_equal_scores_keep_the_order_of_anchors_then_classes(decoders: Decoders) -> None:
    boxes = np.array([[50 * i, 8, 8, 8] for i in range(4)], np.float32)
    head = np.hstack([boxes, np.full((4, 3), 0.5, np.float32)])
    for layout in ("cn", "nc"):
        found = decoders.yolo(in_layout(head, layout), layout=layout, multi_label=True, **COMMON)
        assert found.class_ids.tolist() == [0, 1, 2] * 4
        assert (np.diff(found.boxes_xyxy[:, 0]) >= 0).all()


def test_suppression_is_class_aware_unless_asked(decoders: Decoders) -> None:
    head = np.array([[8, 8, 4, 4, 0.9, 0.8]], np.float32)
    options = COMMON | {"layout": "nc", "multi_label": True}
    assert decoders.yolo(head, **options).class_ids.tolist() == [0, 1]
    assert decoders.yolo(head, **options, class_agnostic=True).class_ids.tolist() == [0]
