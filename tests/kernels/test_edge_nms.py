"""Every implementation of edge_nms against the reference, onnxruntime and its own properties."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgecv.kernels import EdgeNmsOutput, edge_nms, reference

from .conftest import Place

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
    found = edge_nms(
        place.array(boxes), place.array(scores), out=out, box_rows=box_rows, **options
    )
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
