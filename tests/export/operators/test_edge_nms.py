"""EdgeNMS's function body, run by onnxruntime, against its contract."""

from functools import cache

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from edgecv.export.operators.edge_nms import EdgeNMS  # noqa: E402
from edgecv.kernels import edge_nms  # noqa: E402

Floats = NDArray[np.float32]
Outputs = tuple[NDArray[np.int32], Floats, Floats, NDArray[np.int32]]

NAMES = ["num_detections", "boxes", "scores", "classes"]
SCORE_THRESHOLD, IOU_THRESHOLD = 0.25, 0.5
K = 6
VARIANTS = [
    EdgeNMS(K, agnostic, background) for agnostic in (False, True) for background in (-1, 1)
]
OPSETS = [19, 20]


@cache
def session(operator: EdgeNMS, opset: int = 20) -> onnxruntime.InferenceSession:
    """A graph of one node, of any batch, boxes and classes; the thresholds have a default."""
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    rows = {"num_detections": ["B"], "boxes": ["B", "K", 4], "scores": ["B", "K"]}
    defaults = {"score_threshold": SCORE_THRESHOLD, "iou_threshold": IOU_THRESHOLD}
    inputs = {
        "boxes_in": ["B", "N", 4],
        "scores_in": ["B", "N", "C"],
        **{name: [] for name in defaults},
    }
    node = onnx.helper.make_node(
        "EdgeNMS",
        list(inputs),
        NAMES,
        domain="edgecv",
        max_detections=operator.max_detections,
        class_agnostic=int(operator.class_agnostic),
        background_class=operator.background_class,
        plugin_version="1",
        plugin_namespace="edgecv",
    )
    integers = onnx.TensorProto.INT32
    graph = onnx.helper.make_graph(
        [node],
        "suppression",
        [value(name, kind, shape) for name, shape in inputs.items()],
        [
            value(
                name, kind if name in ("boxes", "scores") else integers, rows.get(name, ["B", "K"])
            )
            for name in NAMES
        ],
        [onnx.helper.make_tensor(name, kind, [], [number]) for name, number in defaults.items()],
    )
    opsets = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("edgecv", 1)]
    model = onnx.helper.make_model(
        graph, opset_imports=opsets, ir_version=10, functions=[operator.function(opset=opset)]
    )
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of the thresholds, inputs with a default
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(
    operator: EdgeNMS, boxes: Floats, scores: Floats, *, opset: int = 20, **thresholds: float
) -> Outputs:
    scalars = {name: np.array(value, np.float32) for name, value in thresholds.items()}
    feeds = {"boxes_in": boxes, "scores_in": scores, **scalars}
    return tuple(session(operator, opset).run(NAMES, feeds))


def iou(a: Floats, b: Floats) -> float:
    """IoU in float64; an inverted or empty box has none."""
    sides = [np.maximum(0, box[2:].astype(float) - box[:2]) for box in (a, b)]
    areas = [side.prod() for side in sides]
    shared = np.minimum(a[2:], b[2:]).astype(float) - np.maximum(a[:2], b[:2])
    inter = np.maximum(0, shared).prod() if min(areas) > 0 else 0.0
    return float(inter / (sum(areas) - inter)) if inter else 0.0


def greedy(
    operator: EdgeNMS, boxes: Floats, scores: Floats, score_threshold: float, iou_threshold: float
) -> Outputs:
    """The contract for one image, pair by pair."""
    pairs = [
        (-float(score), box, class_id)
        for (box, class_id), score in np.ndenumerate(scores)
        if score > score_threshold and class_id != operator.background_class
    ]
    if operator.class_agnostic:
        pairs = [min(pair for pair in pairs if pair[1] == box) for box in {p[1] for p in pairs}]
    kept: list[tuple[float, int, int]] = []
    for pair in sorted(pairs):
        rivals = [other for other in kept if operator.class_agnostic or other[2] == pair[2]]
        if all(iou(boxes[pair[1]], boxes[other[1]]) <= iou_threshold for other in rivals):
            kept.append(pair)
    kept = kept[: operator.max_detections]
    rows = np.zeros((operator.max_detections, 4), np.float32)
    values = np.zeros(operator.max_detections, np.float32)
    classes = np.full(operator.max_detections, -1, np.int32)
    for row, (negated, box, class_id) in enumerate(kept):
        rows[row], values[row], classes[row] = boxes[box], -negated, class_id
    return np.array(len(kept), np.int32), rows, values, classes


def check(found: Outputs, expected: list[Outputs]) -> None:
    for value, wanted in zip(found, zip(*expected, strict=True), strict=True):
        stacked = np.stack(wanted)
        assert value.dtype == stacked.dtype
        np.testing.assert_array_equal(value, stacked)


