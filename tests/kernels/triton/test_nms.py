"""How the Triton edge_nms selects its candidates, and what it takes: tensors of any strides."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from edgecv.kernels import edge_nms, reference  # noqa: E402
from edgecv.kernels.triton import candidates  # noqa: E402

from ..conftest import Place  # noqa: E402, TID252
from ..test_edge_nms import THRESHOLDS, crowd, suppress  # noqa: E402, TID252


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize(("count", "num_classes"), [(100, 1), (101, 1), (40, 5), (300, 2)])
def test_only_the_best_candidates_take_part(
    triton: Place,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    num_classes: int,
    *,
    class_agnostic: bool,
) -> None:
    # Scores tie in hundredths: where the last one with room is, they are told apart by their pair.
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 100)
    boxes, scores = crowd(2, count, num_classes)
    boxes[..., 2:] = boxes[..., :2]  # nothing overlaps: all that take part are kept
    options = {**THRESHOLDS, "score_threshold": 0.0, "class_agnostic": class_agnostic}
    found = suppress(triton, boxes, scores, max_detections=110, **options)
    expected = reference.edge_nms(boxes, scores, max_detections=100, **options)
    np.testing.assert_array_equal(found[0], expected[0])
    for value, wanted in zip(found[1:4], expected[1:], strict=True):
        np.testing.assert_array_equal(value[:, :100], wanted)


@pytest.mark.parametrize("score", [1.0, 1e-30])
def test_so_many_equal_scores(triton: Place, monkeypatch: pytest.MonkeyPatch, score: float) -> None:
    monkeypatch.setattr(candidates, "MAX_CANDIDATES", 37)
    boxes, scores = crowd(1, 500, 1)[0], np.full((1, 500, 4), score, np.float32)
    options = {"score_threshold": 0.0, "iou_threshold": 1.0, "max_detections": 40}
    found = suppress(triton, boxes, scores, **options)
    assert found[0].tolist() == [37]
    np.testing.assert_array_equal(found[4][0, :37], np.arange(37) // 4)
    np.testing.assert_array_equal(found[3][0, :37], np.arange(37) % 4)


def test_thresholds_on_the_device_are_read_by_the_kernels(triton: Place) -> None:
    boxes, scores = crowd(2, 40, 2)
    score_limit, iou_limit = (triton.array(np.float32([value])) for value in (0.25, 0.5))
    limits = {"score_threshold": score_limit.reshape(()), "iou_threshold": iou_limit}
    for score, iou in ((0.25, 0.5), (0.9, 0.5), (0.9, 0.0), (0.0, 0.9)):
        score_limit.fill_(score)
        iou_limit.fill_(iou)
        found = suppress(triton, boxes, scores, max_detections=20, **limits)
        given = {"score_threshold": score, "iou_threshold": iou}
        expected = reference.edge_nms(boxes, scores, max_detections=20, **given)
        for value, wanted in zip(found[:4], expected, strict=True):
            np.testing.assert_array_equal(value, wanted)


@pytest.mark.cuda
def test_thresholds_change_between_replays_of_a_graph(triton: Place) -> None:
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    boxes, scores = crowd(2, 300, 3)
    arguments = triton.array(boxes), triton.array(scores)
    limits = torch.full((2, 1), 0.5, device="cuda")
    options: dict[str, Any] = {"score_threshold": limits[0], "iou_threshold": limits[1]}
    options |= {"max_detections": 20, "implementation": "triton"}
    out = edge_nms(*arguments, **options)  # compiles what cannot be compiled while capturing
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        edge_nms(*arguments, out=out, **options)
    for score, iou in ((0.25, 0.5), (0.75, 0.25), (0.0, 1.0)):
        limits[0].fill_(score)
        limits[1].fill_(iou)
        graph.replay()
        given = {"score_threshold": score, "iou_threshold": iou, "max_detections": 20}
        for value, wanted in zip(out, reference.edge_nms(boxes, scores, **given), strict=True):
            np.testing.assert_array_equal(triton.numpy(value), wanted)


def test_reads_views(triton: Place) -> None:
    boxes, scores = crowd(4, 30, 6)
    views = triton.array(boxes)[::2, ::2], triton.array(scores)[::2, ::2, 1:5:2]
    options = {**THRESHOLDS, "max_detections": 20}
    found = edge_nms(*views, implementation="triton", **options)
    expected = reference.edge_nms(boxes[::2, ::2], scores[::2, ::2, 1:5:2], **options)
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(triton.numpy(value), wanted)


def good(triton: Place) -> dict[str, Any]:
    """Arguments that are right."""
    boxes, scores = np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 5), np.float32)
    made = {"boxes_xyxy": triton.array(boxes), "scores": triton.array(scores)}
    return {**made, **THRESHOLDS, "max_detections": 4, "implementation": "triton"}


def test_refuses_arrays_and_tensors_that_lie_elsewhere(triton: Place) -> None:
    with pytest.raises(TypeError, match="`scores` must be a torch tensor, got ndarray"):
        edge_nms(**good(triton) | {"scores": np.zeros((2, 3, 5), np.float32)})
    with pytest.raises(ValueError, match=r"`scores` must be on a CUDA device, got meta\. Move"):
        edge_nms(**good(triton) | {"scores": torch.zeros(2, 3, 5, device="meta")})


def test_refuses_tensors_of_the_processor_unless_it_interprets(
    triton: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton import knobs

    monkeypatch.setattr(knobs.runtime, "interpret", False)
    message = r"`boxes_xyxy` must be on a CUDA device, got cpu\. Move it .* another implementation"
    with pytest.raises(ValueError, match=message):
        edge_nms(**good(triton) | {"boxes_xyxy": torch.zeros(2, 3, 4)})


def test_refuses_thresholds_and_batches(triton: Place) -> None:
    with pytest.raises(ValueError, match=r"`iou_threshold` must have shape \(1,\), got \(2,\)"):
        edge_nms(**good(triton) | {"iou_threshold": triton.array(np.zeros(2, np.float32))})
    boxes, scores = (triton.array(np.zeros((65_536, 0, n), np.float32)) for n in (4, 1))
    with pytest.raises(ValueError, match="`boxes_xyxy` must be those of at most 65535 images"):
        edge_nms(**good(triton) | {"boxes_xyxy": boxes, "scores": scores})
