"""decode_ssd against the reference, and what is its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import decode_ssd, reference
from edgecv.kernels.decode import Activation, Layout

from .conftest import Decoders

Floats = NDArray[np.float32]
Options = dict[str, Any]

COMMON: Options = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 100}

SCORE_TOLERANCE = 64 * float(np.finfo(np.float32).eps)  # see conftest.py

# Sizes around the block of 256 anchors and the vector width.
SIZES = [(count, 3) for count in (1, 2, 7, 8, 9, 15, 17, 255, 256, 257, 300)]
SIZES += [(40, num_classes) for num_classes in (1, 2, 4, 15, 16, 17, 20, 33)]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("layout", ["nc", "cn"])
@pytest.mark.parametrize(("count", "num_classes"), SIZES)
def test_matches_reference(
    decoders: Decoders,
    count: int,
    num_classes: int,
    layout: Layout,
    activation: Activation,
    ssd_head: Callable[..., tuple[Floats, Floats, Floats]],
    assert_same: Callable[..., None],
    *,
    class_agnostic: bool,
) -> None:
    offsets, logits, anchors = ssd_head(count, num_classes=num_classes)
    if activation == "sigmoid":
        logits = np.ascontiguousarray(logits[:, 1:])
    if layout == "cn":
        offsets, logits = offsets.T, logits.T
    options = COMMON | {"class_agnostic": class_agnostic, "score_threshold": 0.1, "layout": layout}
    options["activation"] = activation
    actual = decoders.ssd(offsets, logits, anchors, **options)
    assert_same(actual, reference.decode_ssd(offsets, logits, anchors, **options), least=0)


def test_worked_example(decoders: Decoders) -> None:
    # One anchor at (50, 40) of 20 x 10, moved by a tenth of its width and doubled in height.
    offsets = np.array([[1.0, 0.0, 0.0, np.log(2) / 0.2]], np.float32)
    logits = np.log(np.array([[0.2, 0.1, 0.7]], np.float32))
    anchors = np.array([[50, 40, 20, 10]], np.float32)
    found = decoders.ssd(offsets, logits, anchors, **COMMON)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_allclose(found.scores, [0.7], rtol=SCORE_TOLERANCE)
    np.testing.assert_allclose(found.boxes_xyxy, [[42, 30, 62, 50]], rtol=SCORE_TOLERANCE)


def test_worked_example_of_sigmoids(decoders: Decoders) -> None:
    offsets, anchors = np.zeros((2, 4), np.float32), np.array([[8] * 4, [60] * 4], np.float32)
    chances = np.array([[0.2, 0.9], [0.6, 0.25]])
    logits = np.log(chances / (1 - chances)).astype(np.float32)
    found = decoders.ssd(offsets, logits, anchors, activation="sigmoid", **COMMON)
    assert found.class_ids.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.6], rtol=SCORE_TOLERANCE)
    np.testing.assert_array_equal(found.boxes_xyxy, [[4, 4, 12, 12], [30, 30, 90, 90]])


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9999999, 1.0])
def test_sigmoids_just_past_the_threshold_are_found(decoders: Decoders, threshold: float) -> None:
    """Logits around that of the threshold: found are those whose rounded score is above it."""
    middle = {0.0: -80.0, 1.0: 17.0}.get(threshold) or np.log(threshold) - np.log1p(-threshold)
    around = np.float32(middle) + np.spacing(np.float32(middle)) * np.arange(-40, 40)
    logits = np.concatenate([around, [-90, 90]]).astype(np.float32)[:, None]
    anchors = np.array([[50 * i, 8, 8, 8] for i in range(len(logits))], np.float32)
    heads = np.zeros_like(anchors), logits, anchors

    def scores(threshold: float) -> NDArray[np.float32]:
        options = COMMON | {"score_threshold": threshold}
        return decoders.ssd(*heads, activation="sigmoid", **options).scores

    everything = scores(0.0)
    np.testing.assert_array_equal(scores(threshold), everything[everything > np.float32(threshold)])


@pytest.mark.parametrize("layout", ["nc", "cn"])
def test_sigmoids_that_are_not_numbers_are_no_candidates(
    decoders: Decoders, layout: Layout
) -> None:
    logits = np.array([[np.nan, 2], [np.inf, -9], [-np.inf, np.nan]], np.float32)
    anchors = np.array([[50 * i, 8, 8, 8] for i in range(3)], np.float32)
    heads = (np.zeros((3, 4), np.float32), logits)
    if layout == "cn":
        heads = (heads[0].T, heads[1].T)
    found = decoders.ssd(*heads, anchors, layout=layout, activation="sigmoid", **COMMON)
    assert found.class_ids.tolist() == [0, 1]
    assert found.scores[0] == 1.0


def test_takes_every_class_of_an_anchor(decoders: Decoders) -> None:
    offsets, anchors = np.zeros((1, 4), np.float32), np.full((1, 4), 8, np.float32)
    logits = np.log(np.array([[0.1, 0.4, 0.4, 0.1]], np.float32))
    assert decoders.ssd(offsets, logits, anchors, **COMMON).class_ids.tolist() == [0, 1]


@pytest.mark.parametrize("layout", ["nc", "cn"])
@pytest.mark.parametrize("level", [-1e4, 0.0, 1e4])  # logits so large that they lose digits
def test_scores_do_not_depend_on_the_level_of_the_logits(
    decoders: Decoders, level: float, layout: Layout
) -> None:
    rng = np.random.default_rng(0)
    logits = (rng.integers(-40, 40, (100, 4)) / 16 + level).astype(np.float32)
    offsets = np.zeros((100, 4), np.float32)
    anchors = np.array([[50 * i, 8, 8, 8] for i in range(100)], np.float32)
    heads = (offsets.T, logits.T) if layout == "cn" else (offsets, logits)
    options = COMMON | {"max_detections": 400, "layout": layout}
    found = decoders.ssd(*heads, anchors, **options)
    expected = reference.decode_ssd(*heads, anchors, **options)
    assert len(found) == len(expected[1]) > 50
    np.testing.assert_allclose(found.scores, expected[1], rtol=SCORE_TOLERANCE)


@pytest.mark.parametrize("layout", ["nc", "cn"])
def test_logits_that_are_not_numbers_give_no_candidates(decoders: Decoders, layout: Layout) -> None:
    nan, inf = np.nan, np.inf
    rows = [[0, nan, 9], [nan, 9, 9], [0, 9, nan], [0, inf, 0], [0, 0, 9], [-inf, -inf, 0]]
    logits = np.array(rows, np.float32)
    anchors = np.array([[50 * i, 8, 8, 8] for i in range(6)], np.float32)
    offsets = np.zeros_like(anchors)
    heads = (offsets.T, logits.T) if layout == "cn" else (offsets, logits)
    found = decoders.ssd(*heads, anchors, layout=layout, **COMMON)
    assert found.class_ids.tolist() == [1, 1]
    np.testing.assert_array_equal(found.boxes_xyxy, [[246, 4, 254, 12], [196, 4, 204, 12]])


GOOD: Options = {
    "offsets": np.zeros((2, 4), np.float32),
    "logits": np.zeros((2, 3), np.float32),
    "anchors_cxcywh": np.ones((2, 4), np.float32),
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offsets": np.zeros((2, 5), np.float32)}, r"`offsets` must have shape \(N, 4\)"),
        ({"layout": "cn"}, r"`offsets` must have shape \(4, N\), got \(2, 4\)"),
        ({"logits": np.zeros((3, 3), np.float32)}, r"`logits` must have shape \(2, 1 \+ C\)"),
        ({"logits": np.zeros((2, 1), np.float32)}, "`logits` must have channels for at least 1"),
        ({"anchors_cxcywh": np.ones((1, 4), np.float32)}, r"`anchors_cxcywh` must have shape \(2"),
        ({"variances": (0.1, 0.0)}, "`variances` must be positive"),
        ({"activation": "tanh"}, "`activation` must be "),
        (
            {"activation": "sigmoid", "logits": np.zeros((3, 3), np.float32)},
            r"`logits` must have shape \(2, C\)",
        ),
        (
            {"activation": "sigmoid", "logits": np.zeros((2, 0), np.float32)},
            "`logits` must have channels for at least 1",
        ),
    ],
)
def test_refuses_values(options: Options, message: str) -> None:
    with pytest.raises(ValueError, match=f"^decode_ssd: {message}"):
        decode_ssd(**GOOD | COMMON | options)


@pytest.mark.parametrize("name", GOOD)
def test_refuses_types(name: str) -> None:
    wrong = {name: GOOD[name].astype(np.float64)}
    with pytest.raises(TypeError, match=f"^decode_ssd: `{name}` must be float32, got float64"):
        decode_ssd(**GOOD | COMMON | wrong)
