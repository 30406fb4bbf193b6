"""Suppression in PyTorch against edgecv.kernels.nms, which knows nothing of torchvision."""

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from edgecv.kernels import nms  # noqa: E402
from edgecv.models.suppress import suppress  # noqa: E402

Floats = NDArray[np.float32]

# Whole corners and few scores: exact areas, many ties.
cases = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda bnc: st.tuples(
        arrays(np.float32, (*bnc[:2], 2), elements=st.integers(0, 6).map(float)),
        arrays(np.float32, (*bnc[:2], 2), elements=st.integers(1, 6).map(float)),
        arrays(np.float32, bnc, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    )
)


@given(
    case=cases,
    score_threshold=st.sampled_from([0.0, 0.25, 0.6]),
    iou_threshold=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    max_detections=st.integers(1, 40),
)
def test_matches_the_kernel(
    case: tuple[Floats, Floats, Floats],
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> None:
    top_left, sides, scores = case
    boxes = np.concatenate([top_left, top_left + sides], axis=-1)
    counts, found_boxes, found_scores, found_classes = suppress(
        torch.from_numpy(boxes),
        torch.from_numpy(scores),
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
    )
    for image, count in enumerate(counts.tolist()):
        rows, classes = np.nonzero(scores[image] > score_threshold)
        values = scores[image, rows, classes]
        kept = nms(
            boxes[image, rows],
            values,
            classes.astype(np.int32),
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
        assert count == len(kept)
        np.testing.assert_array_equal(found_boxes[image, :count], boxes[image, rows][kept])
        np.testing.assert_array_equal(found_scores[image, :count], values[kept])
        np.testing.assert_array_equal(found_classes[image, :count], classes[kept])
        assert not found_boxes[image, count:].any()
        assert not found_scores[image, count:].any()
        assert (found_classes[image, count:] == -1).all()


def test_shapes_and_types_of_the_contract() -> None:
    found = suppress(
        torch.zeros(2, 5, 4),
        torch.zeros(2, 5, 3),
        score_threshold=0.5,
        iou_threshold=0.5,
        max_detections=7,
    )
    assert [tuple(value.shape) for value in found] == [(2,), (2, 7, 4), (2, 7), (2, 7)]
    kinds = [torch.int32, torch.float32, torch.float32, torch.int32]
    assert [value.dtype for value in found] == kinds
