"""Operators in PyTorch against edgecv.kernels and torchvision's own classes."""

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from torch._subclasses.fake_tensor import (  # noqa: E402
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from edgecv.kernels import nms, roi_align_pyramid, roi_pool  # noqa: E402
from edgecv.models import build_model, operators  # noqa: E402
from edgecv.models.fused import fused  # noqa: E402
from edgecv.models.operators import align_pyramid, pool_max, suppress  # noqa: E402
from edgecv.spec import PostprocessSpec  # noqa: E402

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


def on_numpy(function: Any) -> Any:
    """A kernel of the processor, for tensors: a stand-in for the GPU's of the same arguments."""

    def converted(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.numpy()
        is_list = isinstance(value, list) and isinstance(value[0], torch.Tensor)
        return [x.numpy() for x in value] if is_list else value

    def call(*arguments: Any, **options: Any) -> Any:
        named = {name: converted(value) for name, value in options.items()}
        return torch.from_numpy(function(*map(converted, arguments), **named))

    return call


def test_a_gpus_kernels_get_the_same_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(
        roi_align_pyramid=on_numpy(roi_align_pyramid), roi_pool=on_numpy(roi_pool)
    )
    monkeypatch.setattr(operators, "_on_gpu", gpu)
    maps = [torch.randn(2, 3, 320 // stride, 256 // stride) for stride in (8, 16)]
    boxes = rois(2, 40, 250)
    found = operators._align_on_gpu(boxes, maps, [7, 5], [1 / 8, 1 / 16], 2, True)  # noqa: FBT003
    wanted = align_pyramid(maps, boxes, (7, 5), strides=(8, 16), sampling_ratio=2, aligned=True)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    found = operators._pool_on_gpu(maps[0], boxes, [7, 5], 1 / 8)
    torch.testing.assert_close(found, pool_max(maps[0], boxes, (7, 5), stride=8))


def test_a_gpus_suppression_gets_tensors_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def edge_nms(boxes_xyxy: Any, scores: Any, *, layout: str, **options: Any) -> Any:
        assert layout == "nc"
        assert boxes_xyxy.is_contiguous()
        assert scores.is_contiguous()
        assert all(
            isinstance(options[f"{name}_threshold"], torch.Tensor) for name in ("score", "iou")
        )
        names = ("num_detections", "boxes", "scores", "class_ids")
        found = suppress(boxes_xyxy, scores, **options)
        return SimpleNamespace(**dict(zip(names, found, strict=True)))

    monkeypatch.setattr(operators, "_on_gpu", SimpleNamespace(edge_nms=edge_nms))
    boxes, scores = rois(2, 30, 200), torch.rand(2, 3, 30).transpose(1, 2)
    limits = torch.tensor(0.3), torch.tensor(0.5)
    found = operators._nms_on_gpu(boxes, scores, *limits, 9, False)  # noqa: FBT003
    wanted = suppress(boxes, scores, *limits, max_detections=9)
    for left, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


class Crossings(TorchDispatchMode):
    """Notes operators that read or write arrays on both sides of the bus, and asks for values."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        read, written = (
            [x for x in tree_leaves(values) if isinstance(x, torch.Tensor)]
            for values in ((args, kwargs), out)
        )
        # Numbers of the host are part of a launch, unless they are copied.
        read = [x for x in read if x.ndim or ".to." in str(func) or "copy" in str(func)]
        if len({x.device.type for x in [*read, *written]}) > 1:
            self.found.add(str(func))
        return out


ON_A_GPU = ("faster_rcnn_lite", "keypoint_rcnn_lite", "mask_rcnn_lite", "fast_rcnn", "rcnn", "fcos")


@pytest.mark.parametrize("name", [*ON_A_GPU, "retinanet", "ssd_mobilenetv2", "yolo_n", "lenet"])
def test_a_whole_network_stays_on_the_gpu(name: str) -> None:
    """No copy over the bus and no value asked for, so that a CUDA graph can hold it.

    The tensors are PyTorch's fake ones: they have a device and no memory. An operator whose result
    has a size that depends on values raises.
    """
    options = {"num_keypoints": 2} if name.startswith("keypoint") else {}
    side = 32 if name == "lenet" else 96
    network = build_model(name, 2, (side, side), **options).eval()
    module = fused(network, PostprocessSpec()).eval()
    kept = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with FakeTensorMode():
        there = {key: torch.empty(x.shape, dtype=x.dtype, device="cuda") for key, x in kept.items()}
        inputs = [torch.empty(2, 3, side, side, device="cuda")]
        inputs += [torch.empty((), device="cuda") for _ in module.scalar_names]
        if (wanted := network.proposals_spec()) is not None:
            inputs.append(torch.empty(2, wanted.count, 4, device="cuda"))
        with torch.inference_mode(), operators.on_kernels(), Crossings() as crossings:
            outputs = torch.func.functional_call(module, there, tuple(inputs))
    assert crossings.found == set()
    assert {x.device.type for x in outputs} == {"cuda"}


def test_a_crossing_is_seen() -> None:
    with FakeTensorMode(), torch.inference_mode(), Crossings() as crossings:
        x = torch.empty(4, 4, device="cuda")
        x[:, [3, 1]]
        assert crossings.found
        crossings.found.clear()
        x.cpu()
        assert crossings.found
        with pytest.raises(DataDependentOutputException):
            float(x[0, 0])
        with pytest.raises(DynamicOutputShapeException):
            x.nonzero()
