"""Operators in PyTorch against edgecv.kernels and torchvision's own classes."""

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from edgecv.kernels import nms, roi_align_pyramid, roi_pool  # noqa: E402
from edgecv.models.operators import align_pyramid, pool_max, suppress  # noqa: E402

Floats = NDArray[np.float32]

# Whole corners and few scores: exact areas, many ties.
cases = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda bnc: st.tuples(
        arrays(np.float32, (*bnc[:2], 2), elements=st.integers(0, 6).map(float)),
        arrays(np.float32, (*bnc[:2], 2), elements=st.integers(1, 6).map(float)),
        arrays(np.float32, bnc, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    )
)


@pytest.mark.parametrize("agnostic", [False, True])
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
    *,
    agnostic: bool,
) -> None:
    top_left, sides, scores = case
    boxes = np.concatenate([top_left, top_left + sides], axis=-1)
    counts, found_boxes, found_scores, found_classes = suppress(
        torch.from_numpy(boxes),
        torch.from_numpy(scores),
        score_threshold,
        iou_threshold,
        max_detections=max_detections,
        class_agnostic=agnostic,
    )
    for image, count in enumerate(counts.tolist()):
        taking_part = scores[image] > score_threshold
        if agnostic:
            best = scores[image].argmax(axis=1)[:, None]
            taking_part &= best == np.arange(scores.shape[2])
        rows, classes = np.nonzero(taking_part)
        values = scores[image, rows, classes]
        kept = nms(
            boxes[image, rows],
            values,
            None if agnostic else classes.astype(np.int32),
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
        0.5,
        0.5,
        max_detections=7,
    )
    assert [tuple(value.shape) for value in found] == [(2,), (2, 7, 4), (2, 7), (2, 7)]
    kinds = [torch.int32, torch.float32, torch.float32, torch.int32]
    assert [value.dtype for value in found] == kinds


def rois(batch: int, count: int, size: float) -> torch.Tensor:
    """RoIs of 1 to `size` pixels: every level has some."""
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(batch, count, 2, generator=generator) * size / 2
    sides = size ** torch.rand(batch, count, 2, generator=generator)
    return torch.cat([corner, corner + sides], dim=-1)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_aligns_like_the_kernel(sampling_ratio: int, *, aligned: bool) -> None:
    maps = [torch.randn(2, 3, 640 // stride, 512 // stride) for stride in (4, 8, 16, 32)]
    boxes = rois(2, 60, 500)
    found = align_pyramid(
        maps,
        boxes,
        (7, 5),
        strides=(4, 8, 16, 32),
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
    expected = roi_align_pyramid(
        [x.numpy() for x in maps],
        boxes.flatten(0, 1).numpy(),
        (7, 5),
        spatial_scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32],
        sampling_ratio=sampling_ratio,
        aligned=aligned,
        batch_ids=np.repeat(np.arange(2, dtype=np.int32), 60),
    )
    assert found.shape == (2, 60, 3, 7, 5)
    np.testing.assert_allclose(found.flatten(0, 1), expected, atol=1e-5)


def test_aligns_like_torchvision() -> None:
    poolers = pytest.importorskip("torchvision.ops.poolers")
    maps = {str(stride): torch.randn(2, 3, 640 // stride, 512 // stride) for stride in (4, 8, 16)}
    boxes = rois(2, 60, 500)
    pooler = poolers.MultiScaleRoIAlign(list(maps), 7, 2)
    expected = pooler(maps, list(boxes), [(640, 512)] * 2)
    found = align_pyramid(list(maps.values()), boxes, (7, 7), strides=(4, 8, 16))
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=0, atol=0)


def test_pools_like_the_kernel() -> None:
    features, boxes = torch.randn(2, 3, 40, 32), rois(2, 30, 500)
    found = pool_max(features, boxes, (7, 5), stride=16)
    expected = roi_pool(
        features.numpy(),
        boxes.flatten(0, 1).numpy(),
        (7, 5),
        spatial_scale=1 / 16,
        batch_ids=np.repeat(np.arange(2, dtype=np.int32), 30),
    )
    np.testing.assert_array_equal(found.flatten(0, 1), expected)


def test_what_is_aligned_can_be_trained() -> None:
    maps = [torch.randn(1, 2, 8, 8, requires_grad=True) for _ in range(2)]
    boxes = torch.tensor([[[0.0, 0, 30, 30]]])
    align_pyramid(maps, boxes, (2, 2), strides=(4, 8)).sum().backward()
    fine, coarse = (x.grad for x in maps)
    assert fine is not None
    assert fine.any()
    assert coarse is None or not coarse.any()


@pytest.mark.parametrize("name", ["nms", "roi_align", "roi_pool"])
def test_the_nodes_are_well_formed(name: str) -> None:
    """torch's own checks: schema, fake implementation, aliasing."""
    boxes = rois(2, 10, 60)
    arguments = {
        "nms": (boxes, torch.rand(2, 10, 3), torch.tensor(0.1), torch.tensor(0.5), 7, True),
        "roi_align": (
            boxes,
            [torch.randn(2, 3, 16, 16), torch.randn(2, 3, 8, 8)],
            [3, 2],
            [0.25, 0.125],
            2,
            False,
        ),
        "roi_pool": (torch.randn(2, 3, 16, 16), boxes, [3, 2], 0.25),
    }[name]
    node = getattr(torch.ops.edgecv, name).default
    checks = ("test_schema", "test_faketensor")
    assert set(torch.library.opcheck(node, arguments, test_utils=checks).values()) == {"SUCCESS"}