# Whole corners make every area exact; empty and inverted boxes, ties and NaN occur on purpose.
SCORES = [0.0, 0.25, 0.5, 0.5, 0.75, 1.0, np.nan]
cases = st.tuples(st.integers(1, 3), st.integers(1, 10), st.integers(2, 3)).flatmap(
    lambda bnc: st.tuples(
        arrays(np.float32, (*bnc[:2], 4), elements=st.integers(0, 6).map(float)),
        arrays(np.float32, bnc, elements=st.sampled_from(SCORES)),
    )
)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("operator", VARIANTS, ids=str)
@given(
    case=cases,
    score_threshold=st.sampled_from([0.0, 0.25, 0.6, 1.0]),
    iou_threshold=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_matches_the_contract(
    operator: EdgeNMS,
    opset: int,
    case: tuple[Floats, Floats],
    score_threshold: float,
    iou_threshold: float,
) -> None:
    boxes, scores = case
    thresholds = {"score_threshold": score_threshold, "iou_threshold": iou_threshold}
    found = run(operator, boxes, scores, opset=opset, **thresholds)
    check(found, [greedy(operator, *image, **thresholds) for image in zip(*case, strict=True)])


def crowd(count: int, num_classes: int) -> tuple[Floats, Floats]:
    """Two images of boxes that overlap much, with scores that often tie."""
    rng = np.random.default_rng(count)
    top_left = rng.uniform(0, 100, (2, count, 2))
    boxes = np.concatenate([top_left, top_left + rng.uniform(5, 60, (2, count, 2))], axis=-1)
    scores = rng.uniform(0, 1, (2, count, num_classes)).round(2)
    return boxes.astype(np.float32), scores.astype(np.float32)


@pytest.mark.parametrize("count", [2, 50, 300])
@pytest.mark.parametrize("operator", VARIANTS, ids=str)
def test_matches_the_kernel(operator: EdgeNMS, count: int) -> None:
    boxes, scores = crowd(count, num_classes=3)
    kernel = edge_nms(
        boxes,
        scores,
        score_threshold=SCORE_THRESHOLD,
        iou_threshold=IOU_THRESHOLD,
        max_detections=operator.max_detections,
        class_agnostic=operator.class_agnostic,
        background_class=operator.background_class,
    )
    for value, wanted in zip(run(operator, boxes, scores), kernel, strict=True):
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("count", [1, 50])
def test_matches_the_suppression_of_a_pytorch_session(count: int) -> None:
    torch = pytest.importorskip("torch")
    from edgecv.models.operators import suppress  # needs torch

    boxes, scores = crowd(count, num_classes=4)
    expected = suppress(
        torch.from_numpy(boxes),
        torch.from_numpy(scores),
        SCORE_THRESHOLD,
        IOU_THRESHOLD,
        max_detections=30,
    )
    for found, wanted in zip(run(EdgeNMS(30), boxes, scores), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


SQUARES = np.array([[[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]]], np.float32)  # IoU 9 / 11
SCORED = np.array([[[0.5], [0.75], [0.3]]], np.float32)


@pytest.mark.parametrize(
    ("thresholds", "kept"),
    [
        ({}, [1, 2]),
        ({"iou_threshold": 0.9}, [1, 0, 2]),
        ({"score_threshold": 0.6}, [1]),
        ({"score_threshold": 0.4, "iou_threshold": 0.9}, [1, 0]),
        ({"score_threshold": 0.75}, []),
    ],
)
def test_thresholds_are_inputs_with_a_default(
    thresholds: dict[str, float], kept: list[int]
) -> None:
    count, boxes, scores, _ = run(EdgeNMS(K), SQUARES, SCORED, **thresholds)
    assert count.tolist() == [len(kept)]
    np.testing.assert_array_equal(boxes[0, : len(kept)], SQUARES[0, kept])
    np.testing.assert_array_equal(scores[0, : len(kept)], SCORED[0, kept, 0])


def test_nothing_found_is_all_padding() -> None:
    count, boxes, scores, classes = run(EdgeNMS(K), SQUARES, np.zeros_like(SCORED))
    assert count.tolist() == [0]
    assert not boxes.any()
    assert not scores.any()
    assert (classes == -1).all()


@pytest.mark.parametrize("operator", VARIANTS, ids=str)
def test_ties_keep_the_lower_box_then_the_lower_class(operator: EdgeNMS) -> None:
    apart = np.arange(8, dtype=np.float32)[None, :, None] * 20 + np.array([0, 0, 9, 9], np.float32)
    _, boxes, _, classes = run(operator, apart, np.full((1, 8, 3), 0.5, np.float32))
    pairs = [(box, id_) for box in range(8) for id_ in range(3) if id_ != operator.background_class]
    if operator.class_agnostic:
        pairs = [(box, 0) for box in range(8)]
    assert classes[0].tolist() == [id_ for _, id_ in pairs[:K]]
    assert (boxes[0, :, 0] / 20).tolist() == [box for box, _ in pairs[:K]]
