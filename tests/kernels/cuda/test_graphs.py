"""Every operator captured once and replayed on other inputs and thresholds, in the same memory.

On the emulated GPU, which has no graphs, a replay is the same call again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv.kernels import (
    box_iou,
    decode_ssd,
    decode_yolo,
    edge_nms,
    letterbox_batch,
    resize_argmax,
    roi_align_pyramid,
    roi_pool,
)
from edgecv.kernels.cuda import native

from ..conftest import Place  # noqa: TID252  # the folder above

Array = NDArray[Any]
Inputs = dict[str, Array]


class Recorder:
    """Device arrays whose content changes in place, and calls that are replayed on them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._torch = pytest.importorskip("torch") if place.name == "cuda" else None

    def array(self, array: Array) -> Any:
        if self._torch is None:
            return self.place.array(array)
        return self._torch.from_numpy(array).cuda()

    def write(self, target: Any, array: Array) -> None:
        if self._torch is None:
            source, module = np.ascontiguousarray(array), native.cuda()
            module.copy(target.pointer, source.ctypes.data, source.nbytes, 0, 0)
        else:
            target.copy_(self._torch.from_numpy(array))

    def numpy(self, array: Any) -> Array:
        if self._torch is None:
            return self.place.numpy(array)
        found: Array = array.cpu().numpy()
        return found

    @contextmanager
    def captured(self, call: Callable[[], object]) -> Iterator[Callable[[], object]]:
        call()  # CUDA loads the kernels, and whatever is allocated once is
        if self._torch is None:
            yield call
            return
        self._torch.cuda.synchronize()
        graph = self._torch.cuda.CUDAGraph()
        with self._torch.cuda.graph(graph):
            call()
        yield graph.replay


def boxes_of(rng: np.random.Generator, *shape: int) -> Array:
    corner = rng.uniform(0, 64, (*shape, 2))
    return np.concatenate([corner, corner + rng.uniform(4, 40, (*shape, 2))], -1).astype(np.float32)


def floats(rng: np.random.Generator, *shape: int) -> Array:
    return rng.random(shape, np.float32)


LIMITS: dict[str, Any] = {"score_threshold": 0.5, "iou_threshold": 0.4, "max_detections": 12}

# By operator: inputs of a seed, and the call on them, with an `out` that it fills.
CASES: dict[str, tuple[Callable[[np.random.Generator], Inputs], Callable[..., Any]]] = {
    "box_iou": (
        lambda rng: {"a_xyxy": boxes_of(rng, 9), "b_xyxy": boxes_of(rng, 40)},
        box_iou,
    ),
    "decode_ssd": (
        lambda rng: {
            "offsets": floats(rng, 50, 4),
            "logits": 4 * floats(rng, 50, 4),
            "anchors": 1 + floats(rng, 50, 4) * 60,
        },
        lambda offsets, logits, anchors, **out: decode_ssd(
            offsets, logits, anchors, **LIMITS, **out
        ),
    ),
    "decode_yolo": (
        lambda rng: {"head": floats(rng, 7, 90) * np.float32([[60]] * 4 + [[1]] * 3)},
        lambda head, **out: decode_yolo(head, **LIMITS, **out),
    ),
    "edge_nms": (
        lambda rng: {"boxes": boxes_of(rng, 2, 60), "scores": floats(rng, 2, 60, 3)},
        lambda boxes, scores, **out: edge_nms(boxes, scores, **LIMITS, **out),
    ),
    "letterbox_batch": (
        lambda rng: {"frame": rng.integers(0, 256, (30, 40, 3), np.uint8)},
        lambda frame, **out: letterbox_batch([frame], (24, 24), **out)[0],
    ),
    "resize_argmax": (
        lambda rng: {"logits": floats(rng, 4, 9, 12)},
        lambda logits, **out: resize_argmax(logits, (36, 48), **out),
    ),
    "roi_align_pyramid": (
        lambda rng: {
            "fine": floats(rng, 1, 5, 16, 16),
            "coarse": floats(rng, 1, 5, 8, 8),
            "rois": boxes_of(rng, 6),
        },
        lambda fine, coarse, rois, **out: roi_align_pyramid(
            [fine, coarse], rois, (3, 3), spatial_scales=[1 / 4, 1 / 8], sampling_ratio=2, **out
        ),
    ),
    "roi_pool": (
        lambda rng: {"features": floats(rng, 1, 5, 16, 16), "rois": boxes_of(rng, 6)},
        lambda features, rois, **out: roi_pool(features, rois, (3, 3), spatial_scale=1 / 4, **out),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_replay_reads_what_is_in_memory_then(gpu: Place, name: str) -> None:
    make, call = CASES[name]
    recorder = Recorder(gpu)
    inputs = {key: recorder.array(value) for key, value in make(np.random.default_rng(0)).items()}
    out = call(**inputs)
    with recorder.captured(lambda: call(**inputs, out=out)) as replay:
        for seed in (1, 2):
            fresh = make(np.random.default_rng(seed))
            for key, value in fresh.items():
                recorder.write(inputs[key], value)
            replay()
            expected = call(**fresh)
            check(recorder, out, expected)


def check(recorder: Recorder, found: Any, expected: Any) -> None:
    if isinstance(found, tuple) and not isinstance(expected, tuple):  # detections of one image
        count, boxes, scores, class_ids = (recorder.numpy(part)[0] for part in found)
        assert count == len(expected)
        np.testing.assert_allclose(boxes[:count], expected.boxes_xyxy, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(scores[:count], expected.scores, rtol=1e-5)
        np.testing.assert_array_equal(class_ids[:count], expected.class_ids)
    elif isinstance(found, tuple):
        for part, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(recorder.numpy(part), wanted)
    else:
        np.testing.assert_allclose(recorder.numpy(found), expected, rtol=1e-5, atol=1e-3)


def test_thresholds_change_between_replays(gpu: Place) -> None:
    rng, recorder = np.random.default_rng(3), Recorder(gpu)
    boxes, scores = boxes_of(rng, 1, 80), floats(rng, 1, 80, 2)
    score, iou = (recorder.array(np.array(value, np.float32)) for value in (0.5, 0.5))
    arrays = recorder.array(boxes), recorder.array(scores)
    limits: dict[str, Any] = {"score_threshold": score, "iou_threshold": iou}
    out = edge_nms(*arrays, max_detections=30, **limits)
    with recorder.captured(
        lambda: edge_nms(*arrays, max_detections=30, out=out, **limits)
    ) as replay:
        for values in ((0.9, 0.5), (0.1, 0.2), (0.1, 0.8)):
            recorder.write(score, np.array(values[0], np.float32))
            recorder.write(iou, np.array(values[1], np.float32))
            replay()
            wanted = {
                "score_threshold": float(np.float32(values[0])),
                "iou_threshold": float(np.float32(values[1])),
            }
            check(recorder, out, edge_nms(boxes, scores, max_detections=30, **wanted))
