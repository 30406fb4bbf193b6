"""The arguments of edge_nms: memory, thresholds, implementations, and what is refused."""

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.errors import MissingDependencyError
from edgecv.kernels import EdgeNmsOutput, edge_nms, num_threads, reference, set_num_threads
from edgecv.kernels.cuda.edge_nms import workspace_bytes

from .conftest import Place, Processor
from .device_slices import DeviceSlice
from .test_edge_nms import THRESHOLDS, check, crowd, suppress

IN_TRITON = True


def test_allocates_what_it_returns(place: Place) -> None:
    boxes, scores = crowd(2, 9, 3)
    options = {**THRESHOLDS, "max_detections": 5}
    there = place.array(boxes), place.array(scores)
    found = edge_nms(*there, implementation=place.implementation, **options)
    check(
        (*(place.numpy(array) for array in found), suppress(place, boxes, scores, **options)[4]),
        boxes,
        reference.edge_nms(boxes, scores, **options),
    )


def test_reads_views() -> None:
    boxes, scores = crowd(4, 20, 6)
    options = {**THRESHOLDS, "max_detections": 5}
    views = edge_nms(boxes[::-2], scores[::-2, :, ::2], **options)
    copies = edge_nms(boxes[::-2].copy(), scores[::-2, :, ::2].copy(), **options)
    for view, copy in zip(views, copies, strict=True):
        np.testing.assert_array_equal(view, copy)


def test_the_number_of_threads_changes_nothing() -> None:
    boxes, scores = crowd(5, 100, 3)
    options = {**THRESHOLDS, "max_detections": 20}
    expected = edge_nms(boxes, scores, **options)
    before = num_threads()
    set_num_threads(4)
    found = edge_nms(boxes, scores, **options)
    set_num_threads(before)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_thresholds_in_device_memory_are_read_by_the_kernels(gpu: Place) -> None:
    # What they hold changes from call to call, in one workspace, as when a graph is replayed.
    boxes, scores = crowd(2, 40, 3)
    on_gpu = gpu.array(boxes), gpu.array(scores)
    workspace = gpu.poisoned((workspace_bytes(2, 40, 3, 20),), np.uint8)
    for score, iou, shape in ((0.25, 0.5, ()), (0.6, 0.2, (1,)), (0.0, 1.0, ()), (1.0, 0.0, (1,))):
        expected = reference.edge_nms(
            boxes, scores, score_threshold=score, iou_threshold=iou, max_detections=20
        )
        found = edge_nms(
            *on_gpu,
            score_threshold=gpu.array(np.full(shape, score, np.float32)),
            iou_threshold=gpu.array(np.full(shape, iou, np.float32)),
            max_detections=20,
            workspace=workspace,
        )
        for value, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(gpu.numpy(value), wanted)


@pytest.mark.parametrize(
    ("score_threshold", "iou_threshold", "kept"),
    [(np.nan, 0.5, []), (-1.0, 0.5, [0, 2]), (0.25, np.nan, [0, 1, 2]), (0.25, -1.0, [0, 2])],
)
def test_thresholds_that_nobody_could_check(
    gpu: Place, score_threshold: float, iou_threshold: float, kept: list[int]
) -> None:
    boxes = np.array([[[0, 0, 4, 4], [0, 0, 4, 4], [8, 8, 9, 9]]], np.float32)
    scores = np.array([[[0.75], [0.5], [0.5]]], np.float32)
    found = edge_nms(
        gpu.array(boxes),
        gpu.array(scores),
        score_threshold=gpu.array(np.array(score_threshold, np.float32)),
        iou_threshold=gpu.array(np.array(iou_threshold, np.float32)),
        max_detections=3,
    )
    assert gpu.numpy(found.num_detections).tolist() == [len(kept)]
    np.testing.assert_array_equal(gpu.numpy(found.boxes)[0, : len(kept)], boxes[0, kept])


