"""decode_yolox against the reference, and what is its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import decode_yolox, reference
from edgecv.kernels.decode import Layout

Floats = NDArray[np.float32]
Options = dict[str, Any]

COMMON: Options = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 100}

SCORE_TOLERANCE = 64 * float(np.finfo(np.float32).eps)  # see conftest.py

layouts = pytest.mark.parametrize("layout", ["nc", "cn"])
labels = pytest.mark.parametrize("multi_label", [False, True])


@labels
@layouts
@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("score_threshold", [0.02, 0.3])
@pytest.mark.parametrize("num_classes", [1, 2, 15, 17])
def test_matches_reference(
    num_classes: int,
    score_threshold: float,
    layout: Layout,
    yolox_head: Callable[..., Floats],
    size_hw: tuple[int, int],
    assert_same: Callable[..., None],
    *,
    class_agnostic: bool,
    multi_label: bool,
) -> None:
    head = yolox_head(num_classes=num_classes)
    head = head if layout == "nc" else head.T
    options = COMMON | {"score_threshold": score_threshold, "size_hw": size_hw, "layout": layout}
    options |= {"multi_label": multi_label, "class_agnostic": class_agnostic}
    assert_same(decode_yolox(head, **options), reference.decode_yolox(head, **options))


@labels
@layouts
def test_products_at_the_threshold_are_decided_as_rounded(
    layout: Layout, *, multi_label: bool
) -> None:
    # Two factors of every size whose product lies next to the threshold, on either side.
    rng = np.random.default_rng(0)
    threshold = np.float32(0.3)
    count = 64 * 64
    objectness = rng.uniform(0.3, 1, count).astype(np.float32)
    probability = (threshold / objectness).astype(np.float32)
    probability += (rng.integers(-2, 3, count) * np.spacing(probability)).astype(np.float32)
    probability = np.minimum(probability, np.float32(1))
    head = np.zeros((count, 6), np.float32)
    head[:, 2:4] = -100  # boxes without area: every candidate becomes a detection
    head[:, 4], head[:, 5] = objectness, probability
    head = head if layout == "nc" else np.ascontiguousarray(head.T)
    options = COMMON | {"max_detections": count, "multi_label": multi_label, "layout": layout}
    found = decode_yolox(head, size_hw=(64, 64), strides=(1,), **options)
    expected = objectness * probability
    assert 500 < len(found) < count - 500
    np.testing.assert_array_equal(found.scores, -np.sort(-expected[expected > threshold]))


def test_worked_example() -> None:
    head = np.zeros((5, 6), np.float32)
    head[4] = [0.5, 0.25, np.log(2), 0, 0.5, 0.8]  # the only cell of the second level
    found = decode_yolox(head, strides=(8, 16), size_hw=(16, 16), **COMMON)
    np.testing.assert_allclose(found.boxes_xyxy, [[8 - 16, 4 - 8, 8 + 16, 4 + 8]], atol=1e-5)
    np.testing.assert_allclose(found.scores, [0.4], rtol=SCORE_TOLERANCE)


@layouts
@labels
def test_factors_that_are_not_numbers_give_no_candidates(
    layout: Layout, *, multi_label: bool
) -> None:
    head = np.zeros((4, 7), np.float32)
    head[:, 4:] = 0.9
    head[0, 4] = head[1, 5] = head[2, 5] = head[2, 6] = np.nan
    head = head if layout == "nc" else np.ascontiguousarray(head.T)
    options = COMMON | {"iou_threshold": 1.0, "multi_label": multi_label, "layout": layout}
    found = decode_yolox(head, size_hw=(16, 16), strides=(8,), **options)
    assert found.class_ids.tolist() == ([1, 0, 1] if multi_label else [1, 0])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((6, 4, 1), {}, r"`head` must have shape \(N, 5 \+ C\)"),
        ((6, 4, 1), {"layout": "cn"}, r"`head` must have shape \(5 \+ C, N\)"),
        ((4, 5), {}, "`head` must have channels for at least 1 class"),
        ((3, 6), {}, "`head` must have 4 anchors .* got 3"),
        ((4, 6), {"layout": "cn"}, "`head` must have channels for at least 1 class"),
    ],
)
def test_refuses_values(shape: tuple[int, ...], options: Options, message: str) -> None:
    with pytest.raises(ValueError, match=f"^decode_yolox: {message}"):
        decode_yolox(
            np.zeros(shape, np.float32), size_hw=(16, 16), strides=(8,), **COMMON, **options
        )
