"""Arrays and streams of the real libraries, on a real GPU."""

from typing import Any

import numpy as np
import pytest

from edgecv.kernels import box_iou, resize_argmax
from edgecv.kernels.cuda import native
from edgecv.kernels.cuda.arrays import empty_like, stream_of, view_of
from edgecv.kernels.cuda.memory import DeviceArray

pytestmark = pytest.mark.cuda

BOXES = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [0, 0, 1, 2]], np.float32)


@pytest.fixture(autouse=True)
def real_gpu() -> None:
    """A GPU, and kernels that run on it."""
    reason = native.why_not()
    if reason is not None:
        pytest.skip(reason)
    assert native.is_built_for(native.cuda().compute_capability(0))


@pytest.fixture
def torch() -> Any:
    """PyTorch that has a GPU."""
    library = pytest.importorskip("torch")
    if not library.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    return library


def test_tensors_are_seen_as_they_are(torch: Any) -> None:
    for dtype in (torch.float32, torch.float16, torch.uint8, torch.bool, torch.int64):
        tensor = torch.zeros((3, 4, 5), dtype=dtype, device="cuda")[1:, :, ::2]
        view = view_of("f", "x", tensor)
        assert view.pointer == tensor.data_ptr()
        assert view.shape == tuple(tensor.shape)
        assert view.strides == tuple(step * tensor.element_size() for step in tensor.stride())
        assert str(view.dtype) == str(dtype).removeprefix("torch.")
    assert view_of("f", "x", torch.zeros((0, 4), device="cuda")).shape == (0, 4)


def test_refuses_tensors_that_no_kernel_can_take(torch: Any) -> None:
    with pytest.raises(TypeError, match="`x` must not require a gradient"):
        view_of("f", "x", torch.zeros(3, device="cuda", requires_grad=True))
    with pytest.raises(TypeError, match="`x` must be on the GPU, got Tensor on cpu"):
        view_of("f", "x", torch.zeros(3))


def test_works_on_the_stream_that_is_current_in_pytorch(torch: Any) -> None:
    boxes = torch.from_numpy(BOXES).cuda()
    side = torch.cuda.Stream()
    assert stream_of(side, boxes) == side.cuda_stream
    with torch.cuda.stream(side):
        assert stream_of(None, boxes) == side.cuda_stream
        overlaps = box_iou(boxes, boxes)
    side.synchronize()
    assert isinstance(overlaps, torch.Tensor)
    np.testing.assert_allclose(overlaps.cpu().numpy(), box_iou(BOXES, BOXES), atol=1e-6)


def test_new_tensors_belong_to_the_stream_that_writes_them(torch: Any) -> None:
    boxes = torch.from_numpy(BOXES).cuda()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    current = torch.cuda.current_stream()
    overlaps = box_iou(boxes, boxes, stream=side)
    assert torch.cuda.current_stream() == current
    side.synchronize()
    np.testing.assert_allclose(overlaps.cpu().numpy(), box_iou(BOXES, BOXES), atol=1e-6)
    assert empty_like(boxes, (2,), np.float32, stream=0).device == boxes.device


def test_what_is_on_another_stream_is_waited_for(torch: Any) -> None:
    side = torch.cuda.Stream()
    logits = np.random.default_rng(0).standard_normal((21, 68, 120)).astype(np.float32)
    there = DeviceArray.from_numpy(logits, stream=side.cuda_stream)
    labels = resize_argmax(there, (540, 960), stream=0)
    np.testing.assert_array_equal(labels.numpy(), resize_argmax(logits, (540, 960)))


def test_replays_in_a_graph(torch: Any) -> None:
    logits = torch.randn((2, 5, 9, 16), device="cuda")
    out = torch.empty((2, 72, 128), dtype=torch.uint8, device="cuda")
    confidence = torch.empty((2, 72, 128), device="cuda")
    resize_argmax(logits, (72, 128), out=out, confidence=confidence)  # CUDA loads the kernel
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        resize_argmax(logits, (72, 128), out=out, confidence=confidence)
    for _ in range(2):
        logits.normal_()
        out.fill_(255)
        graph.replay()
        expected = [resize_argmax(image, (72, 128)) for image in logits.cpu().numpy()]
        np.testing.assert_array_equal(out.cpu().numpy(), expected)


def test_takes_arrays_of_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    boxes = cupy.asarray(BOXES)
    with cupy.cuda.Stream(non_blocking=True) as side:
        assert stream_of(None, boxes) == side.ptr
    overlaps = box_iou(boxes, boxes)
    assert isinstance(overlaps, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(overlaps), box_iou(BOXES, BOXES), atol=1e-6)