def test_one_workspace_for_calls_of_any_size(gpu: Place) -> None:
    workspace = gpu.poisoned((workspace_bytes(3, 300, 4, 1200),), np.uint8)
    for batch, count, num_classes, most in ((3, 300, 4, 1200), (1, 5, 1, 3), (2, 300, 4, 1100)):
        boxes, scores = crowd(batch, count, num_classes, span=2000)
        options = {"score_threshold": 0.0, "iou_threshold": 0.9, "max_detections": most}
        found = suppress(gpu, boxes, scores, workspace=workspace, **options)
        expected = suppress(Processor(), boxes, scores, **options)
        for value, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(value, wanted)


def test_arrays_that_16_bytes_do_not_divide(gpu: Place) -> None:
    boxes, scores = crowd(2, 40, 4)
    options = {**THRESHOLDS, "max_detections": 20}
    expected = reference.edge_nms(boxes, scores, **options)
    shifted = [
        DeviceSlice(
            gpu.array(np.append(np.float32(0), array.ravel())), array.shape, np.float32, offset=4
        )
        for array in (boxes, scores)
    ]
    flat = gpu.poisoned((2 * 20 * 4 + 1,), np.float32)
    rows = (2, 20)
    out = EdgeNmsOutput(
        gpu.poisoned((2,), np.int32),
        DeviceSlice(flat, (*rows, 4), np.float32, offset=4),
        gpu.poisoned(rows, np.float32),
        gpu.poisoned(rows, np.int32),
    )
    edge_nms(*shifted, out=out, **options)
    np.testing.assert_array_equal(gpu.numpy(flat)[1:].reshape(*rows, 4), expected[1])
    np.testing.assert_array_equal(gpu.numpy(out.class_ids), expected[3])


@pytest.mark.parametrize(
    ("workspace", "error", "message"),
    [
        (
            np.zeros(100, np.uint8),
            ValueError,
            r"`workspace` needs \d+ bytes for 2 x 9 boxes of 3 classes and 5 detections, got 100",
        ),
        (np.zeros(100), TypeError, "`workspace` must be uint8, got float64"),
        (np.zeros((1, 1), np.uint8), ValueError, r"`workspace` must have shape \(N,\)"),
    ],
)
def test_refuses_workspaces(
    gpu: Place, workspace: NDArray[Any], error: type[Exception], message: str
) -> None:
    boxes, scores = (gpu.array(array) for array in crowd(2, 9, 3))
    with pytest.raises(error, match=f"^edge_nms: {message}"):
        edge_nms(boxes, scores, workspace=gpu.array(workspace), max_detections=5, **THRESHOLDS)


def test_refuses_a_workspace_that_is_not_aligned(gpu: Place) -> None:
    boxes, scores = (gpu.array(array) for array in crowd(2, 9, 3))
    workspace = DeviceSlice(gpu.poisoned((5000,), np.uint8), (4996,), np.uint8, offset=4)
    with pytest.raises(ValueError, match="`workspace` must be aligned to 16 bytes, got address 0x"):
        edge_nms(boxes, scores, workspace=workspace, max_detections=5, **THRESHOLDS)


GOOD: dict[str, Any] = {
    "boxes_xyxy": np.zeros((2, 3, 4), np.float32),
    "scores": np.zeros((2, 3, 5), np.float32),
    "max_detections": 7,
    **THRESHOLDS,
}


def out_of(**replaced: NDArray[Any]) -> EdgeNmsOutput:
    good = EdgeNmsOutput(
        np.zeros(2, np.int32),
        np.zeros((2, 7, 4), np.float32),
        np.zeros((2, 7), np.float32),
        np.zeros((2, 7), np.int32),
    )
    return good._replace(**replaced)


