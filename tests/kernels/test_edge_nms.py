"""Every implementation of edge_nms against the reference, onnxruntime and its own properties."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.kernels import EdgeNmsOutput, edge_nms, nms, reference

from .conftest import Place, heavy

IN_TRITON = True

Floats = NDArray[np.float32]
Scores = NDArray[np.float32] | NDArray[np.float16]
Outputs = tuple[NDArray[Any], ...]

THRESHOLDS = {"score_threshold": 0.25, "iou_threshold": 0.5}


def suppress(place: Place, boxes: Floats, scores: Scores, **options: Any) -> Outputs:
    """The operator on poisoned outputs and workspace, and with the box rows last."""
    batch, rows = len(boxes), (len(boxes), options["max_detections"])
    out = EdgeNmsOutput(
        place.poisoned((batch,), np.int32),
        place.poisoned((*rows, 4), np.float32),
        place.poisoned(rows, np.float32),
        place.poisoned(rows, np.int32),
    )
    box_rows = place.poisoned(rows, np.int32)
    options["implementation"] = place.implementation
    found = edge_nms(place.array(boxes), place.array(scores), out=out, box_rows=box_rows, **options)
    assert found is out
    return tuple(place.numpy(array) for array in (*out, box_rows))


def check(found: Outputs, boxes: Floats, expected: Outputs) -> None:
    for value, wanted in zip(found[:4], expected, strict=True):
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value, wanted)
    for rows, count, image, kept in zip(found[4], found[0], boxes, found[1], strict=True):
        assert (rows[count:] == -1).all()
        np.testing.assert_array_equal(image[rows[:count]], kept[:count])


def crowd(
    batch: int, count: int, num_classes: int, *, seed: int = 0, span: float = 100
) -> tuple[Floats, Floats]:
    """Boxes that overlap much, with scores that often tie."""
    rng = np.random.default_rng(seed)
    top_left = rng.uniform(0, span, (batch, count, 2))
    boxes = np.concatenate([top_left, top_left + rng.uniform(5, 60, (batch, count, 2))], axis=-1)
    scores = rng.uniform(0, 1, (batch, count, num_classes)).round(2)
    return boxes.astype(np.float32), scores.astype(np.float32)


# Whole corners make every area exact; empty and inverted boxes, ties and NaN occur on purpose.
cases = st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 3)).flatmap(
    lambda bnc: st.tuples(
        arrays(np.float32, (*bnc[:2], 4), elements=st.integers(0, 6).map(float)),
        arrays(
            np.float32,
            bnc,
            elements=st.sampled_from([0.0, -0.0, 0.25, 0.5, 0.5, 0.75, 1.0, np.nan, np.inf, -1.0]),
        ),
    )
)


@settings(max_examples=60)  # a GPU's block that is played takes milliseconds
@given(
    case=cases,
    score_threshold=st.sampled_from([0.0, 0.25, 0.6, 1.0]),
    iou_threshold=st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]) | st.floats(0, 1),
    max_detections=st.integers(1, 20),
    class_agnostic=st.booleans(),
    background_class=st.sampled_from([-1, 0, 1, 7]),
    layout=st.sampled_from(["nc", "cn"]),
    dtype=st.sampled_from([np.float32, np.float16]),
)
def test_matches_reference(
    place: Place, case: tuple[Floats, Floats], layout: str, dtype: type, **options: Any
) -> None:
    boxes, scores = case[0], case[1].astype(dtype)
    if layout == "cn":
        scores = np.ascontiguousarray(scores.transpose(0, 2, 1))
    options["layout"] = layout
    expected = reference.edge_nms(boxes, scores, **options)
    check(suppress(place, boxes, scores, **options), boxes, expected)


@cache
def expected_of_67_boxes(
    num_classes: int, dtype: type, *, class_agnostic: bool
) -> tuple[Floats, Scores, dict[str, Any], Outputs]:
    """Boxes, scores of which one in ten is high enough, options, and what comes of them."""
    boxes, scores = crowd(2, 67, num_classes, seed=num_classes)
    scores = scores.astype(dtype)
    options = {"score_threshold": 0.9, "iou_threshold": 0.5, "max_detections": 30}
    options |= {"class_agnostic": class_agnostic}
    return boxes, scores, options, reference.edge_nms(boxes, scores, **options)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("layout", ["nc", "cn"])
@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("num_classes", [1, 3, 8, 33, 80])
def test_every_way_of_reading_scores(
    place: Place, num_classes: int, layout: str, dtype: type, *, class_agnostic: bool
) -> None:
    # Rows of 67 boxes that 16 bytes divide, and rows that they do not; several tiles of 2048 pairs.
    boxes, scores, options, expected = expected_of_67_boxes(
        num_classes, dtype, class_agnostic=class_agnostic
    )
    if layout == "cn":
        scores = np.ascontiguousarray(scores.transpose(0, 2, 1))
    check(suppress(place, boxes, scores, layout=layout, **options), boxes, expected)


@pytest.mark.parametrize("batch", [1, 2, 5, pytest.param(64, marks=heavy)])
def test_images_are_apart(place: Place, batch: int) -> None:
    boxes, scores = crowd(batch, 9, 2, span=30)
    options = {**THRESHOLDS, "max_detections": 4}
    expected = reference.edge_nms(boxes, scores, **options)
    check(suppress(place, boxes, scores, **options), boxes, expected)


def spread(count: int) -> Floats:
    """Boxes far apart."""
    corners = np.stack([np.arange(count) % 512, np.arange(count) // 512], axis=1) * 4
    return np.hstack([corners, corners + 3]).astype(np.float32)[None]


# Around what is sorted at once, what takes part and what there is room for.
COUNTS = [2047, 2048, 2049, 8400, 30000, 31875, 31876, 100_000]


@pytest.mark.parametrize("count", [130, *(pytest.param(count, marks=heavy) for count in COUNTS)])
@pytest.mark.parametrize("kind", ["random", "coarse", "equal"])
def test_visits_many_candidates_in_order(place: Place, count: int, kind: str) -> None:
    # Far apart, so that all are kept: more than lie in shared memory.
    scores = np.random.default_rng(count).uniform(0.1, 1, count).astype(np.float32)
    if kind != "random":
        scores = scores.round(1) if kind == "coarse" else np.ones_like(scores)
    order = np.argsort(-scores, kind="stable")[:1500]
    boxes = spread(count)
    options = {"score_threshold": 0.0, "iou_threshold": 0.5, "max_detections": len(order)}
    found = suppress(place, boxes, scores.reshape(1, count, 1), **options)
    assert found[0].tolist() == [len(order)]
    np.testing.assert_array_equal(found[4][0], order)
    np.testing.assert_array_equal(found[2][0], scores[order])
    np.testing.assert_array_equal(found[1][0], boxes[0, order])


@heavy
@pytest.mark.parametrize("count", [30_001, 40_000])
def test_only_the_best_30000_take_part(place: Place, count: int) -> None:
    # Equal boxes, of which the first suppresses all but the last that takes part and the one after.
    if place.name == "emulated" and count == 30_001:
        pytest.skip("plays a block of 1024 threads for seconds; the other one shows as much")
    boxes = np.tile(np.array([0, 0, 4, 4], np.float32), (1, count, 1))
    boxes[0, 29_999] += 100
    boxes[0, 30_000] += 200
    scores = np.full((1, count, 1), 0.5, np.float32)
    found = suppress(place, boxes, scores, max_detections=3, **THRESHOLDS)
    assert found[0].tolist() == [2]
    assert found[4][0].tolist() == [0, 29_999, -1]


@heavy
def test_more_classes_of_more_candidates_than_there_is_room_for(place: Place) -> None:
    # 100000 pairs above the threshold, in both layouts; the search of all scores finds the same.
    boxes, scores = crowd(1, 1250, 80, span=600)
    scores += np.float32(0.001) * np.arange(80, dtype=np.float32) % np.float32(0.01)
    options = {"score_threshold": 0.0, "iou_threshold": 0.3, "max_detections": 200}
    rows, classes = np.nonzero(scores[0] > 0)
    values = scores[0, rows, classes]
    kept = nms(boxes[0, rows], values, classes.astype(np.int32), iou_threshold=0.3)[:200]
    by_class = np.ascontiguousarray(scores.transpose(0, 2, 1))
    for layout, laid_out in (("nc", scores), ("cn", by_class)):
        found = suppress(place, boxes, laid_out, layout=layout, **options)
        np.testing.assert_array_equal(found[4][0], rows[kept])
        np.testing.assert_array_equal(found[3][0], classes[kept])


@heavy
def test_boxes_beyond_shared_memory_still_suppress(place: Place) -> None:
    # 1100 boxes, then each of them again, moved a little and with a lower score.
    boxes = np.concatenate([spread(1100), spread(1100) + np.float32(0.125)], axis=1)
    scores = np.linspace(1, 0.5, 2200, dtype=np.float32).reshape(1, -1, 1)
    found = suppress(place, boxes, scores, max_detections=2200, **THRESHOLDS)
    assert found[0].tolist() == [1100]
    assert found[4][0, :1100].tolist() == list(range(1100))
    apart = suppress(
        place, boxes, np.concatenate([scores, scores], axis=2), max_detections=2200, **THRESHOLDS
    )
    np.testing.assert_array_equal(apart[4][0], np.repeat(np.arange(1100), 2))
    np.testing.assert_array_equal(apart[3][0], np.tile([0, 1], 1100))


def test_a_chain_of_suppressions(place: Place) -> None:
    # Each box suppresses the next, were it kept: every other one is, across chunks of 64.
    left = np.arange(200, dtype=np.float32)[None, :, None] * np.array([2, 0, 2, 0], np.float32)
    boxes = left + np.array([0, 0, 5, 1], np.float32)
    scores = np.linspace(1, 0.5, 200, dtype=np.float32).reshape(1, -1, 1)
    options = {"score_threshold": 0.25, "iou_threshold": 0.4, "max_detections": 200}
    found = suppress(place, boxes, scores, **options)  # IoU 3 / 7, then 1 / 9
    assert found[4][0, : found[0][0]].tolist() == list(range(0, 200, 2))


def test_ties_keep_the_lower_box_then_the_lower_class(place: Place) -> None:
    boxes, scores = spread(8), np.full((1, 8, 3), 0.5, np.float32)
    for background in (-1, 0, 1):
        options = {**THRESHOLDS, "max_detections": 10, "background_class": background}
        found = suppress(place, boxes, scores, **options)
        ids = [class_id for class_id in range(3) if class_id != background]
        pairs = [(box, class_id) for box in range(8) for class_id in ids][:10]
        assert list(zip(found[4][0], found[3][0], strict=True)) == pairs
        best = suppress(place, boxes, scores, class_agnostic=True, **options)
        assert best[3][0].tolist() == [ids[0]] * 8 + [-1] * 2


def test_a_score_that_is_not_a_number_hides_no_other(place: Place) -> None:
    scores = np.array([[[np.nan, 0.5], [0.75, np.nan], [np.nan, np.nan]]], np.float32)
    for class_agnostic in (False, True):
        found = suppress(
            place, spread(3), scores, max_detections=5, class_agnostic=class_agnostic, **THRESHOLDS
        )
        assert found[3][0].tolist() == [0, 1, -1, -1, -1]
        assert found[2][0].tolist() == [0.75, 0.5, 0, 0, 0]


def test_the_score_threshold_is_exceeded(place: Place) -> None:
    scores = np.nextafter(np.float32(0.3), np.array([0, 1, 0.3], np.float32)).reshape(1, 3, 1)
    found = suppress(
        place, spread(3), scores, score_threshold=0.3, iou_threshold=0.5, max_detections=3
    )
    assert found[4][0].tolist() == [1, -1, -1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_without_a_finite_area_overlaps_nothing(place: Place, value: float) -> None:
    boxes = np.tile(np.array([0, 0, 4, 4], np.float32), (1, 8, 1))
    for column in range(4):
        boxes[0, column, column] = value
    boxes[0, 4:7] = [[4, 4, 0, 0], [0, 2, 4, 2], [4, 0, 0, 4]]
    scores = np.linspace(1, 0.5, 8, dtype=np.float32).reshape(1, 8, 1)
    found = suppress(place, boxes, scores, score_threshold=0.0, iou_threshold=0.0, max_detections=8)
    assert found[4][0].tolist() == list(range(8))


@pytest.mark.parametrize("exponent", [-140, -75, -51, -50, 59, 60, 61, 100])
@pytest.mark.parametrize("iou_threshold", [0.0, 1e-7, 2.0**-20, 1 / 3, 1.0])
def test_decides_alike_at_every_scale(place: Place, exponent: int, iou_threshold: float) -> None:
    # Around the sides for which areas are compared in float32, and far beyond them.
    rng = np.random.default_rng(6)
    scales = np.ldexp(1.0, exponent + rng.integers(0, 3, (1, 67, 2)))
    corners = rng.integers(0, 8, (1, 67, 2)) * scales
    sides = rng.integers(1, 8, (1, 67, 2)) * scales
    boxes = np.concatenate([corners, corners + sides], axis=2).astype(np.float32)
    scores = rng.random((1, 67, 1)).astype(np.float32)
    options = {"score_threshold": 0.0, "iou_threshold": iou_threshold, "max_detections": 67}
    expected = reference.edge_nms(boxes, scores, **options)
    check(suppress(place, boxes, scores, **options), boxes, expected)


@settings(max_examples=20)
@given(
    corners=arrays(np.float32, (12, 2, 2), elements=st.floats(width=32)),
    are_valid=st.booleans(),
    iou_threshold=st.sampled_from([0.0, 1e-6, 0.3, 0.5, 1.0]),
)
def test_matches_reference_on_every_float(
    place: Place, corners: Floats, iou_threshold: float, *, are_valid: bool
) -> None:
    boxes = (np.sort(corners, axis=1) if are_valid else corners).reshape(1, -1, 4)
    scores = np.linspace(1, 0.5, 12, dtype=np.float32).reshape(1, -1, 1)
    options = {"score_threshold": 0.25, "iou_threshold": iou_threshold, "max_detections": 12}
    with np.errstate(over="ignore", invalid="ignore"):
        expected = reference.edge_nms(boxes, scores, **options)
    check(suppress(place, boxes, scores, **options), boxes, expected)


@pytest.mark.parametrize(("inter", "union"), [(1, 2), (1, 4), (3, 4), (5, 8)])
def test_iou_equal_to_the_threshold_does_not_suppress(place: Place, inter: int, union: int) -> None:
    # Ratios that are floats, on whole boxes and on boxes whose sides take all the digits.
    scores = np.array([[[0.9], [0.8]]], np.float32)
    for unit in (1.0, 1.0 + 2.0**-20):
        boxes = np.array([[[0, 0, union * unit, unit], [0, 0, inter * unit, unit]]], np.float32)
        for iou_threshold, kept in ((inter / union, 2), (inter / union - 1e-6, 1)):
            options = {**THRESHOLDS, "iou_threshold": iou_threshold, "max_detections": 5}
            assert suppress(place, boxes, scores, **options)[0].tolist() == [kept]


def test_large_coordinates_and_many_classes_keep_their_precision(place: Place) -> None:
    # Shifting boxes by class * max(coordinates), as others do, rounds these to one pixel or more.
    boxes = np.array([[[0, 0, 1, 1], [0.25, 0, 1.25, 1]]], np.float32) + np.float32(2.0**20)
    scores = np.zeros((1, 2, 500), np.float32)
    scores[0, :, 499] = 0.9, 0.8
    for iou_threshold, kept in ((0.55, [499, -1]), (0.65, [499, 499])):  # of an IoU of 0.6
        options = {**THRESHOLDS, "iou_threshold": iou_threshold, "max_detections": 2}
        assert suppress(place, boxes, scores, **options)[3].tolist() == [kept]


@pytest.mark.parametrize(("count", "num_classes"), [(2, 1), (50, 3), (300, 3)])
@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("background_class", [-1, 1])
def test_matches_the_operator_in_onnxruntime(
    place: Place, count: int, num_classes: int, background_class: int, *, class_agnostic: bool
) -> None:
    run = operator_in_onnxruntime()
    boxes, scores = crowd(2, count, num_classes)
    options = {"class_agnostic": class_agnostic, "background_class": background_class}
    options |= {"max_detections": 40, **THRESHOLDS}
    check(suppress(place, boxes, scores, **options), boxes, run(boxes, scores, **options))


def operator_in_onnxruntime() -> Callable[..., Outputs]:
    """EdgeNMS by its definition in standard operators."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    operators = pytest.importorskip("edgecv.export.operators.edge_nms")
    inputs = ["boxes_in", "scores_in", "score_threshold", "iou_threshold"]
    outputs = ["num_detections", "boxes", "scores", "classes"]

    def run(boxes: Floats, scores: Floats, **options: Any) -> Outputs:
        thresholds = {name: np.array(options.pop(name), np.float32) for name in inputs[2:]}
        node = onnx.helper.make_node("EdgeNMS", inputs, outputs, domain="edgecv")
        graph = onnx.helper.make_graph(
            [node],
            "suppression",
            [
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
                for name, shape in zip(inputs, [boxes.shape, scores.shape, [], []], strict=True)
            ],
            [
                onnx.helper.make_tensor_value_info(name, kind, None)
                for name, kind in zip(outputs, [6, 1, 1, 6], strict=True)  # int32, float32
            ],
        )
        model = onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("edgecv", 1)],
            ir_version=10,
            functions=[operators.EdgeNMS(**options).function(opset=20)],
        )
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return tuple(session.run(outputs, {"boxes_in": boxes, "scores_in": scores, **thresholds}))

    return run