REFUSED_VALUES = [
    ({"boxes_xyxy": np.zeros((3, 4), np.float32)}, r"`boxes_xyxy` must have shape \(B, N, 4\)"),
    ({"scores": np.zeros((2, 5, 3), np.float32)}, r"`scores` must have shape \(2, 3, C\)"),
    ({"layout": "cn"}, r"`scores` must have shape \(2, C, 3\), got \(2, 3, 5\)"),
    ({"layout": "hw"}, "`layout` must be one of nc, cn, got 'hw'"),
    ({"score_threshold": 1.5}, r"`score_threshold` must be in \[0, 1\], got 1.5"),
    ({"iou_threshold": -0.5}, r"`iou_threshold` must be in \[0, 1\], got -0.5"),
    ({"iou_threshold": float("nan")}, r"`iou_threshold` must be in \[0, 1\], got nan"),
    ({"max_detections": 0}, "`max_detections` must be at least 1, got 0"),
    ({"background_class": -2}, "`background_class` must be at least -1, got -2"),
    ({"implementation": "cpu"}, "`implementation` must be one of auto, cuda, triton, got 'cpu'"),
    ({"out": out_of(boxes=np.zeros((2, 7), np.float32))}, r"`out.boxes` must have shape \(2, 7, 4"),
    ({"out": out_of(num_detections=np.zeros(3, np.int32))}, "`out.num_detections` must have shape"),
    ({"out": out_of(scores=np.zeros((2, 6), np.float32))}, "`out.scores` must have shape"),
    ({"out": out_of(class_ids=np.zeros((7, 2), np.int32))}, "`out.class_ids` must have shape"),
    ({"box_rows": np.zeros((2, 6), np.int32)}, r"`box_rows` must have shape \(2, 7\), got \(2, 6"),
]
REFUSED_TYPES = [
    ({"boxes_xyxy": np.zeros((2, 3, 4))}, "`boxes_xyxy` must be float32, got float64"),
    ({"scores": np.zeros((2, 3, 5))}, "`scores` must be float32.*, got float64"),
    ({"out": out_of(class_ids=np.zeros((2, 7)))}, "`out.class_ids` must be int32, got float64"),
    ({"box_rows": np.zeros((2, 7), np.int64)}, "`box_rows` must be int32, got int64"),
]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [(options, ValueError, message) for options, message in REFUSED_VALUES]
    + [(options, TypeError, message) for options, message in REFUSED_TYPES],
)
def test_refuses(place: Place, options: dict[str, Any], error: Any, message: str) -> None:
    def there(value: Any) -> Any:
        if isinstance(value, EdgeNmsOutput):
            return EdgeNmsOutput(*map(place.array, value))
        return place.array(value) if isinstance(value, np.ndarray) else value

    arguments = {name: there(value) for name, value in (GOOD | options).items()}
    with pytest.raises(error, match=f"^edge_nms: {message}"):
        edge_nms(**{"implementation": place.implementation} | arguments)


def test_refuses_more_scores_than_it_can_number() -> None:
    boxes, scores = np.zeros((0, 2**20, 4), np.float32), np.zeros((0, 2**20, 2**11), np.float32)
    with pytest.raises(ValueError, match=r"`scores` must hold fewer than 2\*\*31 scores an image"):
        edge_nms(boxes, scores, max_detections=1, **THRESHOLDS)


def test_cuda_refuses_arrays_of_the_processor() -> None:
    with pytest.raises(TypeError, match=r"^edge_nms: `boxes_xyxy` must be on the GPU"):
        edge_nms(**GOOD, implementation="cuda")


def test_triton_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "edgecv.kernels.triton.nms", raising=False)
    with pytest.raises(MissingDependencyError, match="'triton' needs PyTorch and Triton"):
        edge_nms(**GOOD, implementation="triton")


@pytest.mark.parametrize("name", ["workspace", "stream"])
def test_triton_refuses_what_it_has_not(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be None with `implementation` 'triton'"):
        edge_nms(**GOOD, implementation="triton", **{name: 0})
